"""Memory augmentation (eq. 3): start points beside the remembered states."""

import tensorflow as tf

from clion_tf.learning.constraints import memory_unit

State = dict[str, tf.Tensor]


def flatten(post: State) -> State:
    """States [B, T, ...] as start points [B * T, ...], batch-major."""
    return {key: tf.reshape(value, [-1, value.shape[-1]]) for key, value in post.items()}


def augment(
    start: State, copies: int, deter_noise: tf.Tensor, stoch_noise: tf.Tensor,
    sigma1: float, sigma2: float, units: str = "absolute",
) -> State:  # fmt: skip
    """The start points followed by `copies` augmented ones of each (eq. 3).

        h^i ~ N(h, sigma1^2),  s^i ~ N(m, sigma2^2), m the posterior's mean

    Args:
      start: M states.
      deter_noise [copies, M, D], stoch_noise [copies, M, S]: standard normal.
      sigma2: negative for the posterior's own standard deviation (ours: the paper prints none).
      units: of sigma1, `absolute` or `relative`, see `constraints.memory_unit`.

    Returns:
      (1 + copies) * M states: originals, then copy 1, copy 2, ...
    """
    if copies == 0:
        return start
    sigma1 = sigma1 * memory_unit(start["deter"], units)
    moved = noised(start, deter_noise, stoch_noise, sigma1, sigma2)
    copy = {
        **{key: tf.tile(start[key], [copies, 1]) for key in ("mean", "std")},
        **{key: tf.reshape(moved[key], [-1, moved[key].shape[-1]]) for key in ("stoch", "deter")},
    }
    return {key: tf.concat([start[key], copy[key]], 0) for key in start}


def noised(
    states: State, deter_noise: tf.Tensor, stoch_noise: tf.Tensor, sigma1: tf.Tensor | float,
    sigma2: float,
) -> State:  # fmt: skip
    """States [..., S or D] with h and s moved as those of augmented starts are.

    Args:
      deter_noise, stoch_noise: standard normal; further leading axes give as many copies.
      sigma1: standard deviation of the noise on h, in units of h; sigma2: as in `augment`.
    """
    spread = states["std"] if sigma2 < 0 else sigma2
    deter = states["deter"] + tf.cast(sigma1 * deter_noise, states["deter"].dtype)
    return {**states, "stoch": states["mean"] + spread * stoch_noise, "deter": deter}
