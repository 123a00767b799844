"""The constrained RSSM's two constraints (eq. 2)."""

import dataclasses
from collections.abc import Mapping

import tensorflow as tf

from clion_tf.learning.augmentation import memory_unit, noisy_memory
from clion_tf.learning.loss_settings import Settings
from clion_tf.learning.noise import Noise
from clion_tf.learning.preprocessing import Tensors, preprocess_image
from clion_tf.learning.rotation import rotate
from clion_tf.models import Models
from clion_tf.models.rssm import State
from clion_tf.models.unit_normal import UnitNormal, squared_distance


@dataclasses.dataclass(frozen=True)
class Constraint:
    """How far an augmented branch's output is from the non-augmented one's.

    Attributes:
      augmented: the augmented branch's output: e' [B, L, E], or what is decoded from noisy memory
        by `image` and `vector`, distributions [B, L].
      distance: |.|^2 of each frame, [B, L] float32.
      loss: scalar, what the margin leaves of it; mean over batch and time.
    """

    augmented: tf.Tensor | dict[str, UnitNormal]
    distance: tf.Tensor
    loss: tf.Tensor


def embedding_constraint(
    models: Models, settings: Settings, data: Tensors, embed: tf.Tensor, noise: Noise
) -> Constraint:
    """[|e' - e|^2 - delta1^2]_+, e' the encoding of the image rotated at random.

    Args:
      data: image uint8 [B, L, 64, 64, 3], or image_transformed, which is not rotated.
      embed: [B, L, E] as `Models.encode` gives it; the image's part comes first.
    """
    transformed = data.get("image_transformed")
    if transformed is None:
        frames = tf.reshape(data["image"], [-1, *data["image"].shape[2:]])
        degrees = settings.constraint_degrees * noise.uniform("rotation", [frames.shape[0]])
        rotated = rotate(frames, degrees, settings.rotation_fill)
        transformed = tf.reshape(rotated, data["image"].shape)
    augmented = models.encoder(preprocess_image(transformed))
    embed = embed[..., : models.encoder.size]
    if settings.embedding_gradient == "rotated":
        embed = tf.stop_gradient(embed)  # An option: only e' moves towards e.
    distance = squared_distance(augmented, embed, 1)
    return Constraint(
        augmented, distance, hinge(distance, settings.delta1, settings.constraint_norm)
    )


def decoding_constraint(
    models: Models,
    settings: Settings,
    post: State,
    target: Mapping[str, UnitNormal | tf.Tensor],
    noise: Noise,
) -> Constraint:
    """[|o^' - o^|^2 - delta2^2]_+, o^' decoded from noisy memory (h', s).

    Args:
      post: states [B, L, ...].
      target: o^, by `image` and `vector`: what is decoded from the memory as it is, or observed.
        The margins lie "between the augmented branch's output and the non-augmented branch's
        output", so the gradient goes into both, as in the embedding constraint. The other reading
        compares with what was observed.
    """
    deter_noise = noise.normal("decoding", post["deter"].shape)
    sigma = settings.sigma_h * memory_unit(post["deter"], settings.sigma_units)
    noisy = noisy_memory(post, deter_noise, sigma)
    augmented = models.decode(models.rssm.get_feat(noisy))
    distance = sum(dist.squared_distance(target[key]) for key, dist in augmented.items())
    return Constraint(
        augmented, distance, hinge(distance, settings.delta2, settings.constraint_norm)
    )


def hinge(squared: tf.Tensor, margin: float, norm: str = "squared") -> tf.Tensor:
    """Mean over batch and time of what the margin leaves, see `excess`."""
    return tf.reduce_mean(excess(squared, margin, norm))


def excess(squared: tf.Tensor, margin: float, norm: str = "squared") -> tf.Tensor:
    """What eq. 2's margin leaves of each distance: [|d|^2 - margin^2]_+ or [|d| - margin]_+.

    Args:
      squared: |d|^2 of each frame, any shape.
      norm: `squared`, or `euclidean` for the distance itself, whose gradient d / |d| has length
        1; where d is 0 there is none.
    """
    if norm == "squared":
        return tf.nn.relu(squared - margin**2)
    apart = squared > 0
    return tf.nn.relu(tf.where(apart, tf.sqrt(tf.where(apart, squared, 1.0)), 0.0) - margin)
