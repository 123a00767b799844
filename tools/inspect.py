"""Prints what a logdir holds: options, counters, sizes, checkpoints and their digest.

Exit code 0; 1 if something is damaged, 2 if there is no run.
"""

import sys

# This file has the name of a standard module, so its folder must not be searched for imports.
sys.path.pop(0)

import argparse

from clion_tf.inspection import inspect_logdir
from clion_tf.logdir import LogdirError


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--logdir", required=True, help="folder of the run")
    try:
        report = inspect_logdir(parser.parse_args().logdir)
    except LogdirError as error:
        sys.stderr.write(f"inspect: error: {error}\n")
        return 2
    sys.stdout.write("\n".join(report.lines) + "\n")
    for line in report.damage:
        sys.stderr.write(f"inspect: {line}\n")
    return 1 if report.damage else 0


if __name__ == "__main__":
    sys.exit(main())
