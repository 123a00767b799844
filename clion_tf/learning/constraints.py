"""The constrained RSSM's two constraints (eq. 2), and the rotation of images for one of them."""

import dataclasses
import math
from collections.abc import Mapping

import tensorflow as tf

from clion_tf.config import Config
from clion_tf.learning.augmentation import memory_unit, noisy_memory
from clion_tf.learning.noise import Noise
from clion_tf.learning.preprocessing import Tensors, preprocess_image
from clion_tf.models import Models
from clion_tf.models.layers import rows_of
from clion_tf.models.observations import UnitNormal, squared_distance
from clion_tf.models.rssm import State


@dataclasses.dataclass(frozen=True)
class Constraint:
    """How far an augmented branch's output is from the non-augmented one's."""

    # e' [B, L, E], or what is decoded from noisy memory by `image` and `vector`, [B, L].
    augmented: tf.Tensor | dict[str, UnitNormal]
    distance: tf.Tensor  # |.|^2 of each frame, [B, L] float32.
    loss: tf.Tensor  # A scalar: what the margin leaves of it; mean over batch and time.


def embedding_constraint(
    models: Models, config: Config, data: Tensors, embed: tf.Tensor, noise: Noise
) -> Constraint:
    """[|e' - e|^2 - delta1^2]_+, e' the encoding of the image rotated at random.

    Or of the BATCH's image_transformed. e [B, L, E] is `Models.encode`'s, the image's part first.
    """
    transformed = data.get("image_transformed")
    if transformed is None:
        image = data["image"]
        frames = tf.reshape(image, [-1, *image.shape[2:]])
        degrees = config.constraint_degrees * noise.uniform("rotation", [frames.shape[0]])
        transformed = tf.reshape(rotate(frames, degrees, config.rotation_fill), image.shape)
    augmented = models.encoder(preprocess_image(transformed))
    embed = embed[..., : models.encoder.size]
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

    The target o^, by `image` and `vector`, is what the memory as it is decodes to, "the
    non-augmented branch's output", so the gradient goes into both. The other reading compares with
    what was observed.
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

    From |d|^2. The distance's own gradient d / |d| has length 1; where d is 0 there is none.
    """
    if norm == "squared":
        return tf.reduce_mean(tf.nn.relu(squared - margin**2))
    apart = squared > 0
    distance = tf.where(apart, tf.sqrt(tf.where(apart, squared, 1.0)), 0.0)
    return tf.reduce_mean(tf.nn.relu(distance - margin))


def rotate(image: tf.Tensor, degrees: tf.Tensor, fill: str = "edge") -> tf.Tensor:
    """Images [N, H, W, C] turned about their centres, counter-clockwise; bilinear, float32.

    Degrees are [N] float32. Outside the image lies its edge, repeated, or `black`, zeros. The same
    as the workers' (tested). TensorFlow's projective transform does not compile under XLA.
    """
    count, (height, width, channels) = rows_of(image), image.shape[1:]
    # Where each output pixel comes from, [N, H, W], perhaps outside of the image. Rows grow
    # downwards, so the inverse of a counter-clockwise turn on screen is this one.
    middle_x, middle_y = (width - 1) / 2, (height - 1) / 2
    x, y = tf.meshgrid(tf.range(float(width)) - middle_x, tf.range(float(height)) - middle_y)
    angle = (degrees * (math.pi / 180.0))[:, None, None]
    cos, sin = tf.cos(angle), tf.sin(angle)
    source_x, source_y = cos * x - sin * y + middle_x, sin * x + cos * y + middle_y
    x = tf.clip_by_value(source_x, 0.0, width - 1.0)
    y = tf.clip_by_value(source_y, 0.0, height - 1.0)
    x0 = tf.minimum(tf.cast(x, tf.int32), width - 2)
    y0 = tf.minimum(tf.cast(y, tf.int32), height - 2)
    right = (x - tf.cast(x0, tf.float32))[..., None]
    down = (y - tf.cast(y0, tf.float32))[..., None]
    pixels = tf.reshape(image, [-1, channels])
    corner = (tf.range(count) * height * width)[:, None, None] + y0 * width + x0

    def neighbour(offset: int) -> tf.Tensor:
        return tf.cast(tf.gather(pixels, corner + offset), tf.float32)

    left_top, right_top = neighbour(0), neighbour(1)
    left_bottom, right_bottom = neighbour(width), neighbour(width + 1)
    top = left_top + (right_top - left_top) * right
    bottom = left_bottom + (right_bottom - left_bottom) * right
    turned = top + (bottom - top) * down
    if fill == "edge":
        return turned
    # Between an edge and the zeros one pixel outside of it the image fades.
    inside = [
        tf.nn.relu(1.0 - tf.abs(source - at)) for source, at in ((source_x, x), (source_y, y))
    ]
    return turned * (inside[0] * inside[1])[..., None]
