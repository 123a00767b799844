"""Memory augmentation (eq. 3): noise on remembered states, and start points made by it.

Noise is standard normal, float32; its further leading axes give as many copies of the states.
"""

import tensorflow as tf

from clion_tf.learning import replica_sums
from clion_tf.models.rssm import State


def flatten(post: State) -> State:
    """States [B, T, ...] as start points [B * T, ...], batch-major."""
    return {key: tf.reshape(value, [-1, value.shape[-1]]) for key, value in post.items()}


def augment(
    start: State, copies: int, deter_noise: tf.Tensor, stoch_noise: tf.Tensor,
    sigma1: tf.Tensor | float, sigma2: float,
) -> State:  # fmt: skip
    """Start points [M, ...], then copy 1 of each, copy 2, ...: [(1 + copies) * M, ...] (eq. 3).

    Noise on h is [copies, M, D], on s [copies, M, S]; for the sigmas see `augmented_states`.
    A copy keeps its state's `mean` and `std`, which imagination does not read.
    """
    if copies == 0:
        return start
    moved = augmented_states(start, deter_noise, stoch_noise, sigma1, sigma2)
    copy = {key: tf.tile(start[key], [copies, 1]) for key in ("mean", "std")}
    copy |= flatten({key: moved[key] for key in ("stoch", "deter")})
    return {key: tf.concat([start[key], copy[key]], 0) for key in start}


def augmented_states(
    states: State, deter_noise: tf.Tensor, stoch_noise: tf.Tensor, sigma1: tf.Tensor | float,
    sigma2: float,
) -> State:  # fmt: skip
    """Augmented states: h^i ~ N(h, sigma1^2), s^i ~ N(m, sigma2^2), m the posterior's mean.

    States are [..., D or S], their standard normal noise [copies, ..., D or S] float32; h and s
    returned have the noise's axes, `mean` and `std` are as they were.
    A negative sigma2 is the posterior's own standard deviation (ours: the paper prints none).
    """
    spread = states["std"] if sigma2 < 0 else sigma2
    stoch = states["mean"] + spread * stoch_noise
    return {**noisy_memory(states, deter_noise, sigma1), "stoch": stoch}


def noisy_memory(states: State, noise: tf.Tensor, sigma: tf.Tensor | float) -> State:
    """h' = h + sigma * noise (text above eq. 2), s as it is; h' has h's type, the noise's axes."""
    deter = states["deter"]
    return {**states, "deter": deter + tf.cast(sigma * noise, deter.dtype)}


def memory_unit(deter: tf.Tensor, units: str) -> tf.Tensor | float:
    """The scalar by which sigma_h, sigma1 or sigma_inference is multiplied, from h [..., D] (ours).

    `absolute`: 1. `relative`: the standard deviation of h over all rows (of all replicas), one
    number: the root of the variance's mean over the D entries, so that the noise is isotropic like
    the paper's N(h, sigma^2). No gradient: the model must not change the noise through its scale.
    """
    if units == "absolute":
        return 1.0
    rows = tf.stop_gradient(tf.reshape(tf.cast(deter, tf.float32), [-1, deter.shape[-1]]))
    centred = rows - replica_sums.mean_without_gradient(tf.reduce_mean(rows, 0))
    return tf.sqrt(replica_sums.mean_without_gradient(tf.reduce_mean(tf.square(centred))))
