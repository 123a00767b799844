"""Evaluates a run's agent: the mean return under noise of three kinds, and all combinations.

    clion-evaluate --logdir=logdir/walker --rotations=0,5,10
    clion-evaluate --logdir=logdir/walker --memory_noise=0,0.1,0.3,1 \
        --blank=0,0.2,0.5 --rotations=0,5,15 --one_at_a_time --json=scores.json

--memory_noise adds Gaussian noise to the memory h at every step, before the actor reads it and
before it is carried on; it is counted in standard deviations of h over the episode so far, or in
units of h (--memory_noise_unit=absolute). --blank shows a grey frame with this probability.
--rotations turns each frame by an angle of its own from U(-x, x) degrees. All combinations are
played, or with --one_at_a_time those that differ from the first in one thing only.

One line for each: episodes, mean return, sample standard deviation (n - 1), the 95% interval of the
mean by Student's t over the episodes, and how far returns are from the first line's: episodes of
equal number begin alike. The intervals are those of this one agent; they say nothing about other
seeds. --json is what plot.py --robustness and report.py draw.

The policy is Dreamer's evaluation policy unless the run or --action says otherwise: the densest of
100 samples of the action distribution, from a sampled latent state; `mean` is tanh of the mean,
`sample` one sample. The same command gives the same numbers, whatever --workers.

Exit code 0; 1 if an environment fails, 2 if there is nothing to evaluate or an option is wrong.
"""

import argparse
import dataclasses
import json
import os
import pathlib
import sys
from collections.abc import Sequence

from clion_tf import command
from clion_tf.analysis import evaluation, tool_checks, trained_agent
from clion_tf.analysis.curves.curve import plain_task
from clion_tf.analysis.curves.method_names import describe
from clion_tf.analysis.curves.noise_evaluations import UNITS as UNIT_NAMES
from clion_tf.analysis.evaluation import Scores
from clion_tf.analysis.trained_agent import Saved, TrainedAgent
from clion_tf.config import Config, different
from clion_tf.files import atomic_write
from clion_tf.logdir import code_versions

UNITS = tuple(UNIT_NAMES)  # The default first.


@command.tool("evaluate")
def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit code."""
    options = parse(arguments)
    file = tool_checks.output_file(options.json, (".json",), "json")
    saved = trained_agent.read(options.logdir, options.checkpoint)
    if any(options.memory_noise) and saved.config.agent != "clion":
        raise command.UsageError(f"--memory_noise: --agent={saved.config.agent} has no memory h")
    conditions = evaluation.grid(
        [saved.config.test_rotation] if options.rotations is None else options.rotations,
        options.memory_noise,
        [saved.config.test_blank] if options.blank is None else options.blank,
        options.one_at_a_time,
    )
    command.load_tensorflow()
    trained = trained_agent.build(saved, options.device, options.action, options.seed)
    if any(one.rotation_degrees for one in conditions):
        tool_checks.require_images(trained)
    print("\n".join(introduction(trained, options.memory_noise_unit)), flush=True)
    print(evaluation.HEADER, flush=True)
    rows, acting = [], noisy(trained, options)
    for one in conditions:
        play = acting[one.memory_noise].policy, trained.config, one
        rows.append(evaluation.evaluate(*play, options.episodes, options.workers))
        print(evaluation.row(rows[-1], rows[0]), flush=True)
    if rows[0].renderer:
        print(f"rendering by {rows[0].renderer}")
    if file is not None:
        write(file, saved, trained.config, rows, options.memory_noise_unit)
    return command.OK


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The options, checked as far as they can be alone."""
    parser = command.parser("evaluate", __doc__)
    add = parser.add_argument
    angles, amounts, probabilities = (
        {"type": tool_checks.several(kind)}
        for kind in (tool_checks.rotation, tool_checks.not_negative, tool_checks.probability)
    )
    tool_checks.add_arguments(parser, "logdir", "checkpoint", "action", "seed", "device")
    add("--episodes", type=command.positive, default=10, metavar="N", help="of each line, 10")
    add("--rotations", metavar="X,Y", help="degrees; the run's own for tests", **angles)
    add("--memory_noise", default=[0.0], metavar="X,Y", help="on memory h; none", **amounts)
    text = "relative: standard deviations of h over the episode so far"
    add("--memory_noise_unit", choices=UNITS, default=UNITS[0], help=text)
    text = "probabilities of a grey frame; the run's own for tests"
    add("--blank", metavar="P,Q", help=text, **probabilities)
    text = "vary each list while the others are at their first value; else all combinations"
    add("--one_at_a_time", action="store_true", help=text)
    text = "environments side by side; as many as cores"
    add("--workers", type=command.positive, default=cores(), metavar="N", help=text)
    add("--json", metavar="FILE", help="write all returns there")
    return parser.parse_args(arguments)


def cores() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def introduction(trained: TrainedAgent, unit: str) -> list[str]:
    """Lines that say who acts where."""
    config, steps = trained.config, trained.counters.steps
    noise = f" with exploration noise {config.eval_noise:g}" if config.eval_noise else ""
    return [
        f"{config.task}, checkpoint {trained.path}, {steps:,} environment steps",
        f"policy {config.eval_action}{noise}, seed {config.seed}; noise on memory: {unit}",
    ]


def noisy(trained: TrainedAgent, options: argparse.Namespace) -> dict[float, TrainedAgent]:
    """The agent at each amount of noise on its memory; without any, as it is."""
    relative = options.memory_noise_unit == "relative"
    return {
        amount: trained.with_memory_noise(amount, relative) if amount else trained
        for amount in options.memory_noise
    }


def write(
    file: pathlib.Path, saved: Saved, acting: Config, rows: Sequence[Scores], unit: str
) -> None:
    """Everything that was found, and of which training; see `curves.noise_evaluations`.

    A line for each key and each row, so that a file is small and can be read.
    """
    config = saved.config
    # What its own evaluations were like is no property of the training.
    own = {"test_rotation_degrees": -1.0, "test_blank_frames": -1.0}
    method, setup = describe(dataclasses.replace(config, **own))
    options = {name: value for name, (_, value) in different(Config(), config).items()}
    del options["logdir"]  # A place on this machine.
    content = {
        "task": plain_task(config.task),
        "method": method,
        "setup": setup,
        "seed": config.seed,
        "steps": saved.counters.steps,
        "checkpoint": saved.path.name,
        "version": code_versions.of_run(pathlib.Path(config.logdir)),
        "options": options,
        "action": acting.eval_action,
        "evaluation_seed": acting.seed,
        "renderer": rows[0].renderer,
        "memory_noise_unit": unit,
    }
    lines = [f"{json.dumps(key)}: {json.dumps(value)}" for key, value in content.items()]
    cells = (json.dumps(evaluation.as_dict(scores, rows[0])) for scores in rows)
    lines.append('"cells": [\n' + ",\n".join(cells) + "\n]")
    with atomic_write(file) as out:
        out.write(("{\n" + ",\n".join(lines) + "\n}\n").encode())


if __name__ == "__main__":
    sys.exit(main())
