"""Decoders q(o | h, s) of eq. 1: Dreamer's for images, ours for vectors."""

import math
from collections.abc import Callable

import keras
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from clion_tf.models.encoder import CHANNELS, pack, unpack
from clion_tf.models.layers import Network, OwnBias, in_rows, through


class UnitNormal(tfd.Independent):
    """A unit-variance Gaussian over observations of `event_dims` axes (Dreamer).

    Its log-probability is in closed form (ours: TensorFlow Probability's writes each step and its
    gradient out in the size of the images; docs/performance.md).
    """

    def __init__(self, mean: tf.Tensor, event_dims: int):
        super().__init__(tfd.Normal(mean, 1.0), event_dims)

    def squared_distance(self, other: "tf.Tensor | UnitNormal") -> tf.Tensor:
        """|o - mean|^2 of observations or another's means, [...] differentiable in both."""
        other = other.distribution.loc if isinstance(other, UnitNormal) else other
        return squared_distance(other, self.distribution.loc, self.event_shape.rank)

    def _log_prob(self, observation: tf.Tensor) -> tf.Tensor:
        constant = math.log(2 * math.pi) * math.prod(self.event_shape)
        return -0.5 * (self.squared_distance(observation) + constant)


def squared_distance(a: tf.Tensor, b: tf.Tensor, event_dims: int) -> tf.Tensor:
    """|a - b|^2 in float32, summed over the last `event_dims` axes (at least one)."""
    difference = tf.cast(a, tf.float32) - tf.cast(b, tf.float32)
    lead = difference.shape[: difference.shape.rank - event_dims]
    size = math.prod(difference.shape[lead.rank :])
    return _squared_norm(tf.reshape(difference, [*lead, size]))


@tf.custom_gradient
def _squared_norm(x: tf.Tensor) -> tf.Tensor:
    # TensorFlow's own gradient first writes the sum's gradient out in the size of x.
    return tf.reduce_sum(tf.square(x), -1), lambda upstream: 2.0 * upstream[..., None] * x


class Deconvolution(OwnBias, keras.layers.Conv2DTranspose):
    """A transposed convolution of stride 2: [N, K, K, inputs] -> [N, M, M, filters]."""

    def product(self, x: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        shape = self.compute_output_shape(tuple(x.shape))
        return tf.nn.conv2d_transpose(x, kernel, shape, 2, "VALID")


class FirstDeconvolution(Deconvolution):
    """That of one position, [N, 1, 1, inputs], as the matrix product that it is (ours: faster)."""

    def product(self, x: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        rows, matrix = (tf.reshape(t, [-1, x.shape[-1]]) for t in (x, kernel))
        y = tf.matmul(rows, matrix, transpose_b=True)
        return tf.reshape(y, [-1, *self.kernel_size, self.filters])


class LastDeconvolution(Deconvolution):
    """The last one, 6x6, to a packed RGB image: [N, 30, 30, inputs] -> [N, 32, 32, 12]."""

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        batch, height, width, channels = super().compute_output_shape(input_shape)
        return (batch, height // 2, width // 2, 4 * channels)

    def product(self, x: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        # Kernel [2K, 2K, 3, C] -> [K, K, C, 12]. With a border of K - 1 zeros, position i of the
        # packed output collects inputs i - a through the kernel's rows 2a and 2a + 1, so the
        # kernel's blocks are turned round.
        size, inputs = kernel.shape[0] // 2, kernel.shape[-1]
        blocks = tf.reverse(tf.reshape(kernel, [size, 2, size, 2, 3, inputs]), [0, 2])
        blocks = tf.transpose(blocks, [0, 2, 5, 1, 3, 4])
        packed = tf.reshape(blocks, [size, size, inputs, CHANNELS])
        # Not by conv2d's own padding, which takes a path many times slower.
        x = tf.pad(x, [[0, 0], [2, 2], [2, 2], [0, 0]])
        return tf.nn.conv2d(x, packed, 1, "VALID")


class ImageNormal(UnitNormal):
    """A unit-variance Gaussian over images, from packed means [..., H/2, W/2, 12], float32.

    It compares them packed. An update that only compares never unpacks the means: a graph leaves
    out what nothing reads.
    """

    def __init__(self, packed: tf.Tensor):
        super().__init__(unpack(packed), 3)
        self._packed = packed

    def squared_distance(self, other: tf.Tensor | UnitNormal) -> tf.Tensor:
        """See UnitNormal."""
        other = other._packed if isinstance(other, ImageNormal) else pack(other)
        return squared_distance(other, self._packed, 3)


class Decoder(Network):
    """From a state's features [s, h] to a unit-variance Gaussian over the image.

    Transposed convolutions of 4, 2 and 1 times `depth` channels, and of the image's 3.
    """

    def __init__(self, inputs: int, depth: int, act: Callable = tf.nn.relu, **kwargs):
        super().__init__("decoder", **kwargs)
        self.h1 = self.dense("h1", inputs, 32 * depth)
        layers = {
            "h2": (FirstDeconvolution, 4 * depth, 5, 2, act),
            "h3": (Deconvolution, 2 * depth, 5, 2, act),
            "h4": (Deconvolution, depth, 6, 2, act),
            "h5": (LastDeconvolution, 3, 6, 2, None),
        }
        self.deconvs, _ = self.convolutions((None, 1, 1, 32 * depth), layers)
        self.complete((inputs,), (64, 64, 3))

    def call(self, features: tf.Tensor) -> ImageNormal:
        """features [..., F] -> distributions [...] of images [64, 64, 3], float32."""
        x = in_rows([self.h1], features)[:, None, None, :]
        return ImageNormal(_as_means(through(self.deconvs, x), features))


class VectorDecoder(Network):
    """From a state's features to a unit-variance Gaussian over n numbers (ours)."""

    def __init__(self, inputs: int, units: int, size: int, act: Callable = tf.nn.elu, **kwargs):
        super().__init__("vector_decoder", **kwargs)
        self.hidden = self.hidden_layers(inputs, units, 2, act)
        self.hout = self.dense("hout", units, size, dtype="float32")  # As numbers may be large.
        self.complete((inputs,), (size,))

    def call(self, features: tf.Tensor) -> UnitNormal:
        """features [..., F] -> distributions [...] of vectors [n], float32."""
        return UnitNormal(_as_means(in_rows([*self.hidden, self.hout], features), features), 1)


def _as_means(x: tf.Tensor, features: tf.Tensor) -> tf.Tensor:
    """Outputs [N, *event] for the rows of features [..., F], as [..., *event] in float32."""
    return tf.cast(tf.reshape(x, [*features.shape[:-1], *x.shape[1:]]), tf.float32)
