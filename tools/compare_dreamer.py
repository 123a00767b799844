"""Compares this project with the original Dreamer.

    .venv/bin/python tools/compare_dreamer.py parity --golden=tests/golden/clion_e.npz
    .venv/bin/python tools/compare_dreamer.py speed --dreamer_dir=DIR --dreamer_python=PYTHON

`parity` asks whether our numbers are those of a golden file: one line for each output, gradient and
optimiser step, a last line that sums up. Exit code 0 if all hold, 1 if any differs, 2 if there is
nothing to compare.

`speed` times updates of your checkout of the original (github.com/danijar/dreamer, with a Python
that can run it: 3.8 with TensorFlow 2.2 and TensorFlow Probability 0.10) and of ours as Dreamer, as
CLION and as Doubled-Dreamer, in turn, on the same sizes: those of the flags of `clion_tf.run`, by
default the paper's. The original computes in float32, ours in --precision, 32 by default. Exit code
0, or 2 if one of them does not run.
"""

import os
import sys

# inspect.py beside this file has the name of a standard module: no imports from this folder.
if sys.path[0] == os.path.dirname(os.path.realpath(__file__)):
    sys.path.pop(0)

import argparse
import json
import pathlib
import signal
from collections.abc import Sequence

from clion_tf.benchmark import versus
from clion_tf.config import ConfigError, parse
from clion_tf.files import atomic_write
from clion_tf.run import EXIT_SIGNAL, quiet_import

OK, DIFFERENT, REFUSED = 0, 1, 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    add_parity(commands)
    add_speed(commands)
    options, flags = parser.parse_known_args(arguments)
    if flags and options.run is not speed:
        parser.error(f"unrecognized arguments: {' '.join(flags)}")
    options.flags = flags
    return options.run(options)


def add_parity(commands: argparse._SubParsersAction) -> None:
    """Adds the sub-command `parity`."""
    parser = commands.add_parser("parity", help="our numbers against those of golden files")
    parser.add_argument("--golden", nargs="+", required=True, metavar="FILE", help=".npz files")
    parser.set_defaults(run=parity)


def parity(options: argparse.Namespace) -> int:
    """Prints a table for each file."""
    # The reference is float32, which GPUs round more coarsely by default.
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    with quiet_import():
        from clion_tf import parity

    held = total = 0
    for path in options.golden:
        try:
            rows = list(parity.compare(path))
        except parity.GoldenError as error:
            return refuse(error)
        if not rows:
            return refuse(f"{path}: not a golden file (it has nothing to compare)")
        print_table(path, rows)
        held += sum(row.holds for row in rows)
        total += len(rows)
    verdict = "all hold" if held == total else f"{total - held} DIFFER"
    print(f"{verdict}: {held} of {total} quantities within their tolerance")
    return OK if held == total else DIFFERENT


def print_table(path: str, rows: Sequence) -> None:
    """One line for each of `clion_tf.parity.Comparison`."""
    width = max(len(row.name) for row in rows)
    print(f"{path}\n{'quantity':{width}}  difference  tolerance  verdict")
    for row in rows:
        verdict = "ok" if row.holds else "DIFFERS"
        print(f"{row.name:{width}}  {row.difference:10.2e}  {row.tolerance:9.0e}  {verdict}")


def add_speed(commands: argparse._SubParsersAction) -> None:
    """Adds the sub-command `speed`."""
    parser = commands.add_parser(
        "speed",
        help="seconds of an update, the original's and ours",
        epilog="all other options are flags of clion_tf.run, such as --flagfile=flags/cpu.flags",
        allow_abbrev=False,  # An abbreviation could be one of our flags.
    )
    parser.add_argument("--dreamer_dir", required=True, metavar="DIR", help="its checkout")
    parser.add_argument("--dreamer_python", required=True, metavar="PYTHON", help="to run it")
    parser.add_argument("--rounds", type=positive, default=5, help="of all, 5 by default")
    parser.add_argument("--updates", type=positive, default=1, help="of each in a round, 1")
    parser.add_argument("--json", metavar="FILE", help="write all that was measured there")
    parser.set_defaults(run=speed)


def positive(text: str) -> int:
    """A number of things to do."""
    if int(text) < 1:
        raise ValueError(text)
    return int(text)


def speed(options: argparse.Namespace) -> int:
    """Prints a table."""
    tell = report if sys.stderr.isatty() else lambda line: None
    checkout = pathlib.Path(options.dreamer_dir).expanduser()
    python = os.path.expanduser(options.dreamer_python)
    try:
        if options.json and not pathlib.Path(options.json).absolute().parent.is_dir():
            return refuse(f"--json={options.json}: no such folder")
        # `auto` would give ours a lower precision than the original's on a GPU.
        config = parse(["--precision=32", *options.flags])
        figures = versus.compare(config, checkout, python, options.rounds, options.updates, tell)
        result = versus.summary(config, options.updates, figures)
        print("\n".join(versus.table(result)))
        if options.json:
            with atomic_write(options.json) as file:
                file.write(json.dumps(result, indent=2).encode() + b"\n")
    except (ConfigError, versus.VersusError) as error:
        return refuse(error)
    except OSError as error:
        return refuse(f"--json={options.json}: {error}")
    except KeyboardInterrupt:
        return EXIT_SIGNAL + signal.SIGINT
    return OK


def report(line: str) -> None:
    """A line for who waits."""
    sys.stderr.write(f"{line}\n")


def refuse(reason: object) -> int:
    """One line on stderr; returns the exit code."""
    sys.stderr.write(f"compare_dreamer: error: {reason}\n")
    return REFUSED


if __name__ == "__main__":
    sys.exit(main())
