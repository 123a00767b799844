"""The command line of tools/compare_dreamer.py: its sub-commands and their options."""

import argparse
from collections.abc import Sequence

from clion_tf import command
from clion_tf.analysis import tool_checks
from clion_tf.analysis.curves.curve import METRICS
from clion_tf.command import positive

CHECKOUT = {"metavar": "DIR", "help": "its checkout"}
PYTHON = {"metavar": "PYTHON", "help": "to run it"}
SOME = {"nargs": "+", "required": True, "metavar": "DIR"}
# Of each sub-command: what it does, and its options.
COMMANDS = {
    "parity": (
        "our numbers against those of golden files",
        {"golden": {"nargs": "+", "required": True, "metavar": "FILE", "help": ".npz files"}},
    ),
    "speed": (
        "seconds of an update, the original's and ours",
        {
            "dreamer_dir": {"required": True, **CHECKOUT},
            "dreamer_python": {"required": True, **PYTHON},
            "rounds": {"type": positive, "default": 5, "help": "of all, 5 by default"},
            "updates": {"type": positive, "default": 1, "help": "of each in a round, 1"},
            "json": {"metavar": "FILE", "help": "write all that was measured there"},
        },
    ),
    "checkpoint": (
        "a logdir of ours from its variables.pkl",
        {
            "pickle": {"required": True, "metavar": "FILE", "help": "its variables.pkl"},
            "logdir": {"required": True, "metavar": "NEW", "help": "the folder to make"},
            "episodes": {"metavar": "DIR", "help": "its episodes, to be copied into NEW"},
        },
    ),
    "episodes": (
        "does each side read the other's episodes?",
        {
            "logdir": {"metavar": "OURS", "help": "a run of ours"},
            "dreamer_episodes": {"metavar": "DIR", "help": "episodes of a run of its"},
            "dreamer_dir": CHECKOUT,
            "dreamer_python": PYTHON,
            "count": {"type": positive, "default": 5, "help": "files of each, 5 by default"},
            "length": {"type": positive, "default": 50, "help": "frames of a sequence, 50"},
        },
    ),
    "curves": (
        "returns of both in one figure and one table",
        {
            "logdir": {**SOME, "help": "runs of ours"},
            "dreamer_logdir": {**SOME, "help": "its runs"},
            "out": {"required": True, "metavar": "FILE", "help": "figure: .png, .pdf, .svg"},
            "table": {"metavar": "FILE", "help": ".md or .csv; default: print Markdown"},
            "metric": {"choices": METRICS, "default": "test", "help": "of evaluations or training"},
            "steps": {
                "type": tool_checks.several(positive),
                "metavar": "N,N",
                "help": "rows of the table",
            },
        },
    ),
}
WITH_FLAGS = ("speed", "checkpoint")  # These take the flags of clion_tf.run, too.


def parse(doc: str, arguments: Sequence[str] | None) -> argparse.Namespace:
    """The options; `command` names the sub-command, `flags` holds what is for clion_tf.run."""
    parser = command.parser("compare_dreamer", doc)
    commands = parser.add_subparsers(dest="command", required=True)
    others = {
        "epilog": "all other options are flags of clion_tf.run, such as --flagfile=cpu",
        "allow_abbrev": False,  # An abbreviation could be one of our flags.
    }
    for name, (text, options) in COMMANDS.items():
        sub = commands.add_parser(name, help=text, **(others if name in WITH_FLAGS else {}))
        for option, words in options.items():
            sub.add_argument(f"--{option}", **words)
    found, flags = parser.parse_known_args(arguments)
    if flags and found.command not in WITH_FLAGS:
        parser.error(f"unrecognized arguments: {' '.join(flags)}")
    found.flags = flags
    return found
