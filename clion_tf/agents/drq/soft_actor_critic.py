"""DrQ's equations: soft actor-critic (SAC, arXiv 1812.05905) averaged over augmentations.

[N] are images, [K, B] a batch under each of K augmentations; everything is float32.
"""

import tensorflow as tf


def soft_value(q1: tf.Tensor, q2: tf.Tensor, log_prob: tf.Tensor, alpha: tf.Tensor) -> tf.Tensor:
    """V = min(Q1, Q2) - alpha * log pi(a), all [N], alpha a scalar (SAC eq. 3, two critics)."""
    return tf.minimum(q1, q2) - alpha * log_prob


def target(reward: tf.Tensor, discount: tf.Tensor, next_value: tf.Tensor) -> tf.Tensor:
    """y = r + discount * mean_k V(f_k(s')), DrQ eq. 1; V [K, B], all else [B].

    The discount is gamma, or 0 where the episode terminated.
    """
    return reward + discount * tf.reduce_mean(next_value, 0)


def critic_loss(q1: tf.Tensor, q2: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
    """Mean over M and B of (Q1 - y)^2 + (Q2 - y)^2, DrQ eq. 3; Q [M, B], y [B], a constant.

    The reference adds up over M where the paper averages; Adam does not feel the factor.
    """
    y = tf.stop_gradient(y)
    return tf.reduce_mean(tf.square(q1 - y) + tf.square(q2 - y))


def actor_loss(q1: tf.Tensor, q2: tf.Tensor, log_prob: tf.Tensor, alpha: tf.Tensor) -> tf.Tensor:
    """-mean V of reparameterised actions: alpha * log pi(a) - min(Q1, Q2); all [N] (SAC eq. 7)."""
    return -tf.reduce_mean(soft_value(q1, q2, log_prob, tf.stop_gradient(alpha)))


def temperature_loss(alpha: tf.Tensor, log_prob: tf.Tensor, target_entropy: float) -> tf.Tensor:
    """alpha * mean(-log pi(a) - target entropy): alpha falls while the entropy, [N], is above it.

    SAC eq. 18, as the reference has it: a loss of alpha, whose logarithm is what is learned.
    """
    return alpha * tf.reduce_mean(tf.stop_gradient(-log_prob) - target_entropy)
