"""The agent on several devices: each has a copy of it and its rows of every batch.

tf.distribute runs the copies, which have plain variables: its mirrored ones cannot be assigned in
the branch where all optimisers step or none does.
"""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from clion_tf.agents.base import Tensors
from clion_tf.agents.clion import Agent
from clion_tf.agents.device_errors import cause
from clion_tf.config import Config
from clion_tf.console import UserError
from clion_tf.learning import noise as noises
from clion_tf.learning import replica_sums
from clion_tf.replay.observation_shapes import PIXELS, Shapes


class PeerLost(UserError, RuntimeError):
    """A replica, or the process that it lived in, is gone; the message is one line."""


class ReplicatedAgent(Agent):
    """An agent whose updates are made by the replicas of a strategy; it acts on the first device.

    Its `named_state` is the first replica's; `share_state` must come before the first update and
    after each restore. XLA is off: the collectives of CPUs do not compile.
    """

    def __init__(
        self, strategy: tf.distribute.Strategy, config: Config, action_size: int,
        discrete: bool = False, observed: Shapes = PIXELS, precision: str = "32",
    ):  # fmt: skip
        options = (config, action_size, discrete, observed, precision)
        first, *others = strategy.extended.worker_devices
        with tf.device(first):
            super().__init__(*options)
            self.build_optimizers()  # On the device too.
        self._replicas: list[Agent] = [self]
        for device in others:
            with tf.device(device):
                self._replicas.append(Agent(*options))
                self._replicas[-1].build_optimizers()
        self._strategy = strategy
        self.broken = False  # Whether an update failed, so that the replicas are out of step.
        self._update_all = tf.function(self._step_all, autograph=False)
        of_first = lambda x: self._first(strategy.run(replica_sums.first, (x,)))  # noqa: E731
        self._of_the_first = tf.function(of_first, autograph=False)

    def share_state(self) -> None:
        """Copies the state of the chief's first replica to all replicas of all processes."""
        states = [agent.named_state().values() for agent in self._replicas]
        for dtype in sorted({variable.dtype for variable in states[0]}):
            alike = [[v for v in state if v.dtype == dtype] for state in states]
            own = [variable.numpy() for variable in alike[0]]
            with collective_errors():  # All as one: each by itself costs many operations.
                values = self._of_the_first(np.concatenate([*map(np.ravel, own)])).numpy()
            ends = np.cumsum([array.size for array in own])
            for *copies, value in zip(*alike, np.split(values, ends[:-1]), strict=True):
                for variable in copies:
                    variable.assign(value.reshape(variable.shape))

    def train(self, data: dict[str, np.ndarray], update: int) -> np.ndarray:
        """One update on the whole batch; errors as in `collective_errors`."""
        seed = tf.constant(noises.key(self.config.seed, "update", update))

        def rows(context: tf.distribute.ReplicaContext) -> Tensors:
            parts, mine = self._strategy.num_replicas_in_sync, context.replica_id_in_sync_group
            return {key: tf.constant(np.split(x, parts)[mine]) for key, x in data.items()}

        split = self._strategy.experimental_distribute_values_from_function(rows)
        self.broken = True
        with collective_errors():
            metrics = self._update_all(split, seed).numpy()
        self.broken = False
        return metrics

    def train_several(self, batches: Sequence[dict], updates: Sequence[int]) -> np.ndarray:
        """Here each update is a call of its own."""
        return np.stack([self.train(*one) for one in zip(batches, updates, strict=True)])

    def _first(self, each: Any) -> tf.Tensor:
        return self._strategy.experimental_local_results(each)[0]

    def _step_all(self, data: Any, seed: tf.Tensor) -> tf.Tensor:
        return self._first(self._strategy.run(self._replica_step, (data, seed)))

    def _replica_step(self, data: Tensors, seed: tf.Tensor) -> tf.Tensor:
        """What each replica does; the metrics are the whole batch's."""
        agent = self._replicas[replica_sums.rank() % len(self._replicas)]
        noise = replica_sums.ReplicaNoise(noises.SeededNoise(seed), self.config.augmentations)
        scalars = agent.update(data, noise)
        self.metric_names = list(scalars)
        return replica_sums.mean_without_gradient(tf.stack(list(scalars.values())))


@contextlib.contextmanager
def collective_errors() -> Iterator[None]:
    """MemoryError or PeerLost, of one line, for what fails where replicas work together."""
    try:
        yield
    except tf.errors.ResourceExhaustedError as error:
        raise MemoryError(cause(error)) from error
    except tf.errors.OpError as error:
        advice = "the last checkpoint stands, run the same commands again"
        raise PeerLost(f"a replica is lost ({error_text(error)}); {advice}") from error


def error_text(error: tf.errors.OpError) -> str:
    """What a TensorFlow error says, short."""
    return f"{type(error).__name__}: {cause(error)}"
