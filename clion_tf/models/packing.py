"""Packed images: each 2x2 block of pixels is one position with 12 channels.

Nobody but the encoder and the decoder knows of them. An image [..., 32, 32, 12] instead of
[..., 64, 64, 3] makes of the first convolution and of the last transposed one, both of stride 2 on
3 channels, convolutions of stride 1 on 12 (ours: on a CPU the last takes 0.6 of its time, the first
too in bfloat16; the numbers are the same up to rounding). Weights keep the original's shapes.
"""

import tensorflow as tf

from clion_tf.models.layers import known

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


def pack_kernel(kernel: tf.Tensor) -> tf.Tensor:
    """A convolution's kernel [2K, 2K, 3, F], stride 2 -> [K, K, 12, F], stride 1 on packed."""
    size, filters = kernel.shape[0] // 2, kernel.shape[-1]
    blocks = tf.transpose(tf.reshape(kernel, [size, 2, size, 2, 3, filters]), [0, 2, 1, 3, 4, 5])
    return tf.reshape(blocks, [size, size, CHANNELS, filters])


def pack_transposed_kernel(kernel: tf.Tensor) -> tf.Tensor:
    """Kernel [2K, 2K, 3, C] of a transposed convolution of stride 2 -> [K, K, C, 12].

    For a convolution of stride 1 over the input with a border of K - 1 zeros: position i of the
    packed output collects inputs i - a through the kernel's rows 2a and 2a + 1, so the kernel's
    blocks are turned round.
    """
    size, inputs = kernel.shape[0] // 2, kernel.shape[-1]
    blocks = tf.reverse(tf.reshape(kernel, [size, 2, size, 2, 3, inputs]), [0, 2])
    blocks = tf.transpose(blocks, [0, 2, 5, 1, 3, 4])
    return tf.reshape(blocks, [size, size, inputs, CHANNELS])
