"""Encoders e = CNN(o) and decoders q(o | h, s) of eq. 1: Dreamer's for images, ours for vectors.

In here an image is packed: each 2x2 block of pixels is one position with 12 channels. That makes of
the first convolution and of the last transposed one, both of stride 2 on 3 channels, convolutions
of stride 1 on 12 (ours: on a CPU the last takes 0.6 of its time, the first too in bfloat16; the
numbers are the same up to rounding). Weights keep the original's shapes.
"""

import math
from collections.abc import Callable

import keras
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from clion_tf.models.layers import Conv2D, Network, OwnBias, in_rows, known, through

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
    """That of an RGB image, which it packs: [N, 64, 64, 3] -> [N, 31, 31, filters]."""

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
    """Two dense layers, as Dreamer's reward model has, from n numbers to an embedding."""

    def __init__(self, inputs: int, units: int, act: Callable = tf.nn.elu, **kwargs):
        super().__init__("vector_encoder", **kwargs)
        self.size = units
        self.hidden = self.hidden_layers(inputs, units, 2, act)
        self.complete((inputs,), (units,))

    def call(self, vector: tf.Tensor) -> tf.Tensor:
        """vector [..., n] -> embedding [..., units] in the compute type."""
        return tf.reshape(in_rows(self.hidden, vector), [*known(vector.shape[:-1]), self.size])


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
    """That 6x6 to an RGB image, which comes out packed: [N, 30, 30, inputs] -> [N, 32, 32, 12]."""

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
        return ImageNormal(_float32(through(self.deconvs, x), features))


class VectorDecoder(Network):
    """From a state's features to a unit-variance Gaussian over n numbers (ours)."""

    def __init__(self, inputs: int, units: int, size: int, act: Callable = tf.nn.elu, **kwargs):
        super().__init__("vector_decoder", **kwargs)
        self.hidden = self.hidden_layers(inputs, units, 2, act)
        self.hout = self.dense("hout", units, size)
        self.complete((inputs,), (size,))

    def call(self, features: tf.Tensor) -> UnitNormal:
        """features [..., F] -> distributions [...] of vectors [n], float32."""
        return UnitNormal(_float32(in_rows([*self.hidden, self.hout], features), features), 1)


def _float32(x: tf.Tensor, features: tf.Tensor) -> tf.Tensor:
    """Means [N, *event] of the rows of features [..., F], as [..., *event]."""
    return tf.cast(tf.reshape(x, [*features.shape[:-1], *x.shape[1:]]), tf.float32)
