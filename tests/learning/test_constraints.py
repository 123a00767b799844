"""The constrained RSSM's two constraints: distances, margins, gradients (eq. 2)."""

import types

import numpy as np
import pytest
import tensorflow as tf

from clion_tf.config import Config
from clion_tf.learning.augmentation import memory_unit, noisy_memory
from clion_tf.learning.constraints import decoding_constraint, embedding_constraint, hinge
from clion_tf.learning.noise import GivenNoise
from clion_tf.models.decoder import ImageNormal, UnitNormal, squared_distance
from clion_tf.models.encoder import pack

# Two frames of one sequence: 3^2 + 4^2 = 25 and 0.5^2 = 0.25 apart, a sum over features.
EMBED = tf.constant([[[1.0, 2.0], [0.0, 0.0]]])
ROTATED = tf.constant([[[4.0, -2.0], [0.5, 0.0]]])


def embedding(embed, rotated, **options):
    """The constraint, where the rotated frames' encoding is `rotated`."""
    models = types.SimpleNamespace(encoder=Fixed(rotated))
    data = {"image_transformed": tf.zeros([*embed.shape[:2], 64, 64, 3], tf.uint8)}
    return embedding_constraint(models, Config(**options), data, embed, GivenNoise())


class Fixed:
    """An encoder that says the same of everything."""

    def __init__(self, embedding):
        self._embedding, self.size = embedding, embedding.shape[-1]

    def __call__(self, image):
        return self._embedding


def test_embedding_constraint_by_hand():
    found = embedding(EMBED, ROTATED)
    np.testing.assert_array_equal(found.distance, [[25.0, 0.25]])
    assert float(found.loss) == 12.625 and found.augmented is ROTATED
    assert float(embedding(EMBED, ROTATED, delta1=3.0).loss) == 8.0  # (25 - 9 + 0) / 2
    assert float(embedding(EMBED, ROTATED, delta1=3.0, constraint_norm="euclidean").loss) == 1.0


def test_embedding_constraint_of_bfloat16_is_summed_in_float32():
    # 301 ones: bfloat16 knows 300 and 302 only.
    zero = tf.zeros([1, 1, 301], tf.bfloat16)
    found = embedding(zero, zero + 1)
    assert found.distance.dtype == tf.float32
    assert float(found.distance[0, 0]) == 301.0


@pytest.mark.parametrize("moved", ["both", "rotated"])
def test_embedding_constraint_moves_both_embeddings_or_one(moved):
    with tf.GradientTape() as tape:
        tape.watch([EMBED, ROTATED])
        loss = embedding(EMBED, ROTATED, embedding_gradient=moved).loss
    of_embed, of_rotated = tape.gradient(loss, [EMBED, ROTATED])
    np.testing.assert_array_equal(of_rotated, [[[3.0, -4.0], [0.5, 0.0]]])
    if moved == "both":
        np.testing.assert_array_equal(of_embed, -of_rotated)
    else:
        assert of_embed is None


def test_frames_are_rotated_by_the_noise_times_the_degrees():
    image = tf.constant(np.random.default_rng(0).integers(0, 256, (1, 2, 64, 64, 3)), tf.uint8)
    shown = []

    def encoder(frames):
        shown.append(frames)
        return frames[..., 0, 0, :]

    encoder.size = 3
    models = types.SimpleNamespace(encoder=encoder)
    noise = GivenNoise({"rotation": tf.constant([0.0, 1.0])})
    config = Config(constraint_degrees=180.0)
    embedding_constraint(models, config, {"image": image}, tf.zeros([1, 2, 3]), noise)
    seen = tf.cast(image, tf.float32) / 255 - 0.5
    np.testing.assert_allclose(shown[0][0, 0], seen[0, 0], atol=1e-6)
    np.testing.assert_allclose(shown[0][0, 1], seen[0, 1, ::-1, ::-1], atol=1e-3)


def images():
    """Two frames and what is decoded of them, in numbers apart 12 * 0.25 = 3 and 4."""
    target = np.zeros([1, 2, 2, 2, 3], np.float32)
    image = target.copy()
    image[0, 0] = 0.5  # All 12 numbers of the first image.
    image[0, 1, 1, 0, 2] = -2.0  # One number of the second.
    return tf.constant(image), tf.constant(target)


@pytest.mark.parametrize("of", ["observed", "decoded"])
def test_decoding_constraint_by_hand(of):
    image, target = images()

    def distribution(mean):
        return ImageNormal(pack(mean))

    models = types.SimpleNamespace(
        decode=lambda feat: {"image": distribution(image), "vector": UnitNormal(feat, 1)},
        rssm=types.SimpleNamespace(get_feat=lambda state: state["deter"]),
    )
    post = {"deter": tf.zeros([1, 2, 1])}
    noise = GivenNoise({"decoding": tf.constant([[[1.0], [-2.0]]])})
    targets = {"image": target if of == "observed" else distribution(target)}
    targets["vector"] = tf.zeros([1, 2, 1])
    config = Config(sigma_h=0.5, delta2=2.0)
    found = decoding_constraint(models, config, post, targets, noise)
    # The vector is the memory itself, moved by 0.5 and -1.
    np.testing.assert_array_equal(found.distance, [[3.25, 5.0]])
    assert float(found.loss) == 0.5  # [3.25 - 4]_+ = 0 and 1.


def test_noise_of_the_decoding_constraint_in_units_of_the_memory():
    models = types.SimpleNamespace(
        decode=lambda feat: {"vector": UnitNormal(feat, 1)},
        rssm=types.SimpleNamespace(get_feat=lambda state: state["deter"]),
    )
    post = {"deter": tf.constant([[[3.0], [-3.0]]])}  # Of standard deviation 3.
    noise = GivenNoise({"decoding": tf.constant([[[1.0], [-2.0]]])})
    config = Config(sigma_h=0.5, sigma_units="relative")
    found = decoding_constraint(models, config, post, {"vector": post["deter"]}, noise)
    # Moved by 0.5 * 3 and by -2 times that.
    np.testing.assert_allclose(found.distance, [[2.25, 9.0]], rtol=1e-6)


def test_distance_of_images_keeps_batch_and_time_apart():
    image = tf.random.stateless_normal([2, 3, 4, 6, 3], [0, 1])
    found = ImageNormal(pack(image)).squared_distance(tf.zeros_like(image))
    assert found.shape == (2, 3)
    np.testing.assert_allclose(found[1, 2], np.sum(image[1, 2].numpy() ** 2), rtol=1e-6)


def test_the_margin_applies_to_each_image_before_the_mean():
    # Margin 2: [1 - 4]_+ = 0 and [9 - 4]_+ = 5, mean 2.5. After the mean it were [5 - 4]_+ = 1.
    assert float(hinge(tf.constant([[1.0, 9.0]]), 2.0)) == 2.5


def test_an_image_within_the_margin_has_no_gradient():
    distance = tf.constant([[1.0, 9.0]])
    with tf.GradientTape() as tape:
        tape.watch(distance)
        loss = hinge(distance, 2.0)
    np.testing.assert_array_equal(tape.gradient(loss, distance), [[0.0, 0.5]])


# The distance itself instead of its square.


def test_the_euclidean_norm_less_the_margin_by_hand():
    # |d| = 3 and 1, margin 2: [3 - 2]_+ = 1 and [1 - 2]_+ = 0.
    assert float(hinge(tf.constant([[9.0, 1.0]]), 2.0, "euclidean")) == 0.5


def test_the_euclidean_gradient_has_length_1_at_any_distance():
    embed = tf.constant([[[3.0, 4.0], [0.03, 0.04], [0.0, 0.0]]])
    with tf.GradientTape() as tape:
        tape.watch(embed)
        distance = squared_distance(embed, tf.zeros([1, 3, 2]), 1)
        loss = 3 * hinge(distance, 0, "euclidean")
    gradient = tape.gradient(loss, embed)
    # d / |d|; where there is no distance there is no direction.
    np.testing.assert_allclose(gradient, [[[0.6, 0.8], [0.6, 0.8], [0.0, 0.0]]], rtol=1e-5)


def test_both_norms_agree_on_what_lies_within_the_margin():
    for squared, inside in ((0.0, True), (3.9, True), (4.1, False), (100.0, False)):
        for norm in ("squared", "euclidean"):
            assert (float(hinge(tf.constant([squared]), 2.0, norm)) == 0) == inside


@pytest.mark.parametrize("norm", ["squared", "euclidean"])
def test_compiled_by_xla_the_constraint_is_the_same(norm):
    def constrained(deter, noise):
        sigma = 0.7 * memory_unit(deter, "relative")
        noisy = noisy_memory({"deter": deter}, noise, sigma)["deter"]
        return hinge(squared_distance(noisy, deter, 1), 0.4, norm)

    deter, noise = (tf.random.stateless_normal([2, 3, 5], [0, seed]) for seed in (1, 2))
    compiled = tf.function(constrained, jit_compile=True, autograph=False)
    np.testing.assert_allclose(compiled(deter, noise), constrained(deter, noise), rtol=1e-5)


@pytest.mark.parametrize(("fill", "corner"), [("edge", 0.5), ("black", -0.5)])
def test_what_lies_outside_a_rotated_frame_is_the_options(fill, corner):
    shown = []

    def encoder(frames):
        shown.append(frames)
        return frames[..., 0, 0, :]

    config = Config(constraint_degrees=45.0, rotation_fill=fill)
    white = {"image": tf.fill([1, 1, 64, 64, 3], tf.constant(255, tf.uint8))}
    noise = GivenNoise({"rotation": tf.ones([1])})
    models = types.SimpleNamespace(encoder=encoder)
    embedding_constraint(models, config, white, tf.zeros([1, 1, 3]), noise)
    np.testing.assert_allclose(shown[0][0, 0, 0, 0], [corner] * 3, atol=1e-6)
