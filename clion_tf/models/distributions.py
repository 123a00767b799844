"""Distributions over actions, TensorFlow Probability's.

Samples are made of given standard noise, so that randomness has one owner (`learning.noise`).
"""

import tensorflow as tf
from tensorflow_probability import bijectors as tfb
from tensorflow_probability import distributions as tfd


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
        # A copy, so that TFP's bijector cache misses it: with the cached input, a saturated sample
        # would have another density than the same action from elsewhere.
        return tf.identity(self.bijector.forward(self._before_tanh(noise)))

    def entropy_from(self, noise: tf.Tensor) -> tf.Tensor:
        """One-sample estimate [N] in nats from standard normal noise [N, A].

        It is minus the log-density of `sample_from(noise)`, exact for saturated samples too.
        """
        x = self._before_tanh(noise)
        return self.bijector.forward_log_det_jacobian(x, 1) - self.distribution.log_prob(x)

    def densest_from(self, noise: tf.Tensor) -> tf.Tensor:
        """Per row the sample of highest density: noise [K, N, A] -> action [N, A].

        Dreamer's evaluation policy; its code takes one row's choice for all rows.
        """
        action = self.sample_from(noise)
        best = tf.argmax(self.log_prob(action), 0)
        return tf.gather(tf.transpose(action, [1, 0, 2]), best, batch_dims=1)

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
        return hard + (probs - tf.stop_gradient(probs))  # In this order exactly one-hot.

    def entropy_from(self, noise: tf.Tensor) -> tf.Tensor:
        """Exact entropy [N] in nats; the noise is not needed."""
        return self.entropy()

    def mean_action(self, noise: tf.Tensor | None = None) -> tf.Tensor:
        """The most probable action, [N, A], and the densest of many samples."""
        return self.mode()

    densest_from = mean_action


ActionDistribution = TanhNormal | OneHot
