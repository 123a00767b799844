"""Learning curves, or return against noise or frame draws: a line for each method.

    clion-plot --logdirs 'logdir/*' --out=curves.png
    clion-plot --logdirs logdir/walker --curves=dreamer.json --out=curves.pdf
    clion-plot --logdirs 'logdir/*' --layout=ablation --out=fig7.svg
    clion-plot --robustness 'scores-*.json' --out=robustness.png

Learning curves have a panel for each task and rotation. They show the mean over runs (seeds) and
their spread; runs of different rotation, options or sizes are not averaged. Seeds with evaluations
at different steps are interpolated linearly on all their steps, each inside its own range.
--layout=ablation draws the methods of the paper's fig. 7 in its order. --curves takes curves that
others published: [{task, method, seed, xs, ys}, ...].

--layout=draws has the mean return after the prefill, up to --steps, against how many frames are
drawn from the replay for each new one; a line for each method and batch size.

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
from clion_tf.analysis.curves import curve_files, frame_draws, learning_curves, noise_evaluations
from clion_tf.analysis.curves.series import warnings
from clion_tf.command import UsageError


@command.tool("plot")
def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit code."""
    options = _parser().parse_args(arguments)
    if not options.out and not options.save:
        raise UsageError("say what to write: --out=FILE, --save=DIR or both")
    out = tool_checks.output_file(options.out, tool_checks.FIGURES)
    if options.robustness:
        return robustness(options, out)
    if options.layout == "draws" and options.smooth:
        raise UsageError("--smooth: --layout=draws has means over all steps")
    save = tool_checks.output_folder(options.save, "save")
    patterns, labels = learning_curves.arguments(options)
    runs = learning_curves.read_runs(patterns, labels)
    found = learning_curves.with_returns(runs, options.metric, patterns)
    for line in warnings(found) if options.layout != "draws" else ():
        sys.stderr.write(f"plot: warning: {line}\n")
    if out is not None:
        from clion_tf.analysis.curves import curve_plots  # matplotlib is slow to import.

        how = options.layout, options.metric, options.steps, options.smooth, options.spread
        if options.layout == "draws":
            spread = curve_plots.SPREADS[options.spread]
            series = frame_draws.series(found, options.steps)
            figure = curve_plots.amounts(series, options.metric, spread)
        else:
            figure = curve_plots.learning_curves(found, *how)
        curve_plots.save(figure, out)
        print(f"{out}: {len(found)} curves")
    if save is not None:
        print(f"{options.save}: {len(curve_files.save(save, runs))} curve files")
    return command.OK


def robustness(options: argparse.Namespace, out: pathlib.Path | None) -> int:
    """Writes the figure of evaluations under noise; returns the exit code."""
    own = {"robustness", "out"}
    others = {n: v for n, v in vars(options).items() if v != _parser().get_default(n)}.keys() - own
    if out is None or others:
        raise UsageError("--robustness goes with --out alone, not with options of learning curves")
    logging.basicConfig(format="plot: warning: %(message)s")
    evaluations = noise_evaluations.find(options.robustness)
    series = noise_evaluations.all_series(evaluations)
    from clion_tf.analysis.curves import curve_plots  # matplotlib is slow to import.

    curve_plots.save(curve_plots.amounts(series), out)
    print(f"{out}: {len(evaluations)} evaluations")
    return command.OK


def _parser() -> argparse.ArgumentParser:
    parser = command.parser("plot", __doc__)
    learning_curves.add_arguments(parser)
    add = parser.add_argument
    text = "files of evaluate.py --json, folders of them, or globs"
    add("--robustness", nargs="+", default=[], metavar="FILE", help=text)
    add("--out", metavar="FILE", help=f"figure: {', '.join(tool_checks.FIGURES)}")
    add("--save", metavar="DIR", help="write a curve file for each run there")
    add("--layout", choices=("tasks", "ablation", "draws"), default="tasks")
    add("--steps", type=command.positive, metavar="N", help="end of the axis, environment steps")
    text = "average each run's returns over the N environment steps up to each"
    add("--smooth", type=command.positive, default=0, metavar="N", help=text)
    text = "bands: standard deviation over runs, or smallest to largest"
    add("--spread", choices=("std", "range"), default="std", help=text)
    return parser


if __name__ == "__main__":
    sys.exit(main())
