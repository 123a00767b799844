"""Rotation of images in the graph: for the embedding constraint, and DrQ's stacks."""

import math

import tensorflow as tf

from clion_tf.models.layers import rows_of


def rotate(image: tf.Tensor, degrees: tf.Tensor, fill: str = "edge") -> tf.Tensor:
    """Images [N, H, W, C] turned about their centres, counter-clockwise; bilinear, float32.

    Degrees are [N] float32. Outside the image lies its edge, repeated, or `black`, zeros. Equals
    `envs.wrappers.rotate_image` (tested). TensorFlow's projective transform does not compile under
    XLA.
    """
    count, (height, width, channels) = rows_of(image), image.shape[1:]
    # Where each output pixel comes from, [N, H, W], perhaps outside of the image. Rows grow
    # downwards, so the inverse of a counter-clockwise turn on screen is this one.
    middle_x, middle_y = (width - 1) / 2, (height - 1) / 2
    x, y = tf.meshgrid(tf.range(float(width)) - middle_x, tf.range(float(height)) - middle_y)
    angle = (degrees * (math.pi / 180.0))[:, None, None]
    cos, sin = tf.cos(angle), tf.sin(angle)
    source_x, source_y = cos * x - sin * y + middle_x, sin * x + cos * y + middle_y
    x = tf.clip_by_value(source_x, 0.0, width - 1.0)
    y = tf.clip_by_value(source_y, 0.0, height - 1.0)
    x0 = tf.minimum(tf.cast(x, tf.int32), width - 2)
    y0 = tf.minimum(tf.cast(y, tf.int32), height - 2)
    right = (x - tf.cast(x0, tf.float32))[..., None]
    down = (y - tf.cast(y0, tf.float32))[..., None]
    pixels = tf.reshape(image, [-1, channels])
    corner = (tf.range(count) * height * width)[:, None, None] + y0 * width + x0

    def neighbour(offset: int) -> tf.Tensor:
        return tf.cast(tf.gather(pixels, corner + offset), tf.float32)

    left_top, right_top = neighbour(0), neighbour(1)
    left_bottom, right_bottom = neighbour(width), neighbour(width + 1)
    top = left_top + (right_top - left_top) * right
    bottom = left_bottom + (right_bottom - left_bottom) * right
    turned = top + (bottom - top) * down
    if fill == "edge":
        return turned
    # Between an edge and the zeros one pixel outside of it the image fades.
    inside = [
        tf.nn.relu(1.0 - tf.abs(source - at)) for source, at in ((source_x, x), (source_y, y))
    ]
    return turned * (inside[0] * inside[1])[..., None]
