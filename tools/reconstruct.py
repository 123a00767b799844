"""Fig. 3 of the paper: what world models reconstruct from memory with noise.

    clion-reconstruct --logdirs logdir/without logdir/with --out=fig3.png

One episode is played with the first run's policy; every run's model looks at the same frames and
actions. The figure (.png, .pdf or .svg) has rows input, reconstruction and error (grey: none), with
--sigma as the noise's standard deviation on h; its columns are spread over the first episode. The
table has the mean error for each of --sigmas over all frames of all --episodes. --state says what
is decoded: `h` is (h', s) of fig. 2 and the constraint, `hs` is (h', s') of fig. 3's caption, where
s' is drawn again from the posterior.

Exit code 0, 2 if that cannot be made, 1 if the environment or the disk fails.
"""

import argparse
import sys
from collections.abc import Sequence

from clion_tf import command
from clion_tf.analysis import evaluation, tool_checks, trained_agent
from clion_tf.analysis.curves.learning_curves import read_each
from clion_tf.console import quiet_import


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line's words."""
    parser = command.parser("reconstruct", __doc__)
    add = parser.add_argument
    add("--logdirs", nargs="+", required=True, metavar="DIR", help="one run's folder, or two")
    add("--out", required=True, metavar="FILE", help=".png, .pdf or .svg")
    add("--sigma", type=tool_checks.not_negative, default=0.2, help="the figure's, 0.2 by default")
    noises = tool_checks.several(tool_checks.not_negative)
    add("--sigmas", type=noises, default=[0, 0.05, 0.1, 0.2, 0.4], help="the table's, as 0,0.1")
    add("--state", choices=("h", "hs"), default="h", help="(h', s), the default, or (h', s')")
    add("--columns", type=command.positive, default=8, help="of the figure, 8 by default")
    add("--episodes", type=command.positive, default=1, help="in the table's mean, 1 by default")
    tool_checks.add_arguments(parser, "checkpoint", "rotation", "seed", "device")
    add("--json", metavar="FILE", help="write the table there too")
    return parser.parse_args(arguments)


@command.tool("reconstruct")
def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit code."""
    options = parse(arguments)
    out = tool_checks.output_file(options.out, tool_checks.FIGURES)
    table = tool_checks.output_file(options.json, (".json",), "json")
    saved = read(options)

    def build(named: tuple[str, trained_agent.Saved]) -> tuple[str, trained_agent.TrainedAgent]:
        trained = trained_agent.build(named[1], options.device, seed=options.seed)
        tool_checks.require_images(trained)
        return named[0], trained

    command.load_tensorflow()
    runs = dict(read_each(saved.items(), build))
    with quiet_import():
        from clion_tf.analysis.curves import curve_plots
        from clion_tf.analysis.videos import filming, memory_study
    first = next(iter(runs.values()))
    spec = evaluation.spec(first.config, rotation_degrees=options.rotation)
    films = list(filming.film_agent(first, spec, options.episodes))
    resample = options.state == "hs"
    result = memory_study.measure(runs, films, options.sigmas, resample)
    figure = memory_study.draw(runs, films[0], options.columns, options.sigma, resample)
    curve_plots.save(figure, out, bbox_inches="tight", pad_inches=0.1)
    if table is not None:
        tool_checks.write_json(table, result, indent=2)
    print("\n".join(memory_study.lines(result)))
    return command.OK


def read(options: argparse.Namespace) -> dict[str, trained_agent.Saved]:
    """What the runs have saved, by folder."""
    if len(options.logdirs) > 2:
        raise command.UsageError("--logdirs: one run's folder, or two")
    if len(options.logdirs) == 2 and not (options.checkpoint or "0").isdigit():
        raise command.UsageError("--checkpoint: a file can be of one run only; give its steps")
    return tool_checks.runs_with_world_models(options.logdirs, options.checkpoint)


if __name__ == "__main__":
    sys.exit(main())
