"""Compares this project with the original Dreamer.

    .venv/bin/python tools/compare_dreamer.py parity --golden=tests/golden/clion_e.npz

`parity` asks whether our numbers are those of a golden file: one line for each output, gradient and
optimiser step, a last line that sums up. Exit code 0 if all hold, 1 if any differs, 2 if there is
nothing to compare.
"""

import os
import sys

# inspect.py beside this file has the name of a standard module: no imports from this folder.
if sys.path[0] == os.path.dirname(os.path.realpath(__file__)):
    sys.path.pop(0)

import argparse
from collections.abc import Sequence

from clion_tf.run import quiet_import

OK, DIFFERENT, REFUSED = 0, 1, 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    add_parity(commands)
    options = parser.parse_args(arguments)
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


def refuse(reason: object) -> int:
    """One line on stderr; returns the exit code."""
    sys.stderr.write(f"compare_dreamer: error: {reason}\n")
    return REFUSED


if __name__ == "__main__":
    sys.exit(main())
