"""The constrained RSSM's two constraints (eq. 2)."""

import dataclasses
from collections.abc import Mapping

import tensorflow as tf

from clion_tf.config import Config
from clion_tf.learning.augmentation import memory_unit, noisy_memory
from clion_tf.learning.noise import Noise
from clion_tf.learning.preprocessing import Tensors, preprocess_image
from clion_tf.learning.rotation import rotate
from clion_tf.models import Models
from clion_tf.models.decoder import UnitNormal, squared_distance
from clion_tf.models.rssm import State


@dataclasses.dataclass(frozen=True)
class Constraint:
    """How far an augmented branch's output is from the non-augmented one's."""

    # e' [B, L, E]; or, by `image` and `vector`, the distributions [B, L] decoded from noisy memory.
    augmented: tf.Tensor | dict[str, UnitNormal]
    distance: tf.Tensor  # |.|^2 of each frame, [B, L] float32.
    loss: tf.Tensor  # A scalar: `hinge` of the distance, a mean over batch and time.


def embedding_constraint(
    models: Models, config: Config, data: Tensors, embed: tf.Tensor, noise: Noise
) -> Constraint:
    """[|e' - e|^2 - delta1^2]_+ (see `hinge`); e' is the encoding of the randomly rotated image.

    If `data` has image_transformed, e' is its encoding. `embed` is e [B, L, E], the image's part.
    """
    transformed = data.get("image_transformed")
    if transformed is None:
        image = data["image"]
        frames = tf.reshape(image, [-1, *image.shape[2:]])
        degrees = config.constraint_degrees * noise.uniform("rotation", [frames.shape[0]])
        transformed = tf.reshape(rotate(frames, degrees, config.rotation_fill), image.shape)
    augmented = models.encoder(preprocess_image(transformed))
    if config.embedding_gradient == "rotated":
        embed = tf.stop_gradient(embed)  # An option: only e' moves towards e.
    distance = squared_distance(augmented, embed, 1)
    loss = hinge(distance, config.delta1, config.constraint_norm)
    return Constraint(augmented, distance, loss)


def decoding_constraint(
    models: Models, config: Config, post: State,
    target: Mapping[str, UnitNormal | tf.Tensor], noise: Noise,
) -> Constraint:  # fmt: skip
    """[|o^' - o^|^2 - delta2^2]_+, o^' decoded from noisy memory (h', s) [B, L, ...].

    The target o^, by `image` and `vector`, is the reconstruction from un-noised memory ("the
    non-augmented branch's output"; both sides get gradients), or, with
    `--decoding_target=observation`, what was observed.
    """
    deter_noise = noise.normal("decoding", post["deter"].shape)
    sigma = config.sigma_h * memory_unit(post["deter"], config.sigma_units)
    noisy = noisy_memory(post, deter_noise, sigma)
    augmented = models.decode(models.rssm.get_feat(noisy))
    distance = sum(dist.squared_distance(target[key]) for key, dist in augmented.items())
    loss = hinge(distance, config.delta2, config.constraint_norm)
    return Constraint(augmented, distance, loss)


def hinge(squared: tf.Tensor, margin: float, norm: str = "squared") -> tf.Tensor:
    """Eq. 2's mean over frames of [|d|^2 - margin^2]_+, or with `euclidean` of [|d| - margin]_+.

    `squared` is |d|^2 of each frame. The gradient of |d| has length 1; at d = 0 it is set to 0.
    """
    if norm == "squared":
        return tf.reduce_mean(tf.nn.relu(squared - margin**2))
    apart = squared > 0
    distance = tf.where(apart, tf.sqrt(tf.where(apart, squared, 1.0)), 0.0)
    return tf.reduce_mean(tf.nn.relu(distance - margin))
