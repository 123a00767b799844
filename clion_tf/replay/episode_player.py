"""Episodes: an environment and whoever acts in it. Knows no network."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

import gymnasium
import numpy as np

from clion_tf.envs import EnvError, RemoteEnv, WorkerError
from clion_tf.replay.episode_files import Episode, first_frame, frame, stacked
from clion_tf.replay.stopwatch import Stopwatch

# Called with the number of agent steps done, in all environments together; may raise to break off.
OnStep = Callable[[int], None]
Observation = Mapping[str, np.ndarray]
T = TypeVar("T")


class Policy(Protocol):
    """Acts through episodes that run side by side."""

    def begin(self, episodes: Sequence[int]) -> None:
        """Forgets what was before; the episodes' numbers name the noise."""

    def act(self, observed: Sequence[Observation]) -> np.ndarray:
        """Actions float32 [N, A] for the observations of N environments (observation_shapes.py)."""


class RandomPolicy:
    """Uniform actions, for the seed episodes; a function of (seed, episode, step)."""

    def __init__(self, action_size: int, discrete: bool, seed: int):
        self._size, self._discrete, self._seed = action_size, discrete, seed

    def begin(self, episodes: Sequence[int]) -> None:
        self._random = [np.random.default_rng([self._seed, episode]) for episode in episodes]

    def act(self, observed: Sequence[Observation]) -> np.ndarray:
        return np.stack([self._one(random) for random in self._random])

    def _one(self, random: np.random.Generator) -> np.ndarray:
        if self._discrete:
            return np.eye(self._size, dtype=np.float32)[random.integers(self._size)]
        return random.uniform(-1, 1, self._size).astype(np.float32)


class AgentPolicy:
    """The agent (an `agents.base.Learner`) in N environments, one call for all of them.

    `training`, `amount` and `earlier` are as in `Learner.policy`; `watch` counts the time as the
    part `policy`.
    """

    def __init__(
        self,
        agent: Any,
        training: bool,
        amount: float,
        earlier: bool = False,
        watch: Stopwatch | None = None,
    ):
        self._agent, self._how = agent, (training, amount, earlier)
        self._watch = watch or Stopwatch()

    def begin(self, episodes: Sequence[int]) -> None:
        # One number names the noise of all; for a single episode it is that episode's.
        self._state = self._agent.initial(len(episodes))
        self._episode, self._step = episodes[0], 0

    def act(self, observed: Sequence[Observation]) -> np.ndarray:
        with self._watch("policy"):
            seen = {key: np.stack([one[key] for one in observed]) for key in self._agent.observed}
            step = self._episode, self._step
            action, self._state = self._agent.policy(seen, self._state, step, *self._how)
        self._step += 1
        return action


def run_episodes(
    envs: Sequence[RemoteEnv],
    policy: Policy,
    numbers: Sequence[int],
    on_step: OnStep = lambda done: None,
    watch: Callable[[Observation, int], None] = lambda observed, steps: None,
) -> list[Episode]:
    """Episodes of these numbers, each from its own seed, one in each environment, side by side.

    What has ended waits for the others; the policy is asked for all of them, so that its batch
    keeps its size. `watch` is told each observation, and how many environment steps led to it.
    Raises WorkerError, with its episode's number, if an environment fails, EnvError
    if what one observed or earned makes no episode (numbers that are not finite).
    """
    for env, number in zip(envs, numbers, strict=True):
        _asked(number, env.send_reset, number)
    pairs = zip(envs, numbers, strict=True)
    observed = [_asked(number, env.receive_reset) for env, number in pairs]
    for one in observed:
        watch(one, 0)
    policy.begin(numbers)
    actions = policy.act(observed)
    frames = [[first_frame(obs, actions.shape[1])] for obs in observed]
    running, done = list(range(len(envs))), 0
    while running:
        done += len(running)
        on_step(done)
        for i in running:
            _asked(numbers[i], envs[i].send_step, _native(envs[i], actions[i]))
        for i in tuple(running):
            answer = _asked(numbers[i], envs[i].receive_step)
            observed[i], reward, terminated, truncated, info = answer
            watch(observed[i], info.get("steps", 0))
            discount = 0.0 if terminated else 1.0
            frames[i].append(frame(observed[i], actions[i], reward, discount))
            if terminated or truncated:
                running.remove(i)
        if running:
            actions = policy.act(observed)
    episodes = []
    for env, number, each in zip(envs, numbers, frames, strict=True):
        try:
            episodes.append(stacked(each))
        except ValueError as error:
            raise EnvError(f"environment {env.spec.task}, episode {number}: {error}") from error
    return episodes


def _asked(number: int, ask: Callable[..., T], *arguments: Any) -> T:
    """The answer; what fails says in which episode it was."""
    try:
        return ask(*arguments)
    except WorkerError as error:
        error.episode = number
        raise


def _native(env: RemoteEnv, action: np.ndarray) -> np.ndarray | int:
    """What the environment takes: the index of a one-hot action, else the vector itself."""
    discrete = isinstance(env.action_space, gymnasium.spaces.Discrete)
    return int(np.argmax(action)) if discrete else action
