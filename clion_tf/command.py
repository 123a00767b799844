"""What the command lines in `tools/` share: exit codes, and errors in one line."""

import argparse
import signal
import sys
from collections.abc import Callable, Sequence

from clion_tf.checkpoint import CheckpointError
from clion_tf.config import ConfigError
from clion_tf.envs import EnvError, UnknownTaskError
from clion_tf.logdir import LogdirError
from clion_tf.replay import ReplayError

OK = 0
FAILED = 1  # What was asked for is possible, but an environment or the disk failed.
REFUSED = 2  # It is not: bad options or files. Nothing was written.
INTERRUPTED = 128 + signal.SIGINT


class UsageError(ValueError):
    """Options or files that a tool cannot work with; the message is one line."""


class Failure(RuntimeError):
    """Work that did not end well; the message is one line."""


def parser(doc: str, **others) -> argparse.ArgumentParser:
    """A parser whose `--help` shows a module's docstring as it is."""
    kind = argparse.RawDescriptionHelpFormatter
    return argparse.ArgumentParser(description=doc, formatter_class=kind, **others)


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
    try:
        return main(arguments)
    except (UsageError, ConfigError, LogdirError, CheckpointError, UnknownTaskError) as error:
        return _fail(name, REFUSED, error)
    except (Failure, EnvError, ReplayError, OSError) as error:
        return _fail(name, FAILED, error)
    except MemoryError as error:
        return _fail(name, FAILED, f"out of memory ({error})")
    except KeyboardInterrupt:
        return INTERRUPTED


def progress(text: str) -> None:
    """A line for who waits, on a terminal only."""
    if sys.stderr.isatty():
        sys.stderr.write(f"{text}\n")


def _fail(name: str, code: int, error: object) -> int:
    line = " ".join(str(error).splitlines())
    sys.stderr.write(f"{name}: error: {line}\n")
    return code
