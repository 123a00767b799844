"""Learning curves, or return against noise: a line for each method.

    clion-plot --logdirs 'logdir/*' --out=curves.png
    clion-plot --logdirs logdir/walker --curves=dreamer.json --out=curves.pdf
    clion-plot --logdirs 'logdir/*' --layout=ablation --out=fig7.svg
    clion-plot --robustness 'scores-*.json' --out=robustness.png

Learning curves have a panel for each task and rotation. They show the mean over runs (seeds) and
their spread; runs of different rotation, options or sizes are not averaged. Seeds with evaluations
at different steps are interpolated linearly on all their steps, each inside its own range.
--layout=ablation draws the methods of the paper's fig. 7 in its order. --curves takes curves that
others published: [{task, method, seed, xs, ys}, ...].

--robustness draws what tools/evaluate.py --json wrote, one file for each training: a panel for each
kind of noise that was evaluated at two amounts or more, the other kinds as in the file's first row.
The bands are 95% intervals of the mean over trainings (seeds), not over the episodes of one.

A logdir may be a run of ours or of the original Dreamer, a folder with runs up to three levels
below, a glob of those, or files made by --save, which writes one small file for each run: steps,
returns, options. Exit code 0, or 2 if an argument names nothing that can be read or written.
"""

import argparse
import logging
import pathlib
import sys
from collections.abc import Sequence

from clion_tf import command
from clion_tf.analysis import tool_checks
from clion_tf.analysis.curves import curve_files, learning_curves, noise_evaluations
from clion_tf.analysis.curves.curve import warnings
from clion_tf.command import UsageError
from clion_tf.files import user_path

SUFFIXES = (".png", ".pdf", ".svg")


@command.tool("plot")
def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit code."""
    options = _parser().parse_args(arguments)
    if not options.out and not options.save:
        raise UsageError("say what to write: --out=FILE, --save=DIR or both")
    out = tool_checks.output_file(options.out, SUFFIXES)
    if options.robustness:
        return robustness(options, out)
    if options.save and not user_path(options.save).absolute().parent.is_dir():
        raise UsageError(f"--save={options.save}: no such folder above it")
    patterns, labels = learning_curves.arguments(options)
    runs = learning_curves.read_runs(patterns, labels)
    found = learning_curves.with_returns(runs, options.metric, patterns)
    for line in warnings(found):
        sys.stderr.write(f"plot: warning: {line}\n")
    if options.save:
        print(f"{options.save}: {len(curve_files.save(options.save, runs))} curve files")
    if out is not None:
        from clion_tf.analysis.curves import curve_plots  # matplotlib is slow to import.

        figure = curve_plots.learning_curves(
            found, options.layout, options.metric, options.steps, options.smooth, options.spread
        )
        curve_plots.save(figure, out)
        print(f"{out}: {len(found)} curves")
    return command.OK


def robustness(options: argparse.Namespace, out: pathlib.Path | None) -> int:
    """Writes the figure of evaluations under noise; returns the exit code."""
    if out is None or options.logdirs or options.curves or options.save:
        raise UsageError("--robustness goes with --out alone, not with learning curves")
    logging.basicConfig(format="plot: warning: %(message)s")
    evaluations = noise_evaluations.find(options.robustness)
    series = noise_evaluations.all_series(evaluations)
    from clion_tf.analysis.curves import curve_plots  # matplotlib is slow to import.

    curve_plots.save(curve_plots.robustness(series), out)
    print(f"{out}: {len(evaluations)} evaluations")
    return command.OK


def _parser() -> argparse.ArgumentParser:
    parser = command.parser("plot", __doc__)
    learning_curves.add_arguments(parser)
    add = parser.add_argument
    text = "files of evaluate.py --json, folders of them, or globs"
    add("--robustness", nargs="+", default=[], metavar="FILE", help=text)
    add("--out", metavar="FILE", help=f"figure: {', '.join(SUFFIXES)}")
    add("--save", metavar="DIR", help="write a curve file for each run there")
    add("--layout", choices=("tasks", "ablation"), default="tasks")
    add("--steps", type=command.positive, metavar="N", help="end of the axis, environment steps")
    text = "average each run's returns over the N environment steps up to each"
    add("--smooth", type=command.positive, default=0, metavar="N", help=text)
    text = "bands: standard deviation over runs, or smallest to largest"
    add("--spread", choices=("std", "range"), default="std", help=text)
    return parser


if __name__ == "__main__":
    sys.exit(main())
