"""Decoder, the observation model q(o | h, s) of eq. 1 (Dreamer's ConvDecoder)."""

from collections.abc import Callable

import keras
import tensorflow as tf

from clion_tf.models.layers import Network, layer_seed


class FirstDeconvolution(keras.Layer):
    """A transposed convolution of a 1x1 input, written as the matrix product that it is.

    Weights are Conv2DTranspose's, (5, 5, filters, inputs); the product is faster (ours).
    """

    def __init__(self, filters: int, act: Callable, initializer, name: str, dtype):
        super().__init__(name=name, dtype=dtype)
        self._filters, self._act, self._initializer = filters, act, initializer

    def build(self, shape: tuple) -> None:
        """Makes the weights for an input [N, inputs]."""
        self.kernel = self.add_weight(
            shape=(5, 5, self._filters, shape[-1]), initializer=self._initializer, name="kernel"
        )
        self.bias = self.add_weight(shape=(self._filters,), initializer="zeros", name="bias")

    def call(self, x: tf.Tensor) -> tf.Tensor:
        """x [N, inputs] -> [N, 5, 5, filters]."""
        kernel = tf.reshape(self.kernel, [25 * self._filters, -1])
        x = tf.matmul(x, kernel, transpose_b=True)
        return self._act(tf.nn.bias_add(tf.reshape(x, [-1, 5, 5, self._filters]), self.bias))


class Decoder(Network):
    """From a state's features to the mean of a unit-variance Gaussian over the image.

    Args:
      inputs: size of the features [s, h].
      depth: channels before the last layer; 2 and 4 times as many further up.
      act: activation after each transposed convolution but the last.
    """

    def __init__(
        self, inputs: int, depth: int, act: Callable = tf.nn.relu, seed: int = 0, dtype="float32"
    ):
        super().__init__("decoder", seed, dtype)
        self.h1 = self.dense("h1", inputs, 32 * depth)
        h2 = FirstDeconvolution(4 * depth, act, self._initializer("h2"), "h2", self.dtype_policy)
        self.h2 = self.with_weights(h2, (None, 32 * depth))
        self.h3 = self._deconv("h3", 4 * depth, 2 * depth, 5, act)
        self.h4 = self._deconv("h4", 2 * depth, depth, 6, act)
        self.h5 = self._deconv("h5", depth, 3, 6, None)

    def _initializer(self, name: str):
        return keras.initializers.GlorotUniform(seed=layer_seed(self._seed, self.name, name))

    def _deconv(self, name: str, inputs: int, filters: int, size: int, act: Callable | None):
        layer = keras.layers.Conv2DTranspose(
            filters, size, 2, activation=act, kernel_initializer=self._initializer(name),
            dtype=self.dtype_policy, name=name,
        )  # fmt: skip
        return self.with_weights(layer, (None, None, None, inputs))

    def call(self, features: tf.Tensor) -> tf.Tensor:
        """features [..., F] -> image mean [..., 64, 64, 3], float32."""
        x = self.h1(tf.reshape(features, [-1, features.shape[-1]]))
        for layer in (self.h2, self.h3, self.h4, self.h5):
            x = layer(x)
        return tf.cast(tf.reshape(x, [*features.shape[:-1], 64, 64, 3]), tf.float32)
