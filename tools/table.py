"""Tables of returns over seeds, with the paper's numbers beside ours.

    clion-table --logdirs 'logdir/*' --layout=table1
    clion-table --logdirs 'logdir/*' --steps=50000,100000 --out=table.csv
    clion-table --logdirs results --layout=periods --metric=train --window=5000

--layout=table1 is the paper's Table 1 (observations rotated by 5 degrees; 105K and 505K steps),
table2 its Table 2 (no rotation; 100K and 500K), plain a row for each task, rotation, method and
step, by default the last step that all runs of a method have reached; periods a row for each task,
rotation and method, with the mean of its returns in each --window steps and in all (the height of
its curve), up to --steps=N or from N to N. Prints Markdown; --out writes .md, or .csv with each
number in a column of its own.

A run's score at a step is its last evaluation in the --window environment steps up to it; with
--score=mean the mean of those evaluations. What is missing is shown as missing.

A logdir may be a run, a folder with runs up to three levels below, a glob of those, or a file made
by plot.py --save. Exit code 0, or 2 if an argument names nothing that can be read.
"""

import argparse
import sys
from collections.abc import Sequence

from clion_tf import command
from clion_tf.analysis import tool_checks
from clion_tf.analysis.curves import learning_curves, score_tables
from clion_tf.analysis.curves.score_tables import WINDOW, Score


@command.tool("table")
def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit code."""
    options = _parser().parse_args(arguments)
    out = tool_checks.output_file(options.out, score_tables.SUFFIXES)
    patterns, labels = learning_curves.arguments(options)
    found = learning_curves.find(patterns, options.metric, labels)
    score = Score(options.window, options.score == "mean")
    table = score_tables.rows(found, options.layout, options.steps, score)
    if out is None:
        print(score_tables.markdown(table), end="")
        return command.OK
    print(f"{out}: {score_tables.save(table, out)} lines")
    return command.OK


def _parser() -> argparse.ArgumentParser:
    parser = command.parser("table", __doc__)
    learning_curves.add_arguments(parser)
    add, steps = parser.add_argument, tool_checks.several(command.positive)
    add("--layout", choices=score_tables.LAYOUTS, default="plain")
    add("--steps", type=steps, metavar="N,N", help="environment steps; the paper's by default")
    add("--score", choices=("last", "mean"), default="last", help="default last")
    add("--window", type=command.positive, default=WINDOW, metavar="N", help=f"default {WINDOW}")
    add("--out", metavar="FILE", help=".md or .csv; default: print Markdown")
    return parser


if __name__ == "__main__":
    sys.exit(main())
