"""How commands end and what they print: exit codes, signals, errors in one line, closed streams."""

import contextlib
import importlib
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from typing import TextIO

FAILED = 1  # What was asked for is possible, but an environment or the disk failed.
REFUSED = 2  # It is not: bad options or files. Nothing was written.
EXIT_SIGNAL = 128  # Plus the signal's number: stopped as asked, the same command goes on.


def guarded(name: str, work: Callable[[], int], needs: Sequence[str]) -> int:
    """What `work` returns, once all that it has printed is out.

    Args:
      name: of the command, for errors.
      work: prints to stdout and stderr; its OSErrors become one line here.
      needs: of these streams, those without which it is refused; the others may be closed.
    """
    for number, stream in open_descriptors():
        if stream in needs:
            return fail(name, REFUSED, f"{stream} is closed; to see nothing, send it to /dev/null")
        setattr(sys, stream, open(number, "r" if stream == "stdin" else "w", closefd=False))
    if hasattr(sys.stdout, "reconfigure"):  # A folder's name may be no text.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        code = work()
    except SystemExit as end:  # Of argparse, which has said all.
        if broken := _flush(sys.stdout):
            return fail(name, end.code or FAILED, broken)
        raise
    except OSError as error:
        return fail(name, FAILED, _flush(sys.stdout) or error)
    if broken := _flush(sys.stdout):
        return fail(name, code or FAILED, broken)
    return code


def open_descriptors() -> list[tuple[int, str]]:
    """Opens what of stdin, stdout and stderr is closed, on nothing; returns which were.

    Else the next file that is opened would get the number of one of them, and what is printed.
    """
    closed = []
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # Takes the lowest number.
            closed.append((number, name))
    return closed


def fail(name: str, code: int, error: object) -> int:
    """Says an error in one line, on stderr or, where that takes none, on stdout; the code."""
    line = f"{name}: error: {' '.join(str(error).splitlines())}\n"
    line = line.encode(errors="backslashreplace").decode()
    for stream in (sys.stderr, sys.stdout):
        if stream is None:
            continue
        with contextlib.suppress(OSError):
            stream.write(line)
        if not _flush(stream):
            break
    return code


def _flush(stream: TextIO) -> str:
    """Writes what a stream holds back; why it cannot, "" if it can."""
    try:
        stream.flush()
        return ""
    except OSError as error:
        # Python would try again at its end, and say so in three lines.
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)
        return f"{stream.name.strip('<>')}: {error.strerror}"


@contextlib.contextmanager
def quiet_import() -> Iterator[None]:
    """Holds back what TensorFlow writes to stderr while it loads, unless loading fails.

    Its banner comes before its log level is read, so no setting silences it.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.stderr.flush()
    with tempfile.TemporaryFile() as held, contextlib.ExitStack() as stack:
        stderr = os.dup(2)
        stack.callback(os.close, stderr)
        os.dup2(held.fileno(), 2)
        try:
            yield
        except BaseException:
            held.seek(0)
            os.write(stderr, held.read())
            raise
        finally:
            os.dup2(stderr, 2)


def load_tensorflow() -> None:
    """For command lines, whose stderr is theirs; `clion_tf.load` leaves the process's alone."""
    with quiet_import():
        importlib.import_module("clion_tf.agents.make_agent")


@contextlib.contextmanager
def stop_signals() -> Iterator[list[int]]:
    """A list that the first Ctrl-C or SIGTERM is put into; a second Ctrl-C ends at once."""
    received: list[int] = []

    def note(number, frame):
        received.append(number)
        signal.signal(signal.SIGINT, signal.default_int_handler)

    old = {s: signal.signal(s, note) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
