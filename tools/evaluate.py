"""Evaluates a run's agent: the mean return at each rotation of the frames.

    .venv/bin/python tools/evaluate.py --logdir=logdir/walker --rotations=0,5,10

One line for each rotation: episodes, mean return, sample standard deviation (n - 1) and the 95%
interval of the mean, by Student's t over the episodes. The interval is that of this one agent; it
says nothing about other seeds. At a rotation x each frame is turned by an angle of its own from
U(-x, x) degrees; episodes of equal number begin alike at all of them.

The policy is Dreamer's evaluation policy unless the run or --action says otherwise: the densest of
100 samples of the action distribution, from a sampled latent state; `mean` is tanh of the mean,
`sample` one sample. The same command gives the same numbers, whatever --workers.

Exit code 0; 1 if an environment fails, 2 if there is nothing to evaluate or an option is wrong.
"""

import os
import sys

# inspect.py beside this file has the name of a standard module: no imports from this folder.
if sys.path[0] == os.path.dirname(os.path.realpath(__file__)):
    sys.path.pop(0)

import argparse
import json
import pathlib
from collections.abc import Sequence

import tqdm

from clion_tf import checks, command, evaluation, loading
from clion_tf.evaluation import Scores
from clion_tf.files import atomic_write
from clion_tf.loading import TrainedAgent
from clion_tf.run import load_tensorflow

ACTIONS = ("densest", "mean", "sample")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit code."""
    options = parse(arguments)
    file = None if options.json is None else checks.output_file(options.json, (".json",), "json")
    saved = loading.read(options.logdir, options.checkpoint)
    if options.rotations is None:
        options.rotations = [saved.config.test_rotation]
    load_tensorflow()
    trained = loading.build(saved, options.device, options.action, options.seed)
    print("\n".join(introduction(trained)), flush=True)
    print(evaluation.HEADER, flush=True)
    rows = []
    for rotation in options.rotations:
        rows.append(evaluate(trained, rotation, options.episodes, options.workers))
        print(evaluation.row(rows[-1]), flush=True)
    if rows[0].renderer:
        print(f"rendering by {rows[0].renderer}")
    if file is not None:
        write(file, trained, rows)
    return command.OK


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The options, checked as far as they can be alone."""
    parser = command.parser(__doc__)
    parser.add_argument("--logdir", required=True, metavar="DIR", help="folder of the run")
    parser.add_argument(
        "--episodes", type=command.positive, default=10, metavar="N", help="at each rotation, 10"
    )
    parser.add_argument(
        "--rotations", type=command.numbers, metavar="X,Y", help="degrees; the run's own for tests"
    )
    parser.add_argument("--action", choices=ACTIONS, help="policy; as the run's options say")
    parser.add_argument(
        "--checkpoint", metavar="STEPS|FILE", help="one that the run keeps, or a file; the newest"
    )
    parser.add_argument(
        "--workers", type=command.positive, default=cores(), metavar="N",
        help="environments side by side; as many as cores",
    )  # fmt: skip
    parser.add_argument(
        "--seed", type=checks.seed, metavar="N", help="of episodes and policy; the run's"
    )
    parser.add_argument("--device", choices=("auto", "cpu", "gpu"), default="auto")
    parser.add_argument("--json", metavar="FILE", help="write all returns there")
    options = parser.parse_args(arguments)
    for rotation in options.rotations or ():
        if not 0 <= rotation <= 180:
            parser.error(f"--rotations: {rotation:g} is not between 0 and 180 degrees")
    return options


def cores() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def introduction(trained: TrainedAgent) -> list[str]:
    """Lines that say who acts where."""
    config, steps = trained.config, trained.counters.steps
    noise = f" with exploration noise {config.eval_noise:g}" if config.eval_noise else ""
    return [
        f"{config.task}, checkpoint {trained.path}, {steps:,} environment steps",
        f"policy {config.eval_action}{noise}, seed {config.seed}",
    ]


def evaluate(trained: TrainedAgent, rotation: float, episodes: int, workers: int) -> Scores:
    """Plays at one rotation; on a terminal, a bar counts the episodes."""
    with tqdm.tqdm(
        total=episodes, desc=f"rotation {rotation:g}", unit="episode", leave=False, disable=None
    ) as bar:

        def count(score: float) -> None:
            bar.set_postfix_str(f"return {score:.1f}", refresh=False)
            bar.update()

        return evaluation.evaluate(
            trained.policy, trained.config, rotation, episodes, workers, count
        )


def write(file: pathlib.Path, trained: TrainedAgent, rows: Sequence[Scores]) -> None:
    """Everything that was found, as JSON."""
    config = trained.config
    content = {
        "task": config.task,
        "checkpoint": str(trained.path),
        "steps": trained.counters.steps,
        "action": config.eval_action,
        "seed": config.seed,
        "action_repeat": config.action_repeat,
        "rotations": [evaluation.as_dict(scores) for scores in rows],
    }
    with atomic_write(file) as out:
        out.write(json.dumps(content, indent=2).encode() + b"\n")


if __name__ == "__main__":
    sys.exit(command.run("evaluate", main))
