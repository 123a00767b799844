"""Whether an environment keeps its promises, and what an agent will see of it.

Ours: an episode is a function of its number, and what training refuses (clion_tf.envs.step_checks).
Gymnasium's: `clion_tf.envs.gymnasium_check`. Both run in worker processes.
"""

import dataclasses
import functools
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

from clion_tf.envs import step_checks
from clion_tf.envs.env_spec import EnvError, EnvSpec, PromiseError, WorkerError
from clion_tf.envs.remote_env import Ready, RemoteEnv
from clion_tf.files import python_path

COMPARED = 50  # agent steps of an episode that are played again
MOST_FRAMES = 64  # kept of an episode, evenly spread
CHECKER_SECONDS = 300.0


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
        for check in (_play_all, _same_again, _ends_of_actions, _closes):
            try:
                report.checks += check(env, report, episodes)
            except EnvError as error:
                report.checks.append(Check("it runs", False, str(error)))
                break
    # Further environments beside the first get numbers of their own, as in a training.
    other = dataclasses.replace(spec, index=spec.index + 1)
    for name, outcome in _gymnasiums_checker(other).items():
        failure = outcome["error"]
        report.checks.append(Check(f"gymnasium's checker, {name}", not failure, failure))
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
    elif isinstance(space, gymnasium.spaces.Box):
        for end in (space.low, space.high):
            yield end
            for one in np.eye(space.shape[0], dtype=bool):
                yield np.where(one, end, 0).astype(np.float32)


def play(env: RemoteEnv, number: int, actions: Iterator[Any]) -> Played:
    """Plays the episode of a number until it or the actions end, or a promise is broken."""
    played = Played(number)

    def note(promise: str, text: str) -> None:
        where = f"episode {number}, after environment step {played.steps}"
        played.problems.setdefault(promise, f"{text} ({where})")

    # All that a worker remarks on is what leaves its space, which training takes all the same.
    env.remark = functools.partial(note, step_checks.SPACE)
    try:
        _play(env, played, actions)
    except PromiseError as error:
        note(error.promise, str(error))
    return played


def _play(env: RemoteEnv, played: Played, actions: Iterator[Any]) -> None:
    stride = 1
    _note_observation(played, env.reset(played.number), 0.0)
    for action in actions:
        began = time.perf_counter()
        observation, reward, terminated, truncated, info = env.step(action)
        played.seconds += time.perf_counter() - began
        played.steps += info["steps"]
        played.agent_steps += 1
        played.reward += reward
        over = terminated or truncated
        _note_observation(played, observation, reward, played.agent_steps % stride == 0 or over)
        if len(played.frames) > MOST_FRAMES:
            played.frames, stride = played.frames[::2], 2 * stride
        if over:
            ended = "terminated" if terminated else "cut"
            played.end, played.terminated = f"{ended} (discount {info['discount']:g})", terminated
            break


def _note_observation(played: Played, observation: dict, reward: float, kept: bool = True) -> None:
    """Notes what an observation shows."""
    if played.agent_steps <= COMPARED:
        played.start.append((reward, observation))
    if "image" in observation and kept:
        played.frames.append(Frame(observation["image"], played.steps, reward))
    for key, value in observation.items():
        low, high = played.ranges.get(key, (math.inf, -math.inf))
        played.ranges[key] = (min(low, float(value.min())), max(high, float(value.max())))


# The checks. Each takes the environment, the report so far, and how many episodes are wanted.


def _play_all(env: RemoteEnv, report: Report, episodes: int) -> list[Check]:
    for number in range(episodes):
        actions = random_actions(env.action_space, number)
        report.episodes.append(play(env, number, actions))
    found: dict[str, str] = {}
    for played in report.episodes:
        found = {**played.problems, **found}
    return [Check(name, name not in found, found.get(name, "")) for name in step_checks.PROMISES]


def _same_again(env: RemoteEnv, report: Report, episodes: int) -> list[Check]:
    """Episode 0 again, after others and in a worker that has seen nothing else."""
    first = report.episodes[0]
    checks = []
    spec = dataclasses.replace(report.spec, index=report.spec.index + 1)
    with RemoteEnv(spec) as fresh:
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
    name = "the ends of actions are taken"
    actions = list(extreme_actions(env.action_space))
    done, number = 0, episodes
    known = {check.name for check in report.checks if not check.passed}
    try:
        while done < len(actions):
            played = play(env, number, iter(actions[done:]))
            if played.problems.keys() & known:
                return []  # That is said already, and keeps this from being found out.
            for problem in played.problems.values():
                return [Check(name, False, problem)]
            done += played.agent_steps
            number += 1
    except WorkerError as error:
        return [Check(name, False, str(error))]
    return [Check(name, True, f"{len(actions)} actions")]


def _closes(env: RemoteEnv, report: Report, episodes: int) -> list[Check]:
    try:
        env.check_close()
    except WorkerError as error:
        return [Check("it closes", False, str(error))]
    return [Check("it closes", True)]


def _gymnasiums_checker(spec: EnvSpec) -> dict[str, dict]:
    """{environment: {"error": '' or what failed, "notes": warnings}}."""
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder, "outcome.json")
        command = [sys.executable, "-m", "clion_tf.envs.gymnasium_check", str(file)]
        try:
            subprocess.run(
                command,
                input=pickle.dumps(spec),
                env={**os.environ, "PYTHONPATH": python_path()},
                capture_output=True,
                timeout=CHECKER_SECONDS,
            )
            return json.loads(file.read_text())
        except subprocess.TimeoutExpired:
            failure = f"not done after {CHECKER_SECONDS:g} s"
        except FileNotFoundError:
            failure = "its process died"
    return {"the environment": {"error": failure, "notes": []}}
