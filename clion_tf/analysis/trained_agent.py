"""A trained agent, taken from a logdir. Loads TensorFlow late, so that tools can refuse at once."""

import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from clion_tf.config import Config, ConfigError
from clion_tf.files import user_path
from clion_tf.logdir.checkpoints import CheckpointError, Checkpoints, Counters, newest, restore
from clion_tf.logdir.checkpoints import load as load_checkpoint
from clion_tf.logdir.run_folder import run_at
from clion_tf.replay.episode_player import AgentPolicy
from clion_tf.replay.observation_shapes import check


class Saved(NamedTuple):
    """What a run has saved."""

    config: Config
    weights: dict[str, np.ndarray]  # Of one checkpoint, by name.
    counters: Counters  # Where the run stood.
    path: pathlib.Path  # The checkpoint.


class TrainedAgent:
    """A run's agent as one of its checkpoints has it, and the evaluation policy to act with.

    `config` are the run's options with those that `clion_tf.load` was told otherwise, `agent` the
    `Learner` with the networks, `counters` and `path` as in `Saved`.
    """

    def __init__(self, config: Config, agent: Any, counters: Counters, path: pathlib.Path):
        self.config, self.agent, self.counters, self.path = config, agent, counters, path
        self.observed = agent.observed
        self._policy = self.policy()
        self.reset()

    def policy(self) -> AgentPolicy:
        """The evaluation policy with a state of its own, for one of several environments.

        `act` and `reset` share one: they are for one episode at a time, and for one thread.
        """
        return AgentPolicy(self.agent, training=False, amount=self.config.eval_noise)

    def with_memory_noise(self, amount: float, relative: bool = True) -> "TrainedAgent":
        """The same agent with noise on its memory, see `memory_noise`; ConfigError without one."""
        if self.config.agent != "clion":
            raise ConfigError(f"--agent={self.config.agent} has no memory to add noise to")
        if not 0 <= amount < np.inf:
            raise ConfigError(f"memory noise of {amount}: must be a finite number, 0 or more")
        from clion_tf.analysis.memory_noise import NoisyMemory

        quiet = self.agent.quiet if isinstance(self.agent, NoisyMemory) else self.agent
        noisy = NoisyMemory(self.config, quiet, amount, relative)
        return TrainedAgent(self.config, noisy, self.counters, self.path)

    def reset(self, episode: int = 0) -> None:
        """Begins an episode; its number names the policy's noise, so equal ones act equally."""
        self._policy.begin([episode])

    def act(self, observation: np.ndarray | Mapping[str, np.ndarray]) -> np.ndarray:
        """The evaluation policy's action for the next frame of the episode.

        The observation is a mapping with `image` uint8 [64, 64, 3], `vector` float32 [n], or both;
        the array itself where there is only one. If it is of another kind or shape, or has numbers
        that are not finite, raises ValueError, and the episode's state stays as it was. The action
        is float32 [A] in [-1, 1]; one-hot for discrete ones, so `argmax` is the action.
        """
        if not isinstance(observation, Mapping):
            observation = {next(iter(self.observed)): observation}
        check(observation, self.observed)
        return self._policy.act([observation])[0]


def read(logdir: str | pathlib.Path, checkpoint: int | str | pathlib.Path | None = None) -> Saved:
    """What `clion_tf.load` makes an agent from; arguments and errors as there."""
    folder, config = run_at(logdir)
    if checkpoint is None:
        path, arrays, counters = newest(folder.checkpoints)
        if path is None:
            there = any(Checkpoints.found_in(folder.checkpoints))
            told = "that can be read" if there else "there yet"
            raise CheckpointError(f"{folder.checkpoints}: no checkpoint {told}")
    else:
        path = _chosen(folder.checkpoints, checkpoint)
        arrays, counters = load_checkpoint(path)
    prefix = "weights/"
    weights = {n.removeprefix(prefix): a for n, a in arrays.items() if n.startswith(prefix)}
    return Saved(dataclasses.replace(config, logdir=str(folder)), weights, counters, path)


def build(
    saved: Saved, device: str = "auto", eval_action: str | None = None, seed: int | None = None
) -> TrainedAgent:
    """The agent of what was `read`; arguments and errors as in `clion_tf.load`."""
    others = {"device": device, "eval_action": eval_action, "seed": seed}
    others = {name: value for name, value in others.items() if value is not None}
    config = dataclasses.replace(saved.config, **others)
    from clion_tf import agents
    from clion_tf.training import hardware

    precision, jit, _ = hardware.prepare(config, alone=False)
    try:
        kind = agents.KINDS[config.agent]
        options = {**kind.sizes_of(config, saved.weights), "precision": precision, "jit": jit}
        agent = kind(config, **options)
        restore(agent.models.named_weights(), saved.weights)
    except (CheckpointError, KeyError, IndexError, ValueError) as error:
        raise CheckpointError(f"{saved.path}: not of this run's sizes ({error})") from error
    return TrainedAgent(config, agent, saved.counters, saved.path)


def _chosen(folder: pathlib.Path, wanted: int | str | pathlib.Path) -> pathlib.Path:
    if not isinstance(wanted, int) and not str(wanted).isdecimal():
        path = user_path(wanted)
        if not path.is_file():
            raise CheckpointError(f"{path}: no such checkpoint")
        return path
    kept = {int(path.stem): path for path in Checkpoints.found_in(folder) if path.stem.isdecimal()}
    if int(wanted) not in kept:
        steps = ", ".join(map(str, sorted(kept))) or "none"
        raise CheckpointError(f"{folder}: no checkpoint at {wanted} steps (kept: {steps})")
    return kept[int(wanted)]
