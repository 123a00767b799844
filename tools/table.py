"""Tables of returns over seeds, with the paper's numbers beside ours, or under noise.

    clion-table --logdirs 'logdir/*' --layout=table1
    clion-table --logdirs 'logdir/*' --steps=50000,100000 --out=table.csv
    clion-table --logdirs results/grid --layout=periods --metric=train --window=5000
    clion-table --logdirs results/grid --metric=train --against=Dreamer
    clion-table --robustness 'scores-*.json'

--layout=table1 is the paper's Table 1 (observations rotated by 5 degrees; 105K and 505K steps),
table2 its Table 2 (no rotation; 100K and 500K), plain a row for each task, rotation, method and
step, by default the last step that all runs of a method have reached; periods a row for each task,
rotation and method, with the mean of its returns in each --window steps and in all (the height of
its curve), up to --steps=N or from N to N. Prints Markdown; --out writes .md, or .csv with each
number in a column of its own.

A run's score at a step is its last evaluation in the --window environment steps up to it; with
--score=mean the mean of those evaluations. What is missing is shown as missing.

--against has differences from a method's runs of the same sizes, seed by seed: their mean and its
interval.

--robustness reads what tools/evaluate.py --json wrote, one file for each training, and has a row
for each kind and amount of noise, a column for each method: the return in the file's first cell and
the changes from that, means over trainings with 95% intervals. It takes --against too.

A logdir may be a run, a folder with runs up to three levels below, a glob of those, or a file made
by plot.py --save. Exit code 0, or 2 if an argument names nothing that can be read.
"""

import argparse
import sys
from collections.abc import Sequence

from clion_tf import command
from clion_tf.analysis import tool_checks
from clion_tf.analysis.curves import (
    learning_curves,
    noise_evaluations,
    noise_tables,
    score_tables,
)
from clion_tf.analysis.curves.score_tables import WINDOW, Score, Table
from clion_tf.analysis.curves.series import repeats
from clion_tf.command import UsageError


@command.tool("table")
def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit code."""
    options = _parser().parse_args(arguments)
    out = tool_checks.output_file(options.out, score_tables.SUFFIXES)
    table = noise_table(options) if options.robustness else learning_table(options)
    if out is None:
        print(score_tables.markdown(table), end="")
        return command.OK
    print(f"{out}: {score_tables.save(table, out)} lines")
    return command.OK


def learning_table(options: argparse.Namespace) -> Table:
    """Of runs and curve files."""
    patterns, labels = learning_curves.arguments(options)
    found = learning_curves.find(patterns, options.metric, labels)
    for line in repeats(found):
        sys.stderr.write(f"table: warning: {line}\n")
    score = Score(options.window, options.score == "mean")
    return score_tables.make_table(found, options.layout, options.steps, score, options.against)


def noise_table(options: argparse.Namespace) -> Table:
    """Of evaluations under noise."""
    own = {"robustness", "against", "out"}
    others = {n for n, v in vars(options).items() if v != _parser().get_default(n)} - own
    if others or (options.out and not options.out.lower().endswith(".md")):
        raise UsageError("--robustness goes with --against and --out=FILE.md alone")
    series = noise_evaluations.all_series(noise_evaluations.find(options.robustness))
    return noise_tables.changes(series, options.against)


def _parser() -> argparse.ArgumentParser:
    parser = command.parser("table", __doc__)
    learning_curves.add_arguments(parser)
    add, steps = parser.add_argument, tool_checks.several(command.positive)
    add("--layout", choices=score_tables.LAYOUTS, default="plain")
    add("--steps", type=steps, metavar="N,N", help="environment steps; the paper's by default")
    add("--score", choices=("last", "mean"), default="last", help="default last")
    add("--window", type=command.positive, default=WINDOW, metavar="N", help=f"default {WINDOW}")
    text = "show differences from this method, seed by seed"
    add("--against", metavar="METHOD", help=text)
    text = "files of evaluate.py --json, folders of them, or globs"
    add("--robustness", nargs="+", default=[], metavar="FILE", help=text)
    add("--out", metavar="FILE", help=".md or .csv; default: print Markdown")
    return parser


if __name__ == "__main__":
    sys.exit(main())
