"""Episodes: an environment and whoever acts in it. Knows no network."""

from collections.abc import Callable
from typing import Protocol

import gymnasium
import numpy as np

from clion_tf.envs import RemoteEnv
from clion_tf.episodes import Episode, EpisodeBuilder
from clion_tf.stopwatch import Stopwatch

# Called with the number of agent steps done in the episode; may raise to break it off.
OnStep = Callable[[int], None]


class Policy(Protocol):
    """Acts through one episode."""

    def begin(self, episode: int) -> None:
        """Forgets what was before; `episode` numbers the noise."""

    def act(self, image: np.ndarray) -> np.ndarray:
        """Action float32 [A] for an image uint8 [64, 64, 3]."""


class RandomPolicy:
    """Uniform actions, for the seed episodes; a function of (seed, episode, step)."""

    def __init__(self, action_size: int, discrete: bool, seed: int):
        self._size, self._discrete, self._seed = action_size, discrete, seed

    def begin(self, episode: int) -> None:
        self._random = np.random.default_rng([self._seed, episode])

    def act(self, image: np.ndarray) -> np.ndarray:
        if self._discrete:
            return np.eye(self._size, dtype=np.float32)[self._random.integers(self._size)]
        return self._random.uniform(-1, 1, self._size).astype(np.float32)


class AgentPolicy:
    """The agent in one environment.

    Args:
      agent: anything with Agent's `initial` and `policy`.
      training: sample and explore, or the evaluation policy.
      amount: of exploration noise.
      earlier: as the agent was when it was last told to `remember`.
    """

    def __init__(self, agent, training: bool, amount: float, earlier: bool = False):
        self._agent, self._training, self._amount = agent, training, amount
        self._earlier = earlier

    def begin(self, episode: int) -> None:
        self._state, self._episode, self._step = self._agent.initial(1), episode, 0

    def act(self, image: np.ndarray) -> np.ndarray:
        action, self._state = self._agent.policy(
            image[None],
            self._state,
            (self._episode, self._step),
            self._training,
            self._amount,
            self._earlier,
        )
        self._step += 1
        return action[0]


class TimedPolicy:
    """A policy whose time is counted as the part `policy`."""

    def __init__(self, policy: Policy, watch: Stopwatch):
        self._policy, self._watch = policy, watch
        self.begin = policy.begin

    def act(self, image: np.ndarray) -> np.ndarray:
        """See Policy."""
        with self._watch("policy"):
            return self._policy.act(image)


def run_episode(env: RemoteEnv, policy: Policy, episode: int, on_step: OnStep) -> Episode:
    """One whole episode from its own seed.

    Raises:
      WorkerError: if the environment fails; what it did so far is dropped.
    """
    builder = EpisodeBuilder()
    obs = env.reset(episode)
    policy.begin(episode)
    action = policy.act(obs["image"])
    builder.first(obs, action.shape[0])
    for step in range(1, 10**9):
        on_step(step)
        obs, reward, terminated, truncated, info = env.step(_native(env, action))
        discount = info.get("discount", 0.0 if terminated else 1.0)
        builder.add(obs, action, reward, discount)
        if terminated or truncated:
            return builder.finish()
        action = policy.act(obs["image"])
    raise AssertionError("an episode without end")


def _native(env: RemoteEnv, action: np.ndarray) -> np.ndarray | int:
    """What the environment takes: the index of a one-hot action, else the vector itself."""
    discrete = isinstance(env.action_space, gymnasium.spaces.Discrete)
    return int(np.argmax(action)) if discrete else action
