"""Updates from outside: numbered batches in, metrics out, compiled; the same for every agent."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from clion_tf import noise as noises
from clion_tf.noise import Noise

Tensors = dict[str, tf.Tensor]
DTYPES = {"32": "float32", "bf16": "mixed_bfloat16", "16": "mixed_float16"}


class Learner:
    """Makes `train` and `train_several` of an agent's `update`.

    Attributes:
      sequence: frames L of the sequences that its batches are made of.
      lead: how many frames before an episode's first a sequence may begin; it is repeated there.
      world_model: whether there is one to look at, as `clion_tf.heldout` does.

    Args:
      seed: the run's; with an update's number it names that update's noise.
      jit: whether the update is compiled by XLA.
    """

    sequence: int
    lead = 0
    world_model = False

    def __init__(self, seed: int, jit: bool):
        self.metric_names: list[str] = []
        self._seed = seed
        self._train = tf.function(self._train_step, jit_compile=jit, autograph=False)
        self._train_several = tf.function(self._train_steps, jit_compile=jit, autograph=False)

    def update(self, data: Tensors, noise: Noise) -> Tensors:
        """One update; returns scalars by `group/name`, float32."""
        raise NotImplementedError

    def numbered(self, data: dict[str, np.ndarray], update: int) -> dict[str, np.ndarray]:
        """The batch of update number `update`, with what else depends on that number."""
        return data

    def train(self, data: dict[str, np.ndarray], update: int) -> tf.Tensor:
        """Update number `update` on a batch; the metrics as one vector.

        `metric_names` says what each entry is, as `group/name`, once an update was made.

        Raises:
          MemoryError: if the device has too little memory.
        """
        seed = noises.key(self._seed, "update", update)
        data = self.numbered(data, update)
        try:
            return self._train({key: tf.constant(value) for key, value in data.items()}, seed)
        except tf.errors.ResourceExhaustedError as error:
            raise MemoryError(error.message.splitlines()[0]) from error

    def train_several(self, batches: Sequence[dict], updates: Sequence[int]) -> tf.Tensor:
        """K updates in one call of the compiled function; their metrics as rows, [K, metrics].

        The same as K calls of `train`, but nothing goes back to the host between them.

        Raises:
          MemoryError: if the device has too little memory.
        """
        seeds = np.stack([noises.key(self._seed, "update", update) for update in updates])
        batches = [self.numbered(*one) for one in zip(batches, updates, strict=True)]
        data = {key: tf.constant(np.stack([b[key] for b in batches])) for key in batches[0]}
        try:
            return self._train_several(data, seeds)
        except tf.errors.ResourceExhaustedError as error:
            raise MemoryError(error.message.splitlines()[0]) from error

    def _train_step(self, data: Tensors, seed: tf.Tensor) -> tf.Tensor:
        scalars = self.update(data, noises.SeededNoise(seed))
        self.metric_names = list(scalars)
        return tf.stack(list(scalars.values()))

    def _train_steps(self, data: Tensors, seeds: tf.Tensor) -> tf.Tensor:
        # One at a time and in order, as each starts from the weights that the last one left.
        return tf.map_fn(
            lambda one: self._train_step(*one),
            (data, seeds),
            parallel_iterations=1,
            fn_output_signature=tf.float32,
        )
