"""Encoders e = CNN(o) of eq. 1: Dreamer's ConvEncoder, and dense layers for vectors (ours)."""

from collections.abc import Callable

import keras
import tensorflow as tf

from clion_tf.models.layers import Conv2D, Network, in_rows, known, through
from clion_tf.models.packing import CHANNELS, pack, pack_kernel


class FirstConvolution(Conv2D):
    """That of an RGB image, which comes packed: [N, 32, 32, 12] -> [N, 31, 31, filters].

    Its weights are those of the convolution of stride 2 that it stands for.
    """

    def build(self, input_shape: tuple) -> None:
        super().build((*input_shape[:-1], 3))
        self.input_spec = keras.layers.InputSpec(ndim=4, axes={-1: CHANNELS})

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        batch, height, width, _ = input_shape
        return (batch, height - 1, width - 1, self.filters)

    def product(self, x: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        return tf.nn.conv2d(x, pack_kernel(kernel), 1, "VALID")


class LastConvolution(Conv2D):
    """That from [N, 6, 6, inputs] to [N, 2, 2, filters], as one matrix product.

    More than half of the matrix is zeros, yet the product is faster than TensorFlow's convolution
    of so small a picture (ours: 1.2 times in float32, 4 times in bfloat16, at full size).
    """

    def product(self, x: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        # One output position is the kernel laid on 4x4 of the 6x6 inputs.
        laid = [
            tf.pad(kernel, [[y, 2 - y], [x, 2 - x], [0, 0], [0, 0]]) for y in (0, 2) for x in (0, 2)
        ]
        size = 36 * x.shape[-1]
        matrix = tf.concat([tf.reshape(k, [size, self.filters]) for k in laid], 1)
        y = tf.matmul(tf.reshape(x, [-1, size]), matrix)
        return tf.reshape(y, [-1, 2, 2, self.filters])


class Encoder(Network):
    """Four convolutions of depth, 2, 4 and 8 times depth channels, from a 64x64 image."""

    def __init__(self, depth: int, act: Callable = tf.nn.relu, **kwargs):
        super().__init__("encoder", **kwargs)
        kinds = enumerate((FirstConvolution, Conv2D, Conv2D, LastConvolution))
        layers = {f"h{i + 1}": (kind, 2**i * depth, 4, 2, act) for i, kind in kinds}
        self.convs, _ = self.convolutions((None, 32, 32, CHANNELS), layers)
        self.size = 32 * depth
        self.complete((64, 64, 3), (self.size,))

    def call(self, image: tf.Tensor) -> tf.Tensor:
        """Images [..., 64, 64, 3] in [-0.5, 0.5] -> embeddings [..., 32 * depth]."""
        x = pack(image)
        x = through(self.convs, tf.reshape(x, [-1, *x.shape[-3:]]))
        return tf.reshape(x, [*known(image.shape[:-3]), self.size])


class VectorEncoder(Network):
    """Two dense layers, as Dreamer's reward model has, from n numbers to an embedding."""

    def __init__(self, inputs: int, units: int, act: Callable = tf.nn.elu, **kwargs):
        super().__init__("vector_encoder", **kwargs)
        self.size = units
        self.hidden = self.hidden_layers(inputs, units, 2, act)
        self.complete((inputs,), (units,))

    def call(self, vector: tf.Tensor) -> tf.Tensor:
        """vector [..., n] -> embedding [..., units] in the compute type."""
        return tf.reshape(in_rows(self.hidden, vector), [*known(vector.shape[:-1]), self.size])
