"""Returns of imagined trajectories (eqs. 6 and 7) and how much each step counts."""

import tensorflow as tf

from clion_tf.models.scan import scan


def lambda_return(
    reward: tf.Tensor, value: tf.Tensor, pcont: tf.Tensor, bootstrap: tf.Tensor, lambda_: float
) -> tf.Tensor:
    """V_lambda of eqs. 6 and 7 by Dreamer's recursion.

        V[k] = r[k] + pcont[k] * ((1 - lambda) * v[k+1] + lambda * V[k+1]),  V[last+1] = bootstrap

    Eq. 6's mixture of eq. 7's k-step returns, cut off at the horizon, is the same number (tested).
    All are [R, N], but for the bootstrap [N], the value after the last step. pcont discounts a
    step: gamma, or what the discount head predicts.
    """
    next_value = tf.concat([value[1:], bootstrap[None]], 0)
    inputs = reward + pcont * next_value * (1.0 - lambda_)

    def step(later, input_k, pcont_k):
        result = input_k + pcont_k * lambda_ * later
        return result, {"return": result}

    backwards = [tf.reverse(x, [0]) for x in (inputs, pcont)]
    return tf.reverse(scan(step, bootstrap, backwards, {"return": bootstrap})["return"], [0])


def cumulative_discount(pcont: tf.Tensor) -> tf.Tensor:
    """How much each imagined step counts (Dreamer), [R + 1, N] -> [R, N]: 1, p0, p0 p1, ...

    No gradient: a policy must not gain by ending what it imagines.
    """
    ones = tf.ones_like(pcont[:1])
    return tf.stop_gradient(tf.math.cumprod(tf.concat([ones, pcont[:-2]], 0), 0))
