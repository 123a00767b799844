"""The agent on several devices: each has a copy of it and its rows of every batch.

tf.distribute runs the copies and adds up what they find (`learning.replica_sums`). Each copy
has plain variables and steps by itself from the same gradients: TensorFlow's mirrored variables
cannot be assigned where all optimisers step or none does (a branch).
"""

import contextlib
from collections.abc import Iterator, Sequence

import numpy as np
import tensorflow as tf

from clion_tf.agents.base import Tensors
from clion_tf.agents.clion import Agent
from clion_tf.agents.device_errors import cause
from clion_tf.config import Config
from clion_tf.distributed.tf_config import PeerLost
from clion_tf.learning import noise as noises
from clion_tf.learning import replica_sums
from clion_tf.replay.observation_shapes import PIXELS, Shapes


class Copies:
    """One variable of the state, of which every replica of this process has a copy."""

    def __init__(self, copies: Sequence[tf.Variable]):
        self._copies = copies
        self.shape, self.dtype, self.numpy = copies[0].shape, copies[0].dtype, copies[0].numpy

    def assign(self, value) -> None:
        """Gives all of them the value."""
        for copy in self._copies:
            copy.assign(value)


class ReplicatedAgent(Agent):
    """An agent whose updates are made by the replicas of a strategy; it acts on the first device.

    XLA is off: the collectives of CPUs do not compile.
    """

    def __init__(
        self,
        strategy: tf.distribute.Strategy,
        config: Config,
        action_size: int,
        discrete: bool = False,
        precision: str = "32",
        observed: Shapes = PIXELS,
    ):
        options = (config, action_size, discrete, precision, False, observed)
        devices = strategy.extended.worker_devices
        with tf.device(devices[0]):
            super().__init__(*options)
        self._replicas: list[Agent] = [self]
        for device in devices[1:]:
            with tf.device(device):
                self._replicas.append(Agent(*options))
        self._strategy = strategy
        self.broken = False  # Whether an update failed, so that the replicas are out of step.
        for variable in self.named_state().values():  # Devices may draw differently.
            variable.assign(variable.numpy())
        self._update_all = tf.function(self._step_all, autograph=False)

    def named_state(self) -> dict[str, Copies]:
        """See Agent; one name for all copies."""
        each = [super().named_state(), *(agent.named_state() for agent in self._replicas[1:])]
        return {name: Copies([state[name] for state in each]) for name in each[0]}

    def take_state_of_first(self) -> None:
        """Gives all replicas the state of the very first, which is another process's for most."""
        state = self.named_state()
        values = [tf.constant(variable.numpy()) for variable in state.values()]

        def one(values):
            first = replica_sums.rank() == 0
            return [replica_sums.total(x if first else tf.zeros_like(x)) for x in values]

        run = tf.function(lambda: self._strategy.run(one, (values,)), autograph=False)
        with collective():
            for variable, each in zip(state.values(), run(), strict=True):
                variable.assign(self._first(each))

    def train(self, data: dict[str, np.ndarray], update: int) -> tf.Tensor:
        """See Agent; `data` is the whole batch. Errors as in `collective`."""
        seed = tf.constant(noises.key(self.config.seed, "update", update))

        def rows(context) -> Tensors:
            parts, mine = self._strategy.num_replicas_in_sync, context.replica_id_in_sync_group
            return {key: tf.constant(np.split(x, parts)[mine]) for key, x in data.items()}

        split = self._strategy.experimental_distribute_values_from_function(rows)
        self.broken = True
        with collective():
            metrics = self._update_all(split, seed)
        self.broken = False
        return metrics

    def train_several(self, batches: Sequence[dict], updates: Sequence[int]) -> tf.Tensor:
        """See Agent; here each update is a call of its own."""
        return tf.stack([self.train(*one) for one in zip(batches, updates, strict=True)])

    def _first(self, each) -> tf.Tensor:
        return self._strategy.experimental_local_results(each)[0]

    def _step_all(self, data, seed: tf.Tensor) -> tf.Tensor:
        return self._first(self._strategy.run(self._replica_step, (data, seed)))

    def _replica_step(self, data: Tensors, seed: tf.Tensor) -> tf.Tensor:
        """What each replica does; returns the metrics of the whole batch."""
        agent = self._replicas[replica_sums.rank() % len(self._replicas)]
        noise = replica_sums.ReplicaNoise(noises.SeededNoise(seed), self.config.augmentations)
        scalars = agent.update(data, noise)
        self.metric_names = list(scalars)
        return replica_sums.average(tf.stack(list(scalars.values())))


@contextlib.contextmanager
def collective() -> Iterator[None]:
    """MemoryError or PeerLost, of one line, for what fails where replicas work together."""
    try:
        yield
    except tf.errors.ResourceExhaustedError as error:
        raise MemoryError(cause(error)) from error
    except tf.errors.OpError as error:
        raise PeerLost(
            f"a replica is lost ({told(error)}); the last checkpoint stands, "
            "run the same commands again"
        ) from error


def told(error: tf.errors.OpError) -> str:
    """What a TensorFlow error says, short."""
    return f"{type(error).__name__}: {cause(error)}"
