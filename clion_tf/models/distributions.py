"""The probability that the agent needs, in closed form and float32.

Sampling takes standard noise as an argument, so that a run's randomness has one owner
(`clion_tf.noise`) and tests can fix it.
"""

import math

import tensorflow as tf

LOG_2PI = math.log(2 * math.pi)


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


def normal_log_prob(value: tf.Tensor, mean: tf.Tensor, event_dims: int = 0) -> tf.Tensor:
    """log Normal(value; mean, 1), summed over the last `event_dims` axes."""
    if event_dims == 0:
        difference = tf.cast(value, tf.float32) - tf.cast(mean, tf.float32)
        return -0.5 * (tf.square(difference) + LOG_2PI)
    count = math.prod(mean.shape[len(mean.shape) - event_dims :])
    return -0.5 * (squared_distance(value, mean, event_dims) + LOG_2PI * count)


def bernoulli_log_prob(target: tf.Tensor, logit: tf.Tensor) -> tf.Tensor:
    """log-probability of a target in [0, 1] (soft targets as in Dreamer's discount head)."""
    return -tf.nn.sigmoid_cross_entropy_with_logits(labels=target, logits=logit)


def kl_diagonal(mean: tf.Tensor, std: tf.Tensor, mean2: tf.Tensor, std2: tf.Tensor) -> tf.Tensor:
    """KL[N(mean, std) || N(mean2, std2)], summed over the last axis; [..., S] -> [...]."""
    ratio = tf.square(std / std2)
    distance = tf.square((mean - mean2) / std2)
    return 0.5 * tf.reduce_sum(ratio + distance - 1.0 - tf.math.log(ratio), -1)


def normal_entropy(std: tf.Tensor) -> tf.Tensor:
    """Entropy of a diagonal Gaussian in nats; [..., S] -> [...]."""
    return tf.reduce_sum(tf.math.log(std) + 0.5 * (1 + LOG_2PI), -1)


class TanhNormal:
    """tanh of a diagonal Gaussian: actions in (-1, 1)."""

    def __init__(self, mean: tf.Tensor, std: tf.Tensor):
        self.mean, self.std = mean, std

    def sample(self, noise: tf.Tensor) -> tf.Tensor:
        """Reparameterised sample from standard normal noise [..., N, A]."""
        return tf.tanh(self.mean + self.std * noise)

    def log_prob(self, action: tf.Tensor) -> tf.Tensor:
        """Of actions [..., N, A] -> [..., N]. Saturated actions count as just inside +-1."""
        limit = 1.0 - 2.0**-24  # The largest float32 below 1, as Dreamer's clip rounds to.
        return self._log_prob_before_tanh(tf.atanh(tf.clip_by_value(action, -limit, limit)))

    def _log_prob_before_tanh(self, x: tf.Tensor) -> tf.Tensor:
        normal = -0.5 * tf.square((x - self.mean) / self.std) - tf.math.log(self.std)
        # log of tanh's slope, 1 - tanh(x)^2, in a form that does not cancel for large |x|.
        slope = 2.0 * (math.log(2.0) - x - tf.nn.softplus(-2.0 * x))
        return tf.reduce_sum(normal - 0.5 * LOG_2PI - slope, -1)

    def entropy(self, noise: tf.Tensor) -> tf.Tensor:
        """One-sample estimate [N] in nats from standard normal noise [N, A]."""
        return -self._log_prob_before_tanh(self.mean + self.std * noise)

    def densest(self, noise: tf.Tensor) -> tf.Tensor:
        """Per row the sample of highest density: noise [K, N, A] -> action [N, A].

        Dreamer's evaluation policy; its code takes one row's choice for all rows. As there,
        saturated samples have the density of `log_prob`.
        """
        action = self.sample(noise)
        best = tf.argmax(self.log_prob(action), 0, tf.int32)
        rows = tf.range(tf.shape(best)[0])
        return tf.gather_nd(action, tf.stack([best, rows], -1))

    def mode(self) -> tf.Tensor:
        """tanh of the Gaussian's mean, [N, A]."""
        return tf.tanh(self.mean)


class OneHot:
    """Categorical actions as one-hot vectors with straight-through gradients."""

    def __init__(self, logits: tf.Tensor):
        self.logits = logits
        self.probs = tf.nn.softmax(logits)

    def sample(self, noise: tf.Tensor) -> tf.Tensor:
        """One-hot sample from Gumbel noise [..., N, A]; its gradient is the probabilities'."""
        hard = self._hard(self.logits + noise)
        return hard + self.probs - tf.stop_gradient(self.probs)

    def log_prob(self, action: tf.Tensor) -> tf.Tensor:
        """Of one-hot actions [..., N, A] -> [..., N]."""
        return tf.reduce_sum(action * tf.nn.log_softmax(self.logits), -1)

    def entropy(self, noise: tf.Tensor) -> tf.Tensor:
        """Exact entropy [N] in nats; the noise is not needed."""
        del noise
        return -tf.reduce_sum(self.probs * tf.nn.log_softmax(self.logits), -1)

    def densest(self, noise: tf.Tensor) -> tf.Tensor:
        """The most probable action, which is also the densest of many samples; [N, A]."""
        del noise
        return self.mode()

    def mode(self) -> tf.Tensor:
        """The most probable action as one-hot, [N, A]."""
        return self._hard(self.logits)

    def _hard(self, scores: tf.Tensor) -> tf.Tensor:
        return tf.one_hot(tf.argmax(scores, -1), self.logits.shape[-1], dtype=tf.float32)
