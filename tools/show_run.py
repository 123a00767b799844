"""Prints what a logdir holds: options, counters, sizes, checkpoints and their digest.

    clion-show-run --logdir=logdir/walker

Exit code 0; 1 if something is damaged, 2 if there is no run.
"""

import sys
from collections.abc import Sequence

from clion_tf import command
from clion_tf.analysis.run_summary import inspect_logdir


@command.tool("show_run")
def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit code."""
    parser = command.parser("show_run", __doc__)
    parser.add_argument("--logdir", required=True, help="folder of the run")
    lines, damage = inspect_logdir(parser.parse_args(arguments).logdir)
    sys.stdout.write("\n".join(lines) + "\n")
    for line in damage:
        sys.stderr.write(f"show_run: {line}\n")
    return command.FAILED if damage else command.OK


if __name__ == "__main__":
    sys.exit(main())
