"""The constrained RSSM's two constraints (eq. 2)."""

import tensorflow as tf

from clion_tf.learning import replica_sums
from clion_tf.models.distance import squared_distance


def embedding_distance(embed: tf.Tensor, embed_rotated: tf.Tensor) -> tf.Tensor:
    """|e' - e|^2 of each image, summed over features: [B, T, E] twice -> [B, T] float32."""
    return squared_distance(embed_rotated, embed, 1)


def decoding_distance(decoded: tf.Tensor, target: tf.Tensor, axes: int = 3) -> tf.Tensor:
    """|o' - o|^2, summed over an observation's `axes` (pixels): [B, T, ...] -> [B, T] float32."""
    return squared_distance(decoded, target, axes)


def noisy_memory(
    post: dict[str, tf.Tensor], noise: tf.Tensor, scale: float, units: str = "absolute"
) -> dict:
    """The state with h' = h + scale * noise (text above eq. 2), s as it is.

    Args:
      units: of the scale, see `memory_unit`.
    """
    deter = post["deter"]
    scale = scale * memory_unit(deter, units)
    return {**post, "deter": deter + tf.cast(scale * noise, deter.dtype)}


def memory_unit(deter: tf.Tensor, units: str) -> tf.Tensor | float:
    """What a standard deviation of noise on h [..., D] is a multiple of (ours: a flag).

    `absolute`: 1. `relative`: the standard deviation of h over the batch (of all replicas), one
    number: the root of the units' mean variance, so that the noise is as isotropic as the paper's
    N(h, sigma^2). No gradient: the model is not to change the noise by way of its unit.
    """
    if units == "absolute":
        return 1.0
    rows = tf.stop_gradient(tf.reshape(tf.cast(deter, tf.float32), [-1, deter.shape[-1]]))
    centred = rows - replica_sums.average(tf.reduce_mean(rows, 0))
    return tf.sqrt(replica_sums.average(tf.reduce_mean(tf.square(centred))))


def excess(squared: tf.Tensor, margin: float, norm: str = "squared") -> tf.Tensor:
    """What eq. 2's margin leaves of each distance: [|d|^2 - margin^2]_+ or [|d| - margin]_+.

    Args:
      squared: |d|^2 of each image, any shape.
      norm: `squared`, or `euclidean` for the distance itself, whose gradient d / |d| has length
        1; where d is 0 there is none.
    """
    if norm == "squared":
        return tf.nn.relu(squared - margin**2)
    apart = squared > 0
    return tf.nn.relu(tf.where(apart, tf.sqrt(tf.where(apart, squared, 1.0)), 0.0) - margin)


def hinge(squared: tf.Tensor, margin: float, norm: str = "squared") -> tf.Tensor:
    """Mean over batch and time of what the margin leaves, see `excess`."""
    return tf.reduce_mean(excess(squared, margin, norm))
