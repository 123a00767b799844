"""The networks' distributions: TensorFlow Probability's; everything is float32.

Sampling takes standard noise as an argument, so that a run's randomness has one owner
(`clion_tf.learning.noise`) and tests can fix it.
"""

import math
from typing import Union

import tensorflow as tf
from tensorflow_probability import bijectors as tfb
from tensorflow_probability import distributions as tfd

# The action model's.


class Tanh(tfb.Tanh):
    """tanh; for its inverse a saturated action counts as just inside +-1 (Dreamer's clip)."""

    def _inverse(self, y: tf.Tensor) -> tf.Tensor:
        limit = 1.0 - 2.0**-24  # The largest float32 below 1, as Dreamer's clip rounds to.
        return super()._inverse(tf.clip_by_value(y, -limit, limit))


class TanhNormal(tfd.TransformedDistribution):
    """tanh of a diagonal Gaussian (its `distribution`): actions [..., A] in (-1, 1)."""

    def __init__(self, mean: tf.Tensor, std: tf.Tensor):
        super().__init__(tfd.Independent(tfd.Normal(mean, std), 1), Tanh())

    def sample_from(self, noise: tf.Tensor) -> tf.Tensor:
        """Reparameterised sample from standard normal noise [..., N, A]."""
        # A tensor of its own: the bijector remembers what it made its outputs of, and the density
        # of a saturated sample would be another than that of the same action from elsewhere.
        return tf.identity(self.bijector.forward(self._before_tanh(noise)))

    def entropy_from(self, noise: tf.Tensor) -> tf.Tensor:
        """One-sample estimate [N] in nats from standard normal noise [N, A].

        It is minus the log-density of `sample_from(noise)`, exact for saturated samples too.
        """
        x = self._before_tanh(noise)
        return self.bijector.forward_log_det_jacobian(x, 1) - self.distribution.log_prob(x)

    def densest_from(self, noise: tf.Tensor) -> tf.Tensor:
        """Per row the sample of highest density: noise [K, N, A] -> action [N, A].

        Dreamer's evaluation policy; its code takes one row's choice for all rows. As there,
        saturated samples have the density of `log_prob`.
        """
        action = self.sample_from(noise)
        best = tf.argmax(self.log_prob(action), 0, tf.int32)
        rows = tf.range(tf.shape(best)[0])
        return tf.gather_nd(action, tf.stack([best, rows], -1))

    def mean_action(self) -> tf.Tensor:
        """tanh of the Gaussian's mean, [N, A]."""
        return self.bijector.forward(self.distribution.mean())

    def _before_tanh(self, noise: tf.Tensor) -> tf.Tensor:
        normal = self.distribution.distribution
        return normal.loc + normal.scale * noise


class OneHot(tfd.OneHotCategorical):
    """Categorical actions [..., A] as one-hot vectors with straight-through gradients."""

    def __init__(self, logits: tf.Tensor):
        super().__init__(logits, dtype=tf.float32)

    def sample_from(self, noise: tf.Tensor) -> tf.Tensor:
        """One-hot sample from Gumbel noise [..., N, A]; its gradient is the probabilities'."""
        hard = tfd.OneHotCategorical(self.logits + noise, dtype=tf.float32).mode()
        probs = self.probs_parameter()
        return hard + probs - tf.stop_gradient(probs)

    def entropy_from(self, noise: tf.Tensor) -> tf.Tensor:
        """Exact entropy [N] in nats; the noise is not needed."""
        del noise
        return self.entropy()

    def mean_action(self) -> tf.Tensor:
        """The most probable action, [N, A]."""
        return self.mode()

    def densest_from(self, noise: tf.Tensor) -> tf.Tensor:
        """The same, as it is the densest of many samples too."""
        del noise
        return self.mode()


Policy = TanhNormal | OneHot

# The observation model's.


class UnitNormal(tfd.Independent):
    """A unit-variance Gaussian over observations of `event_dims` axes (Dreamer).

    Its log-probability is in closed form (ours: TensorFlow Probability's writes each step and its
    gradient out in the size of the images; docs/performance.md).
    """

    def __init__(self, mean: tf.Tensor, event_dims: int):
        super().__init__(tfd.Normal(mean, 1.0), event_dims)

    def squared_distance(self, other: Union[tf.Tensor, "UnitNormal"]) -> tf.Tensor:
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
