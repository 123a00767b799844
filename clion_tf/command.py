"""What command lines share: exit codes, errors in one line, and streams that take no text.

A tool is the script `tools/evaluate.py` and, where this package is installed, `clion-evaluate`; its
help and errors are the same. Tools use argparse, not absl as training does: they take several
values of an option (`--logdirs logdir/*`) and sub-commands, which absl has not.
"""

import argparse
import contextlib
import functools
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import TextIO

from clion_tf.checkpoint import CheckpointError
from clion_tf.config import ConfigError
from clion_tf.envs import EnvError, UnknownTaskError
from clion_tf.files import PathError
from clion_tf.logdir import LogdirError
from clion_tf.replay import ReplayError

OK = 0
FAILED = 1  # What was asked for is possible, but an environment or the disk failed.
REFUSED = 2  # It is not: bad options or files. Nothing was written.
INTERRUPTED = 128 + signal.SIGINT
TERMINATED = 128 + signal.SIGTERM

Main = Callable[[Sequence[str] | None], int]


class UsageError(ValueError):
    """Options or files that a tool cannot work with; the message is one line."""


class Failure(RuntimeError):
    """Work that did not end well; the message is one line."""


REFUSALS = (UsageError, ConfigError, LogdirError, CheckpointError, PathError, UnknownTaskError)


class _Parser(argparse.ArgumentParser):
    """Refuses in one line; the options are told by `--help`."""

    def error(self, message: str):
        tool = self.prog.split()[0].removeprefix("clion-").replace("-", "_")
        self.exit(fail(tool, REFUSED, f"{message}; see --help"))

    def print_help(self, file: TextIO | None = None) -> None:
        """As argparse does, but what cannot be printed is an error."""
        (sys.stdout if file is None else file).write(self.format_help())


def parser(name: str, doc: str, **others) -> argparse.ArgumentParser:
    """A tool's parser, whose `--help` shows a module's docstring as it is."""
    kind, prog = argparse.RawDescriptionHelpFormatter, f"clion-{name.replace('_', '-')}"
    return _Parser(prog=prog, description=doc, formatter_class=kind, **others)


def positive(text: str) -> int:
    """An argument that counts things."""
    value = int(text)
    if value < 1:
        raise ValueError(text)
    return value


def numbers(text: str) -> list[float]:
    """An argument such as `0,5,10`."""
    return [float(word) for word in text.split(",")]


def tool(name: str) -> Callable[[Main], Main]:
    """Decorates the `main` of `tools/NAME.py`: see `run`. Without arguments it takes sys.argv's."""

    def decorate(main: Main) -> Main:
        @functools.wraps(main)
        def whole(arguments: Sequence[str] | None = None) -> int:
            return run(name, main, arguments)

        return whole

    return decorate


def run(name: str, main: Main, arguments: Sequence[str] | None = None) -> int:
    """Calls a tool's `main` and returns the exit code; what can go wrong becomes one line."""

    def work() -> int:
        try:
            with _ending_cleanly():
                return main(arguments)
        except REFUSALS as error:
            return fail(name, REFUSED, error)
        except UnicodeError as error:  # A name or a file of other bytes, where text is needed.
            return fail(name, REFUSED, f"not UTF-8: {error}")
        except (Failure, EnvError, ReplayError) as error:
            return fail(name, FAILED, error)
        except MemoryError as error:
            return fail(name, FAILED, f"out of memory ({error})")
        except KeyboardInterrupt:
            return INTERRUPTED

    return guarded(name, work, ("stdout", "stderr"))


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
def _ending_cleanly() -> Iterator[None]:
    """SIGTERM raises SystemExit here, so that half a file or a worker is not left behind."""
    if threading.current_thread() is not threading.main_thread():
        yield  # Only the main thread may say what a signal does.
        return
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(TERMINATED))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def progress(text: str) -> None:
    """A line for who waits, on a terminal only."""
    if sys.stderr.isatty():
        sys.stderr.write(f"{text}\n")
