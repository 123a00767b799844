"""Episodes: an environment and whoever acts in it. Knows no network."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import gymnasium
import numpy as np

from clion_tf.envs import EnvError, RemoteEnv
from clion_tf.replay.episode_files import Episode, frame, stacked
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


@dataclasses.dataclass
class RandomPolicy:
    """Uniform actions, for the seed episodes; a function of (seed, episode, step)."""

    action_size: int
    discrete: bool
    seed: int

    def begin(self, episodes: Sequence[int]) -> None:
        self._random = [np.random.default_rng([self.seed, episode]) for episode in episodes]

    def act(self, observed: Sequence[Observation]) -> np.ndarray:
        if self.discrete:
            chosen = [random.integers(self.action_size) for random in self._random]
            return np.eye(self.action_size, dtype=np.float32)[chosen]
        actions = [random.uniform(-1, 1, self.action_size) for random in self._random]
        return np.array(actions, np.float32)


@dataclasses.dataclass
class AgentPolicy:
    """The agent (an `agents.base.Learner`) in N environments, one call for all of them."""

    agent: Any
    training: bool  # as in `Learner.policy`, and the next two
    amount: float
    earlier: bool = False
    watch: Stopwatch = dataclasses.field(default_factory=Stopwatch)  # counts the part `policy`

    def begin(self, episodes: Sequence[int]) -> None:
        # One number names the noise of all; for a single episode it is that episode's.
        self._state, self._step = self.agent.initial(len(episodes)), (episodes[0], 0)

    def act(self, observed: Sequence[Observation]) -> np.ndarray:
        with self.watch("policy"):
            seen = {key: np.stack([one[key] for one in observed]) for key in self.agent.observed}
            how = self._step, self.training, self.amount, self.earlier
            action, self._state = self.agent.policy(seen, self._state, *how)
        self._step = self._step[0], self._step[1] + 1
        return action


def run_episodes(
    envs: Sequence[RemoteEnv], policy: Policy, numbers: Sequence[int],
    on_step: OnStep = lambda done: None,
    on_observation: Callable[[Observation, int], None] = lambda observed, steps: None,
) -> list[Episode]:  # fmt: skip
    """Episodes of these numbers, each from its own seed, one in each environment, side by side.

    Environments whose episode has ended wait for the others; the policy still acts for all of them,
    so that its batch keeps its size. `on_observation` gets each observation, and how many
    environment steps led to it. Raises WorkerError if an environment fails, EnvError if what one
    gave makes no episode.
    """
    for env, number in zip(envs, numbers, strict=True):
        env.send("reset", number)
    observed = [env.receive() for env in envs]
    for one in observed:
        on_observation(one, 0)
    policy.begin(numbers)
    actions = policy.act(observed)
    frames = [[frame(obs, np.zeros(actions.shape[1]), 0.0, 1.0)] for obs in observed]
    running, done = list(range(len(envs))), 0
    discrete = isinstance(envs[0].action_space, gymnasium.spaces.Discrete)
    while running:
        done += len(running)
        on_step(done)
        for i in running:
            envs[i].send("step", int(np.argmax(actions[i])) if discrete else actions[i])
        for i in tuple(running):
            observed[i], reward, terminated, truncated, info = envs[i].receive()
            on_observation(observed[i], info.get("steps", 0))
            frames[i].append(frame(observed[i], actions[i], reward, 0.0 if terminated else 1.0))
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
