"""Checks an environment and shows what an agent will see of it.

    clion-check-env --task=gym:CartPole-v1 --out=cartpole.png
    clion-check-env --task=my_env:make --episodes=5

Plays random episodes in a worker process, and prints shapes, ranges, actions, lengths, rewards, how
episodes end, and how fast it is. Checks that an episode is a function of its number (played again
after others, and in another process, for 50 agent steps), that rewards and observations are finite
and as declared, that the ends of actions are taken; and runs Gymnasium's checker on the bare
environment and on what is made of it. `--out` draws frames of the first episode as the agent sees
them.

Exit code 0 if all checks pass, 1 if one fails or the environment cannot be made, 2 for bad options
or a task that is not there.
"""

import argparse
import sys
from collections.abc import Sequence

from clion_tf import command
from clion_tf.analysis import tool_checks
from clion_tf.config import FIELDS, Config
from clion_tf.envs import EnvError, EnvSpec, env_checker
from clion_tf.files import atomic_write
from clion_tf.pictures import picture_rows


@command.tool("check_env")
def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit code."""
    options = parse(arguments)
    out = tool_checks.output_file(options.out, (".png",))
    if out and options.observe == "vector":
        raise command.UsageError("--out: there is no image with --observe=vector")
    try:
        spec = EnvSpec(
            options.task,
            seed=options.seed,
            action_repeat=options.action_repeat,
            time_limit=options.time_limit,
            rotation_degrees=options.rotation_degrees,
            observe=options.observe,
        )
    except EnvError as error:
        raise command.UsageError(str(error)) from error
    report = env_checker.examine(spec, options.episodes)
    print("\n".join(lines(report)))
    frames = report.episodes[0].frames if report.episodes else []
    if out and frames:
        with atomic_write(out) as file:
            picture_rows.contact_sheet(frames).save(file, "png")
        print(f"frames of episode 0 in {out}")
    return command.OK if all(check.passed for check in report.checks) else command.FAILED


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line's words; defaults are those of a training."""
    parser = command.parser("check_env", __doc__)
    defaults = Config()
    add = parser.add_argument
    add("--task", required=True, help="as in training")
    views = FIELDS["observe"].metadata["choices"]
    add("--observe", choices=views, default=defaults.observe, help="as in training")
    add("--action_repeat", type=command.positive, default=defaults.action_repeat, metavar="N")
    add("--time_limit", type=command.positive, default=defaults.time_limit, metavar="N")
    add("--rotation_degrees", type=tool_checks.rotation, default=0.0, metavar="X")
    add("--seed", type=tool_checks.count, default=0, metavar="N")
    add("--episodes", type=command.positive, default=1, metavar="N", help="random ones; 1")
    add("--out", metavar="FILE", help="draw frames of the first episode there, .png")
    return parser.parse_args(arguments)


def lines(report: env_checker.Report) -> list[str]:
    """A table for a terminal."""
    spec, ready = report.spec, report.ready
    rows = [
        f"{spec.task}: action repeat {spec.action_repeat}, time limit {spec.time_limit}, "
        f"observe {spec.observe}"
    ]
    rows += [sight(key, part, report) for key, part in ready.observation_space.items()]
    space = ready.action_space
    discrete = hasattr(space, "n")
    taken = f"{space.n} discrete" if discrete else f"{space.shape[0]} continuous in [-1, 1]"
    rows.append(f"  {'actions':9} {taken}")
    if ready.renderer:
        rows.append(f"  {'renderer':9} {ready.renderer}")
    if report.episodes:
        rows += ["", "random  environment    agent   return  end", "episode       steps    steps"]
        rows += [
            f"{one.number:7}  {one.steps:10}  {one.agent_steps:7}  {one.reward:7.4g}  {one.end}"
            for one in report.episodes
        ]
        rows.append(speed(report.episodes))
    rows += ["", "checks"]
    for check in report.checks:
        detail = f": {check.detail}" if check.detail else ""
        rows.append(f"  {'ok  ' if check.passed else 'FAIL'}  {check.name}{detail}")
    return rows


def sight(key: str, space, report: env_checker.Report) -> str:
    """A part of the observation."""
    row = f"  {key:9} {space.dtype} [{', '.join(map(str, space.shape))}]"
    found = [played.ranges[key] for played in report.episodes if played.ranges]
    if not found:
        return row
    low, high = min(low for low, _ in found), max(high for _, high in found)
    return f"{row}, seen {low:.4g} to {high:.4g}"


def speed(episodes: Sequence[env_checker.PlayedEpisode]) -> str:
    """Of all episodes together."""
    seconds = max(sum(played.seconds for played in episodes), 1e-9)
    steps = sum(played.steps for played in episodes) / seconds
    agent_steps = sum(played.agent_steps for played in episodes) / seconds
    return f"{steps:,.0f} environment steps/s, {agent_steps:,.0f} agent steps/s"


if __name__ == "__main__":
    sys.exit(main())
