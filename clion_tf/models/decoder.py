"""Decoder, the observation model q(o | h, s) of eq. 1 (Dreamer's ConvDecoder)."""

from collections.abc import Callable

import keras
import tensorflow as tf

from clion_tf.models.layers import Network, OwnBias
from clion_tf.models.packing import pack, pack_transposed_kernel, unpack
from clion_tf.models.unit_normal import UnitNormal, squared_distance


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
    """A unit-variance Gaussian over images, which compares them as they come out, packed.

    An update that only compares never unpacks the means: a graph leaves out what nothing reads.

    Args:
      packed: the means [..., H/2, W/2, 12], float32.
    """

    def __init__(self, packed: tf.Tensor):
        super().__init__(unpack(packed), 3)
        self._packed = packed

    def squared_distance(self, other: tf.Tensor | UnitNormal) -> tf.Tensor:
        """See UnitNormal."""
        other = other._packed if isinstance(other, ImageNormal) else pack(other)
        return squared_distance(other, self._packed, 3)


class Decoder(Network):
    """From a state's features to a unit-variance Gaussian over the image.

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
        kinds = {
            "h2": (FirstDeconvolution, 4 * depth, 5, act),
            "h3": (Deconvolution, 2 * depth, 5, act),
            "h4": (Deconvolution, depth, 6, act),
            "h5": (LastDeconvolution, 3, 6, None),
        }
        shape, self.deconvs = (None, 1, 1, 32 * depth), []
        for name, (kind, filters, size, activation) in kinds.items():
            layer = kind(
                filters,
                size,
                strides=2,
                activation=activation,
                kernel_initializer=self.initializer(name),
                name=name,
                dtype=self.dtype_policy,
            )
            self.deconvs.append(self.with_weights(layer, shape))
            shape = layer.compute_output_shape(shape)
        self.complete((inputs,), (64, 64, 3))

    def call(self, features: tf.Tensor) -> ImageNormal:
        """features [..., F] -> distributions [...] of images [64, 64, 3], float32."""
        x = self.h1(tf.reshape(features, [-1, features.shape[-1]]))[:, None, None, :]
        for deconv in self.deconvs:
            x = deconv(x)
        mean = tf.cast(tf.reshape(x, [*features.shape[:-1], *x.shape[1:]]), tf.float32)
        return ImageNormal(mean)
