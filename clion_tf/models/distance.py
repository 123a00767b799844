"""The squared distance, of large tensors."""

import math

import tensorflow as tf


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
