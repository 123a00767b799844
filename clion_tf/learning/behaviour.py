"""Actor and critic on weighted imagined trajectories (eqs. 8 and 9).

features:                z_1          z_2                z_H         [H, N]
rewards, values:         r_1, v_1     r_2, v_2           r_H, v_H    [H, N]
returns, weights:        V_1, w_1     V_2, w_2  ... V_{H-1}, w_{H-1} [H-1, N], v_H bootstraps
"""

import tensorflow as tf
from tensorflow_probability import distributions as tfd


def actor_loss(returns: tf.Tensor, discount: tf.Tensor, weight: tf.Tensor) -> tf.Tensor:
    """-mean(w * discount * V), eq. 9 as a loss; all [H-1, N]. Gradient: through the returns."""
    return -tf.reduce_mean(weight * discount * returns)


def value_loss(
    value: tfd.Distribution, returns: tf.Tensor, discount: tf.Tensor, weight: tf.Tensor
) -> tf.Tensor:
    """-mean(w * discount * log p(sg(V))), p = Normal(v, 1): eq. 8 as Dreamer has it; [H-1, N]."""
    target = tf.stop_gradient(returns)  # Regression onto a fixed target, as usual in TD.
    log_prob = value.log_prob(target)
    return -tf.reduce_mean(tf.stop_gradient(weight) * discount * log_prob)
