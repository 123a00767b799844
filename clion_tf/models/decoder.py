"""The observation model q(o | h, s) of eq. 1: Dreamer's ConvDecoder, dense layers for vectors."""

from collections.abc import Callable

import keras
import tensorflow as tf

from clion_tf.models.distributions import UnitNormal, squared_distance
from clion_tf.models.layers import Network, OwnBias, in_rows, through
from clion_tf.models.packing import pack, pack_transposed_kernel, unpack


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
        # Not by conv2d's own padding, which takes a path many times slower.
        x = tf.pad(x, [[0, 0], [2, 2], [2, 2], [0, 0]])
        return tf.nn.conv2d(x, pack_transposed_kernel(kernel), 1, "VALID")


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
