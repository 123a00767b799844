"""How far to imagine, by the paper's theory (eq. 14), from what a run tells about its errors.

    clion-horizon --logdir=logdir/walker --out=horizon.png

Estimates eps_pi, eps_m and eps_w and, on the newest episode, eps'_m and eps'_w, and draws the
bounds of eqs. 10 and 13 against the rollout length k, their smallest value marked: k*. A run does
not hold what the theory asks for. Each error is given by a lower and an upper estimate, so k* is a
range: at least that of the smallest eps_pi and the largest model error, at most that of eps_pi = 1
and the smallest model error. What the estimates are, and what they are not, is said in
docs/theory.md. A bound above 2 r_max / (1 - gamma) is vacuous, as no two returns are further apart;
r_max is --reward_max, by default the largest |reward| of an agent step in these episodes (1 if all
were 0).

Needs no environment. Exit code 0, 2 if that cannot be made of this run, 1 if the disk fails.
"""

import argparse
import math
import sys
from collections.abc import Sequence

from clion_tf import command
from clion_tf.analysis import tool_checks, trained_agent
from clion_tf.analysis.theory import bounds as theory
from clion_tf.analysis.theory.horizon_figure import Bound, corners, draw
from clion_tf.console import quiet_import
from clion_tf.logdir.checkpoints import STOPPED, CheckpointError
from clion_tf.logdir.run_folder import RunFolder

HEADER = "k* (eq. 14)     eps_pi   eps'     k*        bound there"


@command.tool("horizon")
def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit code."""
    options = parse(arguments)
    out = tool_checks.output_file(options.out, tool_checks.FIGURES)
    table = tool_checks.output_file(options.json, (".json",), "json")
    saved = trained_agent.read(options.logdir, options.checkpoint)
    tool_checks.require_world_model(saved.config)
    if not 0 < saved.config.discount < 1:
        raise command.UsageError(
            f"--discount={saved.config.discount:g}: the bounds need one in (0, 1)"
        )
    if not saved.counters.updates:
        raise CheckpointError(f"{saved.path}: nothing is learned yet")
    if saved.path.stem.endswith(STOPPED):
        told = "is of a stop, so updates may have drawn from its newest episode; see --checkpoint"
        sys.stderr.write(f"horizon: warning: {saved.path.name} {told}\n")
    found = estimate(saved, options)
    reward_max = options.reward_max or found.reward_max or 1.0
    lines = corners(found, saved.config.discount)
    print("\n".join(report(saved, found, lines, reward_max)))
    draw(out, saved.config, found, lines, reward_max)
    if table is not None:
        tool_checks.write_json(table, as_json(saved, found, lines, reward_max), allow_nan=False)
    return command.OK


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line's words."""
    parser = command.parser("horizon", __doc__)
    add = parser.add_argument
    tool_checks.add_arguments(parser, "logdir", "checkpoint", "device")
    add("--episodes", type=command.positive, default=10, help="at most, evenly spread; 10")
    add("--out", default="horizon.png", metavar="FILE", help="figure: .png, .pdf or .svg")
    add("--json", metavar="FILE", help="write all numbers there")
    add("--reward_max", type=tool_checks.more_than_zero, help="r_max of an agent step")
    return parser.parse_args(arguments)


def estimate(saved: trained_agent.Saved, options: argparse.Namespace):
    """The `horizon.Estimates`."""
    command.load_tensorflow()
    trained = trained_agent.build(saved, options.device)
    with quiet_import():
        from clion_tf.analysis.theory import horizon_errors
    folder = RunFolder(saved.config.logdir).episodes
    files = horizon_errors.episode_files(folder, saved.counters.episodes, options.episodes)
    return horizon_errors.estimate(trained.agent, saved.config.seed, files)


# Words and numbers.


def report(saved, found, lines: list[Bound], reward_max: float) -> list[str]:
    """A table for a terminal."""
    config, newest = saved.config, max(found.episodes)
    old, new = found.replay, found.newest
    rows = [
        f"{config.task}, checkpoint at {saved.counters.steps:,} environment steps; "
        f"{len(found.episodes)} of its {saved.counters.episodes} episodes, {newest} the newest",
        f"{'':44}{'older episodes':18}newest episode",
        row("eps_pi, policies, at least (left: all)", old.policy, new.policy),
        between("eps_m, model error", old, new, "model"),
        row("  by Pinsker, at most", old.model_pinsker, new.model_pinsker, vacuous=True),
    ]
    if new.weighted is None:
        rows.append("eps_w: none, the run has no evaluator")
    else:
        rows += [
            row("  evaluator's gap (eq. 4, age 1), at least", old.evaluator_gap, new.evaluator_gap),
            between("eps_w, reweighted model's error", old, new, "weighted"),
            row("  eq. 12's integral", old.weighted_integral, new.weighted_integral),
        ]
    largest = float(theory.largest_returns_error(config.discount, reward_max))
    rows += ["", HEADER]
    rows += [verdict(line, config.discount, reward_max, largest) for line in lines]
    rows.append(
        f"The run imagines H = {config.horizon} steps. With r_max = {reward_max:.4g} no two "
        f"returns are more than {largest:,.4g} apart: larger bounds are vacuous."
    )
    return rows


def row(name: str, old: float, new: float, vacuous: bool = False) -> str:
    """Two numbers; `vacuous` marks total variations that say nothing."""
    texts = [f"{x:.3f}" + (" (vacuous)" if vacuous and x > 0.9995 else "") for x in (old, new)]
    return f"{name:44}{texts[0]:18}{texts[1]}"


def between(name: str, old, new, kind: str) -> str:
    """An error's lower and upper estimate."""
    texts = [f"{getattr(x, f'{kind}_floor'):.3f} to {getattr(x, kind):.3f}" for x in (old, new)]
    return f"{name:44}{texts[0]:18}{texts[1]}"


def verdict(line: Bound, discount: float, reward_max: float, largest: float) -> str:
    """k*, the smallest value of a bound, and whether it says anything."""
    smallest = 0.0  # The limit where k* is infinite.
    if math.isfinite(line.best):
        smallest = float(line.value(line.best, discount, reward_max))
    name = f"eq. {line.equation}, {line.side}"
    return (
        f"{name:16}{line.policy_error:<9.3f}{line.model_error:<9.3f}{line.best_text:10}"
        f"{smallest:,.4g}{' (vacuous)' if smallest >= largest else ''}"
    )


def as_json(saved, found, lines: list[Bound], reward_max: float) -> dict:
    """All numbers; an infinite k* is null."""
    config = saved.config
    return {
        "task": config.task,
        "steps": saved.counters.steps,
        "discount": config.discount,
        "horizon": config.horizon,
        "reward_max": reward_max,
        "largest_error": float(theory.largest_returns_error(config.discount, reward_max)),
        "replay": found.replay._asdict(),
        "newest": found.newest._asdict(),
        "episodes": {str(number): one._asdict() for number, one in found.episodes.items()},
        "bounds": [
            {**line._asdict(), "best": line.best if math.isfinite(line.best) else None}
            for line in lines
        ],
    }


if __name__ == "__main__":
    sys.exit(main())
