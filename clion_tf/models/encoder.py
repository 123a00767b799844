"""Encoder e = CNN(o) of eq. 1 (Dreamer's ConvEncoder)."""

from collections.abc import Callable

import keras
import tensorflow as tf

from clion_tf.models.layers import Network, layer_seed


class Encoder(Network):
    """Four strided convolutions from a 64x64 image to a vector of 32 * depth.

    Args:
      depth: channels of the first convolution; then 2, 4 and 8 times as many.
      act: activation after each convolution.
    """

    def __init__(self, depth: int, act: Callable = tf.nn.relu, seed: int = 0, dtype="float32"):
        super().__init__("encoder", seed, dtype)
        self.size = 32 * depth
        channels = [3, depth, 2 * depth, 4 * depth, 8 * depth]
        self.convs = [self._conv(f"h{i + 1}", channels[i], channels[i + 1], act) for i in range(4)]

    def _conv(self, name: str, inputs: int, filters: int, act: Callable):
        init = keras.initializers.GlorotUniform(seed=layer_seed(self._seed, self.name, name))
        layer = keras.layers.Conv2D(
            filters, 4, 2, activation=act, kernel_initializer=init,
            dtype=self.dtype_policy, name=name,
        )  # fmt: skip
        return self.with_weights(layer, (None, None, None, inputs))

    def call(self, image: tf.Tensor) -> tf.Tensor:
        """image [..., 64, 64, 3] in [-0.5, 0.5] -> embedding [..., 32 * depth]. Static shapes."""
        x = tf.reshape(image, [-1, *image.shape[-3:]])
        for conv in self.convs:
            x = conv(x)
        return tf.reshape(x, [*image.shape[:-3], self.size])
