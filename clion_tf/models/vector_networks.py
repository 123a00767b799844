"""Encoder and decoder of vector observations (ours: the paper has images only)."""

from collections.abc import Callable

import tensorflow as tf

from clion_tf.models.layers import Network, known
from clion_tf.models.unit_normal import UnitNormal

LAYERS = 2  # As Dreamer's reward model.


class VectorEncoder(Network):
    """Dense layers from n numbers to an embedding of `units`."""

    def __init__(
        self, inputs: int, units: int, act: Callable = tf.nn.elu, seed: int = 0, dtype="float32"
    ):
        super().__init__("vector_encoder", seed, dtype)
        self.size = units
        sizes = [inputs] + [units] * LAYERS
        self.hidden = [self.dense(f"h{i}", sizes[i], sizes[i + 1], act) for i in range(LAYERS)]
        self.complete((inputs,), (units,))

    def call(self, vector: tf.Tensor) -> tf.Tensor:
        """vector [..., n] -> embedding [..., units] in the compute type."""
        x = tf.reshape(vector, [-1, vector.shape[-1]])
        for layer in self.hidden:
            x = layer(x)
        return tf.reshape(x, [*known(vector.shape[:-1]), self.size])


class VectorDecoder(Network):
    """From a state's features to a unit-variance Gaussian over n numbers."""

    def __init__(
        self,
        inputs: int,
        units: int,
        size: int,
        act: Callable = tf.nn.elu,
        seed: int = 0,
        dtype="float32",
    ):
        super().__init__("vector_decoder", seed, dtype)
        sizes = [inputs] + [units] * LAYERS
        self.hidden = [self.dense(f"h{i}", sizes[i], sizes[i + 1], act) for i in range(LAYERS)]
        self.hout = self.dense("hout", units, size)
        self.complete((inputs,), (size,))

    def call(self, features: tf.Tensor) -> UnitNormal:
        """features [..., F] -> distributions [...] of vectors [n], float32."""
        x = tf.reshape(features, [-1, features.shape[-1]])
        for layer in (*self.hidden, self.hout):
            x = layer(x)
        mean = tf.cast(tf.reshape(x, [*features.shape[:-1], x.shape[-1]]), tf.float32)
        return UnitNormal(mean, 1)
