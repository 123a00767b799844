"""How commands end and what they print: exit codes, signals, errors in one line, closed streams.

An error that a user can meet is a UserError, whose class says the exit code, or one of Python's own
in `run`. Whatever else is raised is a defect, and shows as a traceback.
"""

import contextlib
import os
import signal
import sys
import tempfile
import threading
import types
from collections.abc import Callable, Iterator, Sequence
from typing import BinaryIO, TextIO

OK = 0
FAILED = 1  # What was asked for is possible, but an environment or the disk failed.
REFUSED = 2  # It is not: bad options or files. Nothing was written.
EXIT_SIGNAL = 128  # Plus the signal's number: stopped as asked, the same command goes on.


class UserError(Exception):
    """What did not end well; the message is one line for the user."""

    exit_code = FAILED


class Refused(UserError):
    """What cannot be, by its options or files."""

    exit_code = REFUSED


def run(name: str, work: Callable[[], int], needs: Sequence[str] = ("stdout", "stderr")) -> int:
    """The exit code that `work` returns, once all that it has printed is out.

    Its errors become one line, which begins with the command's name. Without the streams of `needs`
    it is refused; others may be closed.
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
        code = end.code if isinstance(end.code, int) else FAILED
        if broken := _flush(sys.stdout):
            return fail(name, code or FAILED, broken)
        raise
    except OSError as error:
        return fail(name, FAILED, _flush(sys.stdout) or error)
    except UserError as error:
        code = fail(name, error.exit_code, error)
    except UnicodeError as error:  # A name or a file of other bytes, where text is needed.
        code = fail(name, REFUSED, f"not UTF-8: {error}")
    except MemoryError as error:
        code = fail(name, FAILED, f"out of memory ({error})")
    except KeyboardInterrupt:
        code = EXIT_SIGNAL + signal.SIGINT
    if broken := _flush(sys.stdout):
        return fail(name, code or FAILED, broken)
    return code


def open_descriptors() -> list[tuple[int, str]]:
    """Opens what of stdin, stdout and stderr is closed, on nothing, or files get its number.

    Returns which were.
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
    with tempfile.TemporaryFile() as held:
        try:
            with stderr_to(held):
                yield
        except BaseException:
            held.seek(0)
            os.write(2, held.read())
            raise


@contextlib.contextmanager
def stderr_to(file: BinaryIO) -> Iterator[None]:
    """What is written to stderr meanwhile goes into the file; of programs begun then, all is."""
    sys.stderr.flush()
    stderr = os.dup(2)
    os.dup2(file.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)


@contextlib.contextmanager
def stop_signals() -> Iterator[list[int]]:
    """A list that the first Ctrl-C or SIGTERM is put into; a second Ctrl-C ends at once."""
    received: list[int] = []

    def note(number: int, frame: types.FrameType | None) -> None:
        received.append(number)
        signal.signal(signal.SIGINT, signal.default_int_handler)

    old = {s: signal.signal(s, note) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def exit_on_terminate() -> Iterator[None]:
    """SIGTERM raises SystemExit here, so that half a file or a worker is not left behind."""
    if threading.current_thread() is not threading.main_thread():
        yield  # Only the main thread may say what a signal does.
        return
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(EXIT_SIGNAL + signal.SIGTERM))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
