"""The learner's only source of randomness: noise by purpose.

In a run, `SeededNoise` derives every tensor from (run seed, counters, purpose), so an update is a
pure function of seed, weights, optimisers, batch and number. Tests and parity use `GivenNoise`.
"""

import zlib
from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow as tf


def key(seed: int, stream: str, *counters: int) -> np.ndarray:
    """A stateless seed, int32 [2]. Counters (1) and (1, 0) give the same one: fix their number."""
    words = [seed, zlib.crc32(stream.encode()), *counters]
    return np.random.SeedSequence(words).generate_state(2).view(np.int32)


class Noise:
    """Float32 tensors by purpose; subclasses generate them.

    A new purpose in an update also needs a line in `replica_sums.AXES`.
    """

    def draw(self, kind: str, purpose: str, shape: Sequence[int]) -> tf.Tensor:
        """Noise of one of the kinds below."""
        raise NotImplementedError

    def normal(self, purpose: str, shape: Sequence[int]) -> tf.Tensor:
        """Standard normal."""
        return self.draw("normal", purpose, shape)

    def uniform(self, purpose: str, shape: Sequence[int]) -> tf.Tensor:
        """Uniform on [-1, 1)."""
        return self.draw("uniform", purpose, shape)

    def gumbel(self, purpose: str, shape: Sequence[int]) -> tf.Tensor:
        """Standard Gumbel: the arg-max of logits plus it is a categorical sample."""
        return self.draw("gumbel", purpose, shape)

    def of_actions(self, discrete: bool, purpose: str, shape: Sequence[int]) -> tf.Tensor:
        """What an action model's samples are made of."""
        return self.draw("gumbel" if discrete else "normal", purpose, shape)


class SeededNoise(Noise):
    """Independent noise for each purpose, from one stateless seed (int32 [2])."""

    def __init__(self, seed: tf.Tensor):
        self._seed = seed

    def draw(self, kind: str, purpose: str, shape: Sequence[int]) -> tf.Tensor:
        fold = zlib.crc32(purpose.encode()) & 0x7FFFFFFF
        seed = tf.random.experimental.stateless_fold_in(self._seed, fold)
        if kind == "normal":
            return tf.random.stateless_normal(shape, seed)
        if kind == "uniform":
            return tf.random.stateless_uniform(shape, seed, -1.0, 1.0)
        uniform = tf.random.stateless_uniform(shape, seed, np.finfo(np.float32).tiny, 1.0)
        return -tf.math.log(-tf.math.log(uniform))


class GivenNoise(Noise):
    """Tensors by purpose; a purpose that is not given gets zeros.

    Zero normal noise takes every sample at its location, zero Gumbel noise the likeliest action.
    """

    def __init__(self, tensors: Mapping[str, tf.Tensor] | None = None):
        self._tensors = tensors or {}

    def draw(self, kind: str, purpose: str, shape: Sequence[int]) -> tf.Tensor:
        if purpose not in self._tensors:
            return tf.zeros(shape)
        return tf.reshape(tf.cast(self._tensors[purpose], tf.float32), shape)
