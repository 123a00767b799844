"""The constrained RSSM's two constraints (eq. 2)."""

import tensorflow as tf

from clion_tf.models.distance import squared_distance


def embedding_distance(embed: tf.Tensor, embed_rotated: tf.Tensor) -> tf.Tensor:
    """|e' - e|^2 of each image, summed over features: [B, T, E] twice -> [B, T] float32."""
    return squared_distance(embed_rotated, embed, 1)


def decoding_distance(decoded: tf.Tensor, target: tf.Tensor, axes: int = 3) -> tf.Tensor:
    """|o' - o|^2, summed over an observation's `axes` (pixels): [B, T, ...] -> [B, T] float32."""
    return squared_distance(decoded, target, axes)


def noisy_memory(post: dict[str, tf.Tensor], noise: tf.Tensor, scale: float) -> dict:
    """The state with h' = h + scale * noise (text above eq. 2), s as it is."""
    deter = post["deter"]
    return {**post, "deter": deter + tf.cast(scale * noise, deter.dtype)}


def hinge(distance: tf.Tensor, margin: float) -> tf.Tensor:
    """Mean of [distance - margin^2]_+ over batch and time: what eq. 2's margin leaves."""
    return tf.reduce_mean(tf.nn.relu(distance - margin**2))
