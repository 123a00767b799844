"""The command line of tools/compare_dreamer.py: its sub-commands and their options."""

import argparse
from collections.abc import Sequence

from clion_tf import command
from clion_tf.analysis.curves.learning_curves import METRICS
from clion_tf.command import positive

WITH_FLAGS = ("speed", "checkpoint")  # These take the flags of clion_tf.run, too.


def parse(doc: str, arguments: Sequence[str] | None) -> argparse.Namespace:
    """The options; `command` names the sub-command, `flags` holds what is for clion_tf.run."""
    parser = command.parser("compare_dreamer", doc)
    commands = parser.add_subparsers(dest="command", required=True)
    for add in (_add_parity, _add_speed, _add_checkpoint, _add_episodes, _add_curves):
        add(commands)
    options, flags = parser.parse_known_args(arguments)
    if flags and options.command not in WITH_FLAGS:
        parser.error(f"unrecognized arguments: {' '.join(flags)}")
    options.flags = flags
    return options


def _add_parity(commands: argparse._SubParsersAction) -> None:
    """Adds the sub-command `parity`."""
    parser = commands.add_parser("parity", help="our numbers against those of golden files")
    parser.add_argument("--golden", nargs="+", required=True, metavar="FILE", help=".npz files")


def _with_flags(commands: argparse._SubParsersAction, name: str, help_: str):
    """A sub-command that takes the flags of `clion_tf.run`, too."""
    return commands.add_parser(
        name,
        help=help_,
        epilog="all other options are flags of clion_tf.run, such as --flagfile=cpu",
        allow_abbrev=False,  # An abbreviation could be one of our flags.
    )


def _add_speed(commands: argparse._SubParsersAction) -> None:
    """Adds the sub-command `speed`."""
    parser = _with_flags(commands, "speed", "seconds of an update, the original's and ours")
    _add_original(parser, required=True)
    parser.add_argument("--rounds", type=positive, default=5, help="of all, 5 by default")
    parser.add_argument("--updates", type=positive, default=1, help="of each in a round, 1")
    parser.add_argument("--json", metavar="FILE", help="write all that was measured there")


def _add_original(parser: argparse.ArgumentParser, required: bool) -> None:
    """Options that say where the original is and what runs it."""
    for name, metavar, text in (
        ("--dreamer_dir", "DIR", "its checkout"),
        ("--dreamer_python", "PYTHON", "to run it"),
    ):
        parser.add_argument(name, required=required, metavar=metavar, help=text)


def _add_checkpoint(commands: argparse._SubParsersAction) -> None:
    """Adds the sub-command `checkpoint`."""
    parser = _with_flags(commands, "checkpoint", "a logdir of ours from its variables.pkl")
    parser.add_argument("--pickle", required=True, metavar="FILE", help="its variables.pkl")
    parser.add_argument("--logdir", required=True, metavar="NEW", help="the folder to make")
    parser.add_argument("--episodes", metavar="DIR", help="its episodes, to be copied into NEW")


def _add_episodes(commands: argparse._SubParsersAction) -> None:
    """Adds the sub-command `episodes`."""
    parser = commands.add_parser("episodes", help="does each side read the other's episodes?")
    parser.add_argument("--logdir", metavar="OURS", help="a run of ours")
    parser.add_argument("--dreamer_episodes", metavar="DIR", help="episodes of a run of its")
    _add_original(parser, required=False)
    parser.add_argument("--count", type=positive, default=5, help="files of each, 5 by default")
    parser.add_argument("--length", type=positive, default=50, help="frames of a sequence, 50")


def _add_curves(commands: argparse._SubParsersAction) -> None:
    """Adds the sub-command `curves`."""
    parser = commands.add_parser("curves", help="returns of both in one figure and one table")
    parser.add_argument("--logdir", nargs="+", required=True, metavar="DIR", help="runs of ours")
    parser.add_argument(
        "--dreamer_logdir", nargs="+", required=True, metavar="DIR", help="its runs"
    )
    parser.add_argument("--out", required=True, metavar="FILE", help="figure: .png, .pdf, .svg")
    parser.add_argument("--table", metavar="FILE", help=".md or .csv; default: print Markdown")
    parser.add_argument(
        "--metric", choices=METRICS, default="test", help="of evaluations, or training"
    )
    parser.add_argument(
        "--steps", type=_steps, metavar="N,N", help="environment steps in the table"
    )


def _steps(text: str) -> list[int]:
    """An argument such as 100000,500000."""
    return [positive(word) for word in text.split(",")]
