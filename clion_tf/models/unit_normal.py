"""The observation model's distribution: a Gaussian of unit variance (Dreamer)."""

import math
from typing import Union

import tensorflow as tf
from tensorflow_probability import distributions as tfd


class UnitNormal(tfd.Independent):
    """A unit-variance Gaussian over observations.

    Its log-probability is in closed form (ours: TensorFlow Probability's writes each step and its
    gradient out in the size of the images; docs/performance.md).

    Args:
      mean: [..., *event], float32.
      event_dims: the number of an observation's axes: 3 of an image, 1 of a vector.
    """

    def __init__(self, mean: tf.Tensor, event_dims: int):
        super().__init__(tfd.Normal(mean, 1.0), event_dims)

    def squared_distance(self, other: Union[tf.Tensor, "UnitNormal"]) -> tf.Tensor:
        """|o - mean|^2 summed over an observation, [...] float32; differentiable in both.

        Args:
          other: observations [..., *event], or a distribution whose means are taken.
        """
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
