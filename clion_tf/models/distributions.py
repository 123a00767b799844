"""The action model's distributions: TensorFlow Probability's, sampled by given noise.

Sampling takes standard noise as an argument, so that a run's randomness has one owner
(`clion_tf.learning.noise`) and tests can fix it. Everything is float32.
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
    """tanh of a diagonal Gaussian (its `distribution`): actions [..., A] in (-1, 1).

    Args:
      mean, std: of the Gaussian, [..., A].
    """

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
    """Categorical actions as one-hot vectors with straight-through gradients.

    Args:
      logits: [..., A].
    """

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

    def densest_from(self, noise: tf.Tensor) -> tf.Tensor:
        """The most probable action, which is also the densest of many samples; [N, A]."""
        del noise
        return self.mode()

    def mean_action(self) -> tf.Tensor:
        """The most probable action as one-hot, [N, A]."""
        return self.mode()


Policy = TanhNormal | OneHot
