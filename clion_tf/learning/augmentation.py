"""Memory augmentation (eq. 3): start points beside the remembered states."""

import tensorflow as tf

State = dict[str, tf.Tensor]


def flatten(post: State) -> State:
    """States [B, T, ...] as start points [B * T, ...], batch-major."""
    return {key: tf.reshape(value, [-1, value.shape[-1]]) for key, value in post.items()}


def augment(
    start: State, copies: int, deter_noise: tf.Tensor, stoch_noise: tf.Tensor,
    sigma1: float, sigma2: float,
) -> State:  # fmt: skip
    """The start points followed by `copies` augmented ones of each (eq. 3).

        h^i ~ N(h, sigma1^2),  s^i ~ N(m, sigma2^2), m the posterior's mean

    Args:
      start: M states.
      deter_noise [copies, M, D], stoch_noise [copies, M, S]: standard normal.
      sigma2: negative for the posterior's own standard deviation (ours: the paper prints none).

    Returns:
      (1 + copies) * M states: originals, then copy 1, copy 2, ...
    """
    if copies == 0:
        return start
    spread = start["std"] if sigma2 < 0 else sigma2
    stoch = start["mean"] + spread * stoch_noise
    deter = start["deter"] + tf.cast(sigma1 * deter_noise, start["deter"].dtype)
    repeated = {key: tf.tile(start[key], [copies, 1]) for key in ("mean", "std")}
    copy = {
        **repeated,
        "stoch": tf.reshape(stoch, [-1, stoch.shape[-1]]),
        "deter": tf.reshape(deter, [-1, deter.shape[-1]]),
    }
    return {key: tf.concat([start[key], copy[key]], 0) for key in start}
