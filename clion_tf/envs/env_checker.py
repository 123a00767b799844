"""Whether an environment keeps its promises, and what an agent will see of it.

An episode is a function of its number; what training refuses (step_checks); Gymnasium's checker.
"""

import dataclasses
import itertools
import re
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import gymnasium
import numpy as np
from gymnasium.utils.env_checker import check_env

from clion_tf.envs import remote_env, step_checks
from clion_tf.envs.env_spec import EnvError, EnvSpec, Observation, PromiseError, WorkerError
from clion_tf.envs.remote_env import Ready, RemoteEnv

COMPARED = 50  # agent steps of an episode that are played again
MOST_FRAMES = 64  # kept of an episode, evenly spread
CHECKER_SECONDS = 300.0
_COLOUR = re.compile("\x1b\\[[0-9;]*m")


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
class PlayedEpisode:
    """An episode, thinned out."""

    number: int
    steps: int = 0  # of the environment
    agent_steps: int = 0
    reward: float = 0.0
    end: str = "broken off"
    seconds: float = 0.0
    start: list[Observation] = field(default_factory=list)  # COMPARED + 1 of them, with rewards
    frames: list[Frame] = field(default_factory=list)
    stride: int = 1  # agent steps between two frames
    ranges: dict[str, tuple[float, float]] = field(default_factory=dict)  # of each part's numbers
    problems: dict[str, str] = field(default_factory=dict)  # by promise

    def see(self, observation: Observation, reward: float, over: bool = False) -> None:
        """Keeps the first observations, and of all every `stride`-th image and the last."""
        if self.agent_steps <= COMPARED:
            self.start.append({"reward": np.array(reward), **observation})
        if "image" in observation and (over or self.agent_steps % self.stride == 0):
            self.frames.append(Frame(observation["image"], self.steps, reward))
            if len(self.frames) > MOST_FRAMES:
                self.frames, self.stride = self.frames[::2], 2 * self.stride
        for key, value in observation.items():
            every = [float(value.min()), float(value.max()), *self.ranges.get(key, ())]
            self.ranges[key] = min(every), max(every)

    def note(self, promise: str, text: str) -> None:
        where = f"episode {self.number}, after environment step {self.steps}"
        self.problems.setdefault(promise, f"{text} ({where})")


class Report(NamedTuple):
    """What is known of an environment; `episodes` may be cut short by a failed check."""

    spec: EnvSpec
    ready: Ready
    episodes: list[PlayedEpisode]
    checks: list[Check]


def examine(spec: EnvSpec, episodes: int = 1) -> Report:
    """Plays random episodes 0 ... episodes - 1 and checks everything, in worker processes.

    Raises EnvError if the environment cannot even be made; what fails later is a failed check.
    """
    other = dataclasses.replace(spec, index=spec.index + 1)  # As in a training.
    with RemoteEnv(spec) as env:
        report = Report(spec, env.wait_ready(), [], [])
        try:
            for check in _checks(env, other, report, episodes):
                report.checks.append(check)
        except EnvError as error:
            report.checks.append(Check("it runs", False, str(error)))
    report.checks.extend(_gymnasiums_checker(other))
    return report


def random_actions(space: gymnasium.Space, seed: int) -> Iterator[Any]:
    """Uniform actions without end, float32 [n] or integers."""
    random = np.random.default_rng(seed)
    while True:
        if isinstance(space, gymnasium.spaces.Discrete):
            yield int(random.integers(space.n))
        else:
            yield random.uniform(-1, 1, space.shape).astype(np.float32)


def extreme_actions(space: Any) -> list[Any]:
    """Every discrete action; or all lowest, all highest, and each dimension's ends alone."""
    if isinstance(space, gymnasium.spaces.Discrete):
        return list(range(int(space.n)))
    return [*space.low[None], *np.diag(space.low), *space.high[None], *np.diag(space.high)]


def play(env: RemoteEnv, number: int, actions: Iterator[Any]) -> PlayedEpisode:
    """Plays the episode of a number until it or the actions end, or a promise is broken."""
    played = PlayedEpisode(number)
    # All that a worker remarks on is what leaves its space, which training takes all the same.
    env.remark = lambda text: played.note(step_checks.SPACE, text)
    try:
        played.see(env.reset(number), 0.0)
        for action in actions:
            began = time.perf_counter()
            observation, reward, terminated, truncated, info = env.step(action)
            played.seconds += time.perf_counter() - began
            played.steps += info["steps"]
            played.agent_steps += 1
            played.reward += reward
            played.see(observation, reward, terminated or truncated)
            if terminated or truncated:
                played.end = "terminated (discount 0)" if terminated else "cut (discount 1)"
                break
    except PromiseError as error:
        played.note(error.promise, str(error))
    return played


def _checks(env: RemoteEnv, other: EnvSpec, report: Report, episodes: int) -> Iterator[Check]:
    """All but Gymnasium's; puts the episodes into the report."""
    space, found = env.action_space, dict[str, str]()
    for number in range(episodes):
        played = play(env, number, random_actions(space, number))
        report.episodes.append(played)
        found = {**played.problems, **found}
    for name in step_checks.PROMISES:
        yield Check(name, name not in found, found.get(name, ""))
    # Episode 0 again, after others and in a worker that has seen nothing else.
    with RemoteEnv(other) as fresh:
        for name, worker in (("the same worker", env), ("another worker", fresh)):
            actions = itertools.islice(random_actions(space, 0), COMPARED)
            difference = _difference(report.episodes[0].start, play(worker, 0, actions).start)
            yield Check(f"episode 0 again, in {name}", not difference, difference)
    yield from _ends_of_actions(env, episodes, found)
    start = time.monotonic()
    try:
        env.ask("close")
        took, patience = time.monotonic() - start, remote_env.GRACE
        told = f"close() took {took:.1f} s; training waits {patience:g} s"
        yield Check("it closes", took <= patience, told if took > patience else "")
    except WorkerError as error:
        yield Check("it closes", False, str(error))


def _difference(first: list[Observation], again: list[Observation]) -> str:
    """Where two plays of an episode part; '' if nowhere."""
    for step, (seen, now) in enumerate(zip(first, again, strict=False)):
        for key, value in seen.items():
            if not np.array_equal(value, now[key]):
                return f"agent step {step}: another {key}"
    if len(first) != len(again):
        return f"it ended after {len(again) - 1} agent steps, not {len(first) - 1}"
    return ""


def _ends_of_actions(env: RemoteEnv, number: int, known: dict[str, str]) -> Iterator[Check]:
    """Whether the ends of all actions are taken, in episodes from a number on."""
    actions = extreme_actions(env.action_space)
    left, problem = actions, ""
    try:
        while left and not problem:
            played = play(env, number, iter(left))
            if played.problems.keys() & known.keys():
                return  # That is said already, and keeps this from being found out.
            problem = next(iter(played.problems.values()), "")
            left, number = left[played.agent_steps :], number + 1
    except WorkerError as error:
        problem = str(error)
    yield Check("the ends of actions are taken", not problem, problem or f"{len(actions)} actions")


def _gymnasiums_checker(spec: EnvSpec) -> list[Check]:
    try:
        with RemoteEnv(spec) as env:
            env.timeout, env.remark = CHECKER_SECONDS, lambda text: None
            return env.ask("check")
    except EnvError as error:
        return [Check("gymnasium's checker", False, str(error))]


def by_gymnasium(env: gymnasium.Env) -> list[Check]:
    """What Gymnasium's checker says, in a worker, of an environment bare and as made."""
    checks = []
    for name, version in (("bare", env.unwrapped), ("as the agent sees it", env)):
        error = ""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                # Its checks of rendering and closing make the environment again, by its registered
                # name and in each render mode, windows included.
                check_env(version, skip_render_check=True, skip_close_check=True)
        except Exception as failure:
            error = " ".join(_COLOUR.sub("", f"{type(failure).__name__}: {failure}").split())
        checks.append(Check(f"gymnasium's checker, {name}", not error, error))
    return checks
