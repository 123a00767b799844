"""How commands end and what they print: exit codes, signals, errors in one line, closed streams."""

import contextlib
import gc
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from typing import Any, BinaryIO, TextIO

OK = 0
FAILED = 1  # The request is valid, but an environment or the disk failed.
REFUSED = 2  # The request is invalid: bad options or files.
EXIT_SIGNAL = 128  # Plus the signal's number: stopped as asked, the same command resumes.


class UserError(Exception):
    """What did not end well; the message is one line for the user."""

    exit_code = FAILED


class Refused(UserError):
    """What cannot be, by its options or files."""

    exit_code = REFUSED


def run(name: str, work: Callable[[], int], needs: Sequence[str] = ("stdout", "stderr")) -> int:
    """The exit code of `work`, whose errors become one line; defects remain tracebacks."""
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
    """Opens closed standard streams on /dev/null, lest files get their numbers; returns them."""
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
        with open(os.devnull, "w") as null:  # Python would try again at its end, in 3 lines.
            os.dup2(null.fileno(), stream.fileno())
        return f"{stream.name.strip('<>')}: {error.strerror}"


@contextlib.contextmanager
def quiet_import() -> Iterator[None]:
    """Holds back what TensorFlow writes to stderr while it loads, unless loading fails.

    TensorFlow prints its banner before it reads its log level, so no setting silences it. Optional
    packages are hidden while it loads, and garbage collection is off then and ignores the loaded
    objects later. This saves two fifths of the time and 80 MB.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    collecting = gc.isenabled()
    gc.disable()
    with tempfile.TemporaryFile() as held:
        try:
            with stderr_to(held):
                with without_modules("matplotlib", "pandas", "scipy"):
                    # Before TensorFlow, or it loads all that it has.
                    import tensorflow_probability as tfp

                    dir(tfp.distributions), dir(tfp.bijectors)  # Loads them, and TensorFlow.
                yield
        except BaseException:
            held.seek(0)
            os.write(2, held.read())
            raise
        finally:
            gc.freeze()
            if collecting:
                gc.enable()


@contextlib.contextmanager
def without_modules(*names: str) -> Iterator[None]:
    """Whoever imports one of these meanwhile finds it missing, unless it was loaded before."""
    hidden = [name for name in names if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]


@contextlib.contextmanager
def stderr_to(file: BinaryIO) -> Iterator[None]:
    """Redirects stderr to the file within the block; programs started there keep writing to it."""
    sys.stderr.flush()
    stderr = os.dup(2)
    os.dup2(file.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)


@contextlib.contextmanager
def handling(handler: Any, *signals: int) -> Iterator[None]:
    """Within it these signals are handled so."""
    before = {number: signal.signal(number, handler) for number in signals}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)


@contextlib.contextmanager
def stop_signals() -> Iterator[list[int]]:
    """A list of the stop signals received (Ctrl-C, SIGTERM); after one, Ctrl-C ends at once."""
    received: list[int] = []

    def note(number: int, frame: object) -> None:
        received.append(number)
        signal.signal(signal.SIGINT, signal.default_int_handler)

    with handling(note, signal.SIGINT, signal.SIGTERM):
        yield received
