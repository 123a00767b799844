"""Random shifts: images padded by repeating their edge, cropped at random (DrQ, section 3.1)."""

import tensorflow as tf

from clion_tf.learning.noise import Noise


def shift(image: tf.Tensor, offsets: tf.Tensor, pad: int) -> tf.Tensor:
    """Each image padded by `pad` pixels that repeat its edge, and cropped to its size again.

    Args:
      image: [N, H, W, C].
      offsets: int32 [N, 2], first row and column of the crop, in 0 ... 2 * pad; (pad, pad) is the
        image itself.

    Returns:
      [N, H, W, C].
    """
    height, width = image.shape[1:3]
    # The pixel of a padded image is one of the image's own, so the padding need not be made.
    rows = tf.clip_by_value(offsets[:, :1] + tf.range(height) - pad, 0, height - 1)
    columns = tf.clip_by_value(offsets[:, 1:] + tf.range(width) - pad, 0, width - 1)
    return tf.gather(tf.gather(image, rows, axis=1, batch_dims=1), columns, axis=2, batch_dims=1)


def views(image: tf.Tensor, copies: int, pad: int, noise: Noise, purpose: str) -> tf.Tensor:
    """Copies of each image, each shifted by offsets of its own, uniform on 0 ... 2 * pad.

    Args:
      image: [B, H, W, C].
      noise, purpose: of the offsets, uniform [copies * B, 2].

    Returns:
      [copies * B, H, W, C]: all images once, then all again.
    """
    image = tf.tile(image, [copies, 1, 1, 1])
    if pad == 0:
        return image
    choices = 2 * pad + 1
    uniform = (noise.uniform(purpose, [image.shape[0], 2]) + 1.0) / 2.0
    # A float just below 1 may round up to one choice too many.
    offsets = tf.minimum(tf.cast(uniform * choices, tf.int32), choices - 1)
    return shift(image, offsets, pad)
