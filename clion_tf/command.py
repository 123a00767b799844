"""What the command lines in `tools/` share: exit codes, and errors in one line."""

import argparse
import signal
import sys
from collections.abc import Callable, Sequence
from typing import TextIO

from clion_tf.checkpoint import CheckpointError
from clion_tf.config import ConfigError
from clion_tf.console import FAILED, REFUSED, fail, guarded
from clion_tf.envs import EnvError, UnknownTaskError
from clion_tf.files import PathError
from clion_tf.logdir import LogdirError
from clion_tf.replay import ReplayError

OK = 0
INTERRUPTED = 128 + signal.SIGINT


class UsageError(ValueError):
    """Options or files that a tool cannot work with; the message is one line."""


class Failure(RuntimeError):
    """Work that did not end well; the message is one line."""


REFUSALS = (UsageError, ConfigError, LogdirError, CheckpointError, PathError, UnknownTaskError)


class _Parser(argparse.ArgumentParser):
    def print_help(self, file: TextIO | None = None) -> None:
        """As argparse does, but what cannot be printed is an error."""
        (sys.stdout if file is None else file).write(self.format_help())


def parser(doc: str, **others) -> argparse.ArgumentParser:
    """A parser whose `--help` shows a module's docstring as it is."""
    kind = argparse.RawDescriptionHelpFormatter
    return _Parser(description=doc, formatter_class=kind, **others)


def positive(text: str) -> int:
    """An argument that counts things."""
    value = int(text)
    if value < 1:
        raise ValueError(text)
    return value


def numbers(text: str) -> list[float]:
    """An argument such as `0,5,10`."""
    return [float(word) for word in text.split(",")]


def run(
    name: str, main: Callable[[Sequence[str] | None], int], arguments: Sequence[str] | None = None
) -> int:
    """Calls a tool's `main` and returns the exit code; what can go wrong becomes one line."""

    def work() -> int:
        try:
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


def progress(text: str) -> None:
    """A line for who waits, on a terminal only."""
    if sys.stderr.isatty():
        sys.stderr.write(f"{text}\n")
