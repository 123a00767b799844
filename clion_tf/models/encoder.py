"""Encoders e = CNN(o) of eq. 1: Dreamer's for images, ours for vectors.

Here and in the decoder an image is packed: each 2x2 block of pixels is one position with 12
channels. So the first convolution and the last transposed one, of stride 2 on 3 channels, become
convolutions of stride 1 on 12 (ours: the last takes 0.6 times as long, in bfloat16 the first too;
results are equal up to rounding). Weights keep the original's shapes.
"""

from collections.abc import Callable

import tensorflow as tf

from clion_tf.models.layers import Conv2D, Network, in_rows, known, through

CHANNELS = 12


def pack(image: tf.Tensor) -> tf.Tensor:
    """[..., H, W, 3] -> [..., H/2, W/2, 12]; channel (2p + q) * 3 + c is its pixel (p, q)."""
    height, width = image.shape[-3] // 2, image.shape[-2] // 2
    rows = tf.transpose(tf.reshape(image, [-1, 2, width, 6]), [0, 2, 1, 3])
    return tf.reshape(rows, [*known(image.shape[:-3]), height, width, CHANNELS])


def unpack(packed: tf.Tensor) -> tf.Tensor:
    """The inverse of `pack`."""
    height, width = packed.shape[-3], packed.shape[-2]
    rows = tf.transpose(tf.reshape(packed, [-1, width, 2, 6]), [0, 2, 1, 3])
    return tf.reshape(rows, [*packed.shape[:-3], 2 * height, 2 * width, 3])


class FirstConvolution(Conv2D):
    """The first one, of an RGB image, which it packs: [N, 64, 64, 3] -> [N, 31, 31, filters]."""

    def product(self, x: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        size = kernel.shape[0] // 2  # [2K, 2K, 3, F] of stride 2 -> [K, K, 12, F] of stride 1.
        blocks = tf.reshape(kernel, [size, 2, size, 2, 3, self.filters])
        blocks = tf.transpose(blocks, [0, 2, 1, 3, 4, 5])
        packed = tf.reshape(blocks, [size, size, CHANNELS, self.filters])
        return tf.nn.conv2d(pack(x), packed, 1, "VALID")


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
        self.convs, _ = self.convolutions((None, 64, 64, 3), layers)
        self.size = 32 * depth
        self.complete((64, 64, 3), (self.size,))

    def call(self, image: tf.Tensor) -> tf.Tensor:
        """Images [..., 64, 64, 3] in [-0.5, 0.5] -> embeddings [..., 32 * depth]."""
        x = through(self.convs, tf.reshape(image, [-1, *image.shape[-3:]]))
        return tf.reshape(x, [*known(image.shape[:-3]), self.size])


class VectorEncoder(Network):
    """Two dense layers, as Dreamer's reward model has, from n numbers to an embedding; float32."""

    def __init__(self, inputs: int, units: int, act: Callable = tf.nn.elu, seed: int = 0):
        super().__init__("vector_encoder", seed)
        self.size = units
        self.hidden = self.hidden_layers(inputs, units, 2, act)
        self.complete((inputs,), (units,))

    def call(self, vector: tf.Tensor) -> tf.Tensor:
        """vector [..., n] -> embedding [..., units], float32."""
        return tf.reshape(in_rows(self.hidden, vector), [*known(vector.shape[:-1]), self.size])
