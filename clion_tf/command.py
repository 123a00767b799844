"""What the command lines in `tools/` share: argparse, one-line refusals, errors of their own.

Not absl, as training uses: tools take several values of an option (`--logdirs logdir/*`) and
sub-commands, which absl has not.
"""

import argparse
import functools
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from clion_tf import console
from clion_tf.console import EXIT_SIGNAL, FAILED, OK, REFUSED, Refused

__all__ = ["FAILED", "OK", "UsageError", "parser", "progress", "run", "tool"]

Main = Callable[[Sequence[str] | None], int]


class UsageError(Refused, ValueError):
    """Options or files that a tool cannot work with; the message is one line."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """One line; the options are told by `--help`."""
        tool = self.prog.split()[0].removeprefix("clion-").replace("-", "_")
        self.exit(console.fail(tool, REFUSED, f"{message}; see --help"))

    def print_help(self, file: Any = None) -> None:
        """As argparse does, but what cannot be printed is an error."""
        (sys.stdout if file is None else file).write(self.format_help())


def parser(name: str, doc: str, **others: Any) -> argparse.ArgumentParser:
    """A tool's parser, whose `--help` shows a module's docstring as it is."""
    kind, prog = argparse.RawDescriptionHelpFormatter, f"clion-{name.replace('_', '-')}"
    return _Parser(prog=prog, description=doc, formatter_class=kind, **others)


def number(name: str, kind: type, least: float, most: float = sys.float_info.max) -> Callable:
    """An argument within these bounds; for others argparse says `invalid NAME value`."""

    def parse(text: str) -> Any:
        value = kind(text)
        if not least <= value <= most:
            raise ValueError(text)
        return value

    parse.__name__ = name
    return parse


positive = number("positive", int, 1)


def tool(name: str) -> Callable[[Main], Main]:
    """Decorates the `main` of `tools/NAME.py`: see `run`. Without arguments it takes sys.argv's."""
    return lambda main: functools.partial(run, name, main)


def run(name: str, main: Main, arguments: Sequence[str] | None = None) -> int:
    """Calls a tool's `main` and returns the exit code; what can go wrong becomes one line."""
    # SIGTERM raises SystemExit, so that half a file or a worker is not left behind.
    with console.handling(lambda *_: sys.exit(EXIT_SIGNAL + signal.SIGTERM), signal.SIGTERM):
        return console.run(name, lambda: main(arguments))


def load_tensorflow() -> None:
    """For tools, whose stderr is theirs; `clion_tf.load` leaves the process's alone."""
    with console.quiet_import():
        from clion_tf import agents  # noqa: F401


def progress(text: str) -> None:
    """A line for who waits, on a terminal only."""
    if sys.stderr.isatty():
        sys.stderr.write(f"{text}\n")
