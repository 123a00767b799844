"""Distances, margin and noisy memory of the constrained RSSM (eq. 2)."""

import numpy as np
import pytest
import tensorflow as tf

from clion_tf.learning.constraints import (
    decoding_distance,
    embedding_distance,
    excess,
    hinge,
    memory_unit,
    noisy_memory,
)


def state(batch=2, length=3, dtype=tf.float32):
    """A posterior with other numbers in every part: [batch, length, ...]."""
    rng = np.random.default_rng(0)
    sizes = {"mean": 4, "std": 4, "stoch": 4, "deter": 5}
    parts = {k: rng.normal(size=(batch, length, n)) for k, n in sizes.items()}
    return {k: tf.constant(v, dtype if k == "deter" else tf.float32) for k, v in parts.items()}


def test_embedding_distance_by_hand():
    embed = tf.constant([[[1.0, 2.0], [0.0, 0.0]]])
    rotated = tf.constant([[[4.0, -2.0], [0.5, 0.0]]])
    # 3^2 + 4^2 = 25 and 0.5^2 = 0.25: a sum over features, one number for each image.
    np.testing.assert_array_equal(embedding_distance(embed, rotated), [[25.0, 0.25]])


def test_embedding_distance_of_bfloat16_is_summed_in_float32():
    # 301 ones: bfloat16 knows 300 and 302 only.
    zero = tf.zeros([1, 1, 301], tf.bfloat16)
    distance = embedding_distance(zero, zero + 1)
    assert distance.dtype == tf.float32
    assert float(distance[0, 0]) == 301.0


def test_embedding_distance_moves_both_embeddings():
    embed, rotated = tf.constant([[[1.0, 2.0]]]), tf.constant([[[4.0, 1.0]]])
    with tf.GradientTape() as tape:
        tape.watch([embed, rotated])
        distance = embedding_distance(embed, rotated)
    gradients = tape.gradient(distance, [embed, rotated])
    np.testing.assert_array_equal(gradients[0], [[[-6.0, 2.0]]])
    np.testing.assert_array_equal(gradients[1], [[[6.0, -2.0]]])


def test_decoding_distance_by_hand():
    target = np.zeros([1, 2, 2, 2, 3], np.float32)
    image = target.copy()
    image[0, 0] = 0.5  # All 12 numbers of the first image: 12 * 0.25 = 3.
    image[0, 1, 1, 0, 2] = -2.0  # One number of the second: 4.
    found = decoding_distance(tf.constant(image), tf.constant(target))
    np.testing.assert_array_equal(found, [[3.0, 4.0]])


def test_decoding_distance_keeps_batch_and_time_apart():
    image = tf.random.stateless_normal([2, 3, 4, 5, 3], [0, 1])
    found = decoding_distance(image, tf.zeros_like(image))
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


def test_margin_0_is_the_mean():
    assert float(hinge(tf.constant([[1.0, 9.0], [2.0, 0.0]]), 0.0)) == 3.0


@pytest.mark.parametrize("dtype", [tf.float32, tf.bfloat16])
def test_noisy_memory_moves_h_only(dtype):
    post = state(dtype=dtype)
    noise = tf.random.stateless_normal(post["deter"].shape, [0, 1])
    noisy = noisy_memory(post, noise, 0.25)
    assert noisy.keys() == post.keys()
    for key in ("mean", "std", "stoch"):
        np.testing.assert_array_equal(noisy[key], post[key])
    assert noisy["deter"].dtype == dtype
    expected = tf.cast(post["deter"], tf.float32) + 0.25 * noise
    tolerance = 1e-6 if dtype == tf.float32 else 0.02
    np.testing.assert_allclose(tf.cast(noisy["deter"], tf.float32), expected, atol=tolerance)


def test_noisy_memory_of_scale_0_changes_nothing():
    post = state()
    noisy = noisy_memory(post, tf.ones_like(post["deter"]), 0.0)
    for key, value in post.items():
        np.testing.assert_array_equal(noisy[key], value)


def test_noisy_memory_leaves_its_argument_as_it_was():
    post = state()
    before = dict(post)
    noisy_memory(post, tf.ones_like(post["deter"]), 1.0)
    assert all(post[key] is value for key, value in before.items())


# The distance itself instead of its square.


def test_the_euclidean_norm_less_the_margin_by_hand():
    # |d| = 3 and 1, margin 2: [3 - 2]_+ = 1 and [1 - 2]_+ = 0.
    found = excess(tf.constant([[9.0, 1.0]]), 2.0, "euclidean")
    np.testing.assert_allclose(found, [[1.0, 0.0]])
    assert float(hinge(tf.constant([[9.0, 1.0]]), 2.0, "euclidean")) == 0.5


def test_the_euclidean_gradient_has_length_1_at_any_distance():
    embed = tf.constant([[[3.0, 4.0], [0.03, 0.04], [0.0, 0.0]]])
    with tf.GradientTape() as tape:
        tape.watch(embed)
        loss = tf.reduce_sum(excess(embedding_distance(embed, tf.zeros([1, 3, 2])), 0, "euclidean"))
    gradient = tape.gradient(loss, embed)
    # d / |d|; where there is no distance there is no direction.
    np.testing.assert_allclose(gradient, [[[0.6, 0.8], [0.6, 0.8], [0.0, 0.0]]], rtol=1e-5)


def test_both_norms_agree_on_what_lies_within_the_margin():
    squared = tf.constant([0.0, 3.9, 4.1, 100.0])
    inside = [excess(squared, 2.0, norm) == 0 for norm in ("squared", "euclidean")]
    np.testing.assert_array_equal(*inside)


# Units of the noise on h.


def test_the_unit_of_memory_by_hand():
    # Units' variances 1 and 9 about their own means 5 and -3: root of their mean, 5.
    deter = tf.constant([[[6.0, 0.0], [4.0, -6.0]]])
    assert float(memory_unit(deter, "relative")) == pytest.approx(np.sqrt(5.0))
    assert memory_unit(deter, "absolute") == 1.0


@pytest.mark.parametrize("dtype", [tf.float32, tf.bfloat16])
def test_relative_to_a_deviation_of_1_is_absolute(dtype):
    deter = tf.constant([[[1.0, -1.0]], [[-1.0, 1.0]]], dtype)
    post = {**state(2, 1), "deter": deter}
    noise = tf.random.stateless_normal([2, 1, 2], [0, 1])
    relative, absolute = (noisy_memory(post, noise, 0.5, u) for u in ("relative", "absolute"))
    np.testing.assert_array_equal(relative["deter"], absolute["deter"])


def test_the_unit_carries_no_gradient():
    deter = state()["deter"]
    with tf.GradientTape() as tape:
        tape.watch(deter)
        noisy = noisy_memory({"deter": deter}, tf.ones_like(deter), 2.0, "relative")
    np.testing.assert_array_equal(tape.gradient(noisy["deter"], deter), tf.ones_like(deter))


@pytest.mark.parametrize("norm", ["squared", "euclidean"])
def test_compiled_by_xla_the_constraint_is_the_same(norm):
    def constrained(deter, noise):
        noisy = noisy_memory({"deter": deter}, noise, 0.7, "relative")["deter"]
        return hinge(embedding_distance(noisy, deter), 0.4, norm)

    deter, noise = state()["deter"], tf.random.stateless_normal([2, 3, 5], [0, 1])
    compiled = tf.function(constrained, jit_compile=True, autograph=False)
    np.testing.assert_allclose(compiled(deter, noise), constrained(deter, noise), rtol=1e-5)
