"""Whether an environment keeps its promises, and what an agent will see of it.

Ours: an episode is a function of its number, numbers are finite, observations are as declared.
Gymnasium's: `clion_tf.envs.gymnasium_check`. Both run in worker processes.
"""

import itertools
import json
import math
import os
import pathlib
import pickle
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import gymnasium
import numpy as np

from clion_tf.envs.remote import Ready, RemoteEnv
from clion_tf.envs.spec import EnvError, EnvSpec, WorkerError

COMPARED = 50  # agent steps of an episode that are played again
MOST_FRAMES = 64  # kept of an episode, evenly spread
CHECKER_SECONDS = 300.0
_PACKAGE_PARENT = pathlib.Path(__file__).resolve().parents[2]


class Check(NamedTuple):
    """One check; `detail` says what was found, in one line."""

    name: str
    passed: bool
    detail: str = ""


class Frame(NamedTuple):
    """An observed image, the environment steps before it and the reward that came with it."""

    image: np.ndarray
    step: int
    reward: float


@dataclass
class Played:
    """An episode, thinned out.

    steps: environment steps. start: [reward, arrays ...] of the first COMPARED agent steps.
    ranges: smallest and largest number of each part. problems: what was wrong, each once.
    """

    number: int
    steps: int = 0
    agent_steps: int = 0
    reward: float = 0.0
    end: str = "broken off"
    terminated: bool = False
    seconds: float = 0.0
    start: list[tuple[float, dict[str, np.ndarray]]] = field(default_factory=list)
    frames: list[Frame] = field(default_factory=list)
    ranges: dict[str, tuple[float, float]] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)


@dataclass
class Report:
    """What is known of an environment; `episodes` may be cut short by a failed check."""

    spec: EnvSpec
    ready: Ready
    episodes: list[Played] = field(default_factory=list)
    checks: list[Check] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        return all(check.passed for check in self.checks)


def examine(spec: EnvSpec, episodes: int = 1) -> Report:
    """Plays random episodes 0 ... episodes - 1 and checks everything.

    Raises EnvError if the environment cannot even be made; what fails later is a failed check.
    """
    with RemoteEnv(spec) as env:
        report = Report(spec, env.wait_ready())
        for check in (_play_all, _same_again, _ends_of_actions):
            try:
                report.checks += check(env, report, episodes)
            except EnvError as error:
                report.checks.append(Check("it runs", False, _with_cause(error)))
                break
    for name, outcome in _gymnasiums_checker(spec).items():
        error = outcome["error"]
        report.checks.append(Check(f"gymnasium's checker, {name}", not error, error))
        report.notes += outcome["notes"]
    return report


def random_actions(space: gymnasium.Space, seed: int) -> Iterator[Any]:
    """Uniform actions without end, float32 [n] or integers."""
    random = np.random.default_rng(seed)
    while True:
        if isinstance(space, gymnasium.spaces.Discrete):
            yield int(random.integers(space.n))
        else:
            yield random.uniform(-1, 1, space.shape).astype(np.float32)


def extreme_actions(space: gymnasium.Space) -> Iterator[Any]:
    """Every discrete action; or all lowest, all highest, and each dimension's ends alone."""
    if isinstance(space, gymnasium.spaces.Discrete):
        yield from range(int(space.n))
        return
    for end in (space.low, space.high):
        yield end
        for one in np.eye(space.shape[0], dtype=bool):
            yield np.where(one, end, 0).astype(np.float32)


def play(env: RemoteEnv, number: int, actions: Iterator[Any]) -> Played:
    """Plays the episode of a number until it or the actions end."""
    played = Played(number)
    stride = 1
    observation = env.reset(number)
    _look(played, observation, 0.0, env.observation_space)
    for action in actions:
        began = time.perf_counter()
        observation, reward, terminated, truncated, info = env.step(action)
        played.seconds += time.perf_counter() - began
        played.steps += info["steps"]
        played.agent_steps += 1
        played.reward += reward
        over = terminated or truncated
        kept = played.agent_steps % stride == 0 or over
        _look(played, observation, reward, env.observation_space, kept)
        if not 0 <= info["discount"] <= 1:
            _problem(played, "discounts lie in [0, 1]", f"{info['discount']}")
        if len(played.frames) > MOST_FRAMES:
            played.frames, stride = played.frames[::2], 2 * stride
        if over:
            ended = "terminated" if terminated else "cut"
            played.end, played.terminated = f"{ended} (discount {info['discount']:g})", terminated
            break
    return played


def _look(
    played: Played, observation: dict, reward: float, space: gymnasium.Space, kept: bool = True
) -> None:
    """Notes what an observation shows and what is wrong with it."""
    if played.agent_steps <= COMPARED:
        played.start.append((reward, observation))
    if "image" in observation and kept:
        played.frames.append(Frame(observation["image"], played.steps, reward))
    for key, value in observation.items():
        low, high = played.ranges.get(key, (math.inf, -math.inf))
        played.ranges[key] = (min(low, float(value.min())), max(high, float(value.max())))
    if not math.isfinite(reward):
        _problem(played, "rewards are finite", f"{reward}")
    if not all(np.isfinite(value).all() for value in observation.values()):
        _problem(played, "observations are finite", "NaN or infinite")
    if not space.contains(observation):
        _problem(played, "observations lie in their space", _outside(observation, space))


def _outside(observation: dict, space: gymnasium.Space) -> str:
    """Which part is not as declared, and by what."""
    wrong = [key for key, part in space.items() if not part.contains(observation.get(key))]
    key = wrong[0]
    found, part = observation[key], space[key]
    if found.shape != part.shape or found.dtype != part.dtype:
        return f"{key} is {found.dtype} {found.shape}, declared {part.dtype} {part.shape}"
    index = int(np.flatnonzero((found < part.low) | (found > part.high) | np.isnan(found))[0])
    low, high = part.low.flat[index], part.high.flat[index]
    return f"{key}[{index}] is {found.flat[index]:g}, declared {low:g} to {high:g}"


def _problem(played: Played, name: str, detail: str) -> None:
    where = f"episode {played.number}, environment step {played.steps}"
    played.problems.setdefault(name, f"{detail} ({where})")


# The checks. Each takes the environment, the report so far, and how many episodes are wanted.

PROMISES = (
    "rewards are finite",
    "discounts lie in [0, 1]",
    "observations are finite",
    "observations lie in their space",
)


def _play_all(env: RemoteEnv, report: Report, episodes: int) -> list[Check]:
    for number in range(episodes):
        actions = random_actions(env.action_space, number)
        report.episodes.append(play(env, number, actions))
    found = {}
    for played in report.episodes:
        found = {**played.problems, **found}
    return [Check(name, name not in found, found.get(name, "")) for name in PROMISES]


def _same_again(env: RemoteEnv, report: Report, episodes: int) -> list[Check]:
    """Episode 0 again, after others and in a worker that has seen nothing else."""
    first = report.episodes[0]
    checks = []
    with RemoteEnv(report.spec) as fresh:
        for name, other in (("the same worker", env), ("another worker", fresh)):
            actions = itertools.islice(random_actions(env.action_space, 0), COMPARED)
            difference = _difference(first, play(other, 0, actions))
            checks.append(Check(f"episode 0 again, in {name}", not difference, difference))
    return checks


def _difference(first: Played, again: Played) -> str:
    """Where two plays of an episode part; '' if nowhere."""
    for step, (old, new) in enumerate(zip(first.start, again.start, strict=False)):
        if old[0] != new[0]:
            return f"agent step {step}: reward {new[0]:g}, at first {old[0]:g}"
        for key, value in old[1].items():
            if not np.array_equal(value, new[1][key], equal_nan=value.dtype.kind == "f"):
                return f"agent step {step}: another {key}"
    if len(first.start) != len(again.start):
        return f"it ended after {len(again.start) - 1} agent steps, not {len(first.start) - 1}"
    return ""


def _ends_of_actions(env: RemoteEnv, report: Report, episodes: int) -> list[Check]:
    """Whether the ends of all actions are taken."""
    actions = list(extreme_actions(env.action_space))
    done, number = 0, episodes
    try:
        while done < len(actions):
            done += play(env, number, iter(actions[done:])).agent_steps
            number += 1
    except WorkerError as error:
        return [Check("the ends of actions are taken", False, _with_cause(error))]
    return [Check("the ends of actions are taken", True, f"{len(actions)} actions")]


def _with_cause(error: EnvError) -> str:
    """The message, and the line of the environment's code where it came from, if known."""
    places = [line.strip() for line in getattr(error, "details", "").splitlines()]
    files = [line for line in places if line.startswith("File ")]
    return f"{error} ({files[-1]})" if files else str(error)


def _gymnasiums_checker(spec: EnvSpec) -> dict[str, dict]:
    """{environment: {"error": '' or what failed, "notes": warnings}}."""
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder, "outcome.json")
        paths = [str(_PACKAGE_PARENT), os.environ.get("PYTHONPATH", "")]
        command = [sys.executable, "-m", "clion_tf.envs.gymnasium_check", str(file)]
        try:
            subprocess.run(
                command,
                input=pickle.dumps(spec),
                env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))},
                capture_output=True,
                timeout=CHECKER_SECONDS,
            )
            return json.loads(file.read_text())
        except subprocess.TimeoutExpired:
            failure = f"not done after {CHECKER_SECONDS:g} s"
        except FileNotFoundError:
            failure = "its process died"
    return {"the environment": {"error": failure, "notes": []}}
