"""Episodes: an environment and whoever acts in it. Knows no network."""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import gymnasium
import numpy as np

from clion_tf.envs import EnvError, RemoteEnv, WorkerError
from clion_tf.replay.episode_files import Episode, EpisodeBuilder
from clion_tf.replay.observation_shapes import Shapes
from clion_tf.replay.stopwatch import Stopwatch

# Called with the number of agent steps done, in all environments together; may raise to break off.
OnStep = Callable[[int], None]
Observation = Mapping[str, np.ndarray]


class Policy(Protocol):
    """Acts through episodes that run side by side."""

    def begin(self, episodes: Sequence[int]) -> None:
        """Forgets what was before; the episodes' numbers name the noise."""

    def act(self, observed: Sequence[Observation]) -> np.ndarray:
        """Actions float32 [N, A] for the observations of N environments (observation_shapes.py)."""


class Actor(Protocol):
    """What acts for `AgentPolicy`, see `agents.base.Learner`."""

    @property
    def observed(self) -> Shapes:
        """What it looks at."""

    def initial(self, batch: int) -> Any:
        """The state of so many environments before an episode."""

    def policy(
        self,
        observation: dict[str, np.ndarray],
        state: Any,
        step: tuple[int, int],
        training: bool,
        amount: float,
        earlier: bool = False,
    ) -> tuple[np.ndarray, Any]:
        """Actions float32 [N, A] and the next state."""


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
    """The agent in N environments, one call for all of them.

    Args:
      agent: who acts.
      training: sample and explore, or the evaluation policy.
      amount: of exploration noise.
      earlier: as the agent was when it was last told to `remember`.
    """

    def __init__(self, agent: Actor, training: bool, amount: float, earlier: bool = False):
        self._agent, self._training, self._amount = agent, training, amount
        self._earlier = earlier

    def begin(self, episodes: Sequence[int]) -> None:
        # One number names the noise of all; for a single episode it is that episode's.
        self._state = self._agent.initial(len(episodes))
        self._episode, self._step = episodes[0], 0

    def act(self, observed: Sequence[Observation]) -> np.ndarray:
        action, self._state = self._agent.policy(
            {key: np.stack([one[key] for one in observed]) for key in self._agent.observed},
            self._state,
            (self._episode, self._step),
            self._training,
            self._amount,
            self._earlier,
        )
        self._step += 1
        return action


class TimedPolicy:
    """A policy whose time is counted as the part `policy`."""

    def __init__(self, policy: Policy, watch: Stopwatch):
        self._policy, self._watch = policy, watch
        self.begin = policy.begin

    def act(self, observed: Sequence[Observation]) -> np.ndarray:
        """See Policy."""
        with self._watch("policy"):
            return self._policy.act(observed)


def run_episode(env: RemoteEnv, policy: Policy, episode: int, on_step: OnStep) -> Episode:
    """One whole episode from its own seed; errors as in `run_episodes`."""
    return run_episodes([env], policy, [episode], on_step)[0]


def run_episodes(
    envs: Sequence[RemoteEnv], policy: Policy, numbers: Sequence[int], on_step: OnStep
) -> list[Episode]:
    """Episodes of these numbers, one in each environment, side by side.

    What has ended waits for the others; the policy is asked for all of them, so that its batch
    keeps its size.

    Raises:
      WorkerError: if an environment fails, with its episode's number; what all of them did so far
        is dropped.
      EnvError: if what one observed or earned makes no episode (numbers that are not finite).
    """
    for env, number in zip(envs, numbers, strict=True):
        with _failing(number):
            env.send_reset(number)
    observed = []
    for env, number in zip(envs, numbers, strict=True):
        with _failing(number):
            observed.append(env.receive_reset())
    policy.begin(numbers)
    actions = policy.act(observed)
    builders = [EpisodeBuilder() for _ in envs]
    for builder, obs, action in zip(builders, observed, actions, strict=True):
        builder.first(obs, len(action))
    running, done = list(range(len(envs))), 0
    while True:
        done += len(running)
        on_step(done)
        for i in running:
            with _failing(numbers[i]):
                envs[i].send_step(_native(envs[i], actions[i]))
        ended = []
        for i in running:
            with _failing(numbers[i]):
                observed[i], reward, terminated, truncated, _ = envs[i].receive_step()
            builders[i].add(observed[i], actions[i], reward, 0.0 if terminated else 1.0)
            if terminated or truncated:
                ended.append(i)
        running = [i for i in running if i not in ended]
        if not running:
            return [_finished(*pair) for pair in zip(numbers, envs, builders, strict=True)]
        actions = policy.act(observed)


@contextlib.contextmanager
def _failing(number: int) -> Iterator[None]:
    """Says of what fails inside which episode it was."""
    try:
        yield
    except WorkerError as error:
        error.episode = number
        raise


def _finished(number: int, env: RemoteEnv, builder: EpisodeBuilder) -> Episode:
    try:
        return builder.finish()
    except ValueError as error:
        raise EnvError(f"environment {env.spec.task}, episode {number}: {error}") from error


def _native(env: RemoteEnv, action: np.ndarray) -> np.ndarray | int:
    """What the environment takes: the index of a one-hot action, else the vector itself."""
    discrete = isinstance(env.action_space, gymnasium.spaces.Discrete)
    return int(np.argmax(action)) if discrete else action
