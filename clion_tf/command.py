"""What the command lines in `tools/` share: exit codes, and errors in one line.

A tool is the script `tools/evaluate.py` and, where this package is installed, `clion-evaluate`; its
help and errors are the same. Tools use argparse, not absl as training does: they take several
values of an option (`--logdirs logdir/*`) and sub-commands, which absl has not.
"""

import argparse
import contextlib
import functools
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import TextIO

from clion_tf.config import ConfigError
from clion_tf.console import FAILED, REFUSED, fail, guarded
from clion_tf.envs import EnvError, UnknownTaskError
from clion_tf.files import PathError
from clion_tf.logdir.checkpoints import CheckpointError
from clion_tf.logdir.run_folder import LogdirError
from clion_tf.replay.replay_buffer import ReplayError

OK = 0
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
