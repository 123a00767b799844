"""Judges the agents of several runs of one task by new episodes, which each of them plays.

    clion-judge --logdirs logdir/clion logdir/dreamer --episodes=4 --out=a.json

A row for each agent and each one's episodes: how well the world model of the first reconstructs and
predicts, its critic's error, and what its evaluator can tell, on the same frames for all. So a
model that sees better is not taken for one whose own agent shows it simpler pictures. What the
numbers are is said in docs/tools.md. Episodes are played by the evaluation policy, rotated as the
player's run is.

Exit code 0, 2 for what cannot be, 1 if an environment or the disk fails.
"""

import argparse
import sys
from collections.abc import Sequence

from clion_tf import command
from clion_tf.analysis import tool_checks, trained_agent
from clion_tf.analysis.curves.learning_curves import read_each
from clion_tf.analysis.studies.study_settings import table
from clion_tf.analysis.trained_agent import Saved
from clion_tf.console import quiet_import
from clion_tf.files import user_path


@command.tool("judge")
def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit code."""
    options = parse(arguments)
    out = tool_checks.output_file(options.out, (".json",))
    saved = runs(options.logdirs)
    with quiet_import():
        from clion_tf.analysis.studies import judging, study_training
    built = read_each(saved.items(), lambda named: (named[0], trained_agent.build(named[1])))
    trained = dict(built)
    unseen = {
        name: study_training.played_by(one, options.episodes) for name, one in trained.items()
    }
    found = {
        f"{name} on {player}'s": judging.judge(one.agent, unseen[player])
        for name, one in trained.items()
        for player in trained
    }
    if out is not None:
        steps = {name: one.counters.steps for name, one in trained.items()}
        content = {"steps": steps, "episodes": options.episodes, "found": found}
        tool_checks.write_json(out, content)
    print("\n".join(table("agent", found)))
    return command.OK


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line's words."""
    parser = command.parser("judge", __doc__)
    add = parser.add_argument
    add("--logdirs", nargs="+", required=True, metavar="DIR", help="folders of runs")
    add("--episodes", type=command.positive, default=4, help="that each agent plays; 4")
    add("--out", metavar="FILE", help="write all numbers there, .json")
    return parser.parse_args(arguments)


def runs(logdirs: Sequence[str]) -> dict[str, Saved]:
    """`tool_checks.runs_with_world_models` by the shortest ends of paths that tell them apart."""
    found = tool_checks.runs_with_world_models([user_path(one).resolve() for one in logdirs])
    length = 1
    while len({path.parts[-length:] for path in found}) < len(found):
        length += 1
    return {"/".join(path.parts[-length:]): one for path, one in found.items()}


if __name__ == "__main__":
    sys.exit(main())
