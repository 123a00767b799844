"""The learner's randomness: reproducible, independent by purpose, of the right moments."""

import itertools

import numpy as np
import pytest
import scipy.special
import tensorflow as tf

from clion_tf.learning.noise import GivenNoise, SeededNoise, key

KINDS = ["normal", "uniform", "gumbel"]


def values(kind, seed=(1, 2), purpose="posterior", shape=(100,)):
    return getattr(SeededNoise(tf.constant(seed)), kind)(purpose, shape).numpy()


@pytest.mark.parametrize("kind", KINDS)
def test_same_seed_and_purpose_is_the_same_noise(kind):
    found = values(kind)
    assert found.dtype == np.float32 and found.shape == (100,)
    np.testing.assert_array_equal(found, values(kind))


@pytest.mark.parametrize("kind", KINDS)
def test_the_global_seed_has_no_part(kind):
    tf.random.set_seed(1)
    first = values(kind)
    tf.random.set_seed(2)
    np.testing.assert_array_equal(first, values(kind))


@pytest.mark.parametrize("kind", KINDS)
def test_other_seeds_and_purposes_give_unrelated_noise(kind):
    size = (10_000,)
    draws = [values(kind, (1, 2), "posterior", size), values(kind, (1, 2), "imagined_state", size)]
    draws += [values(kind, (1, 3), "posterior", size), values(kind, (2, 2), "posterior", size)]
    correlation = np.corrcoef(draws)
    np.testing.assert_allclose(correlation, np.eye(4), atol=0.04)


def test_the_order_of_purposes_has_no_part():
    noise = SeededNoise(tf.constant([1, 2]))
    noise.normal("decoding", [3])
    noise.uniform("posterior", [3])
    np.testing.assert_array_equal(noise.normal("posterior", [100]), values("normal"))


def test_updates_of_one_run_have_unrelated_noise():
    first, second = (
        SeededNoise(tf.constant(key(0, "update", update))).normal("posterior", [10_000])
        for update in (0, 1)
    )
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.04


def test_moments_of_normal_noise():
    x = values("normal", shape=(200, 200))
    # Mean, variance, third and fourth moment of a standard normal: 0, 1, 0, 3.
    moments = [np.mean(np.float64(x) ** n) for n in (1, 2, 3, 4)]
    np.testing.assert_allclose(moments, [0, 1, 0, 3], atol=0.1)


def test_uniform_noise_fills_minus_1_to_1():
    x = values("uniform", shape=(40_000,))
    assert x.min() >= -1 and x.max() < 1
    np.testing.assert_allclose(np.histogram(x, 4, (-1, 1))[0] / x.size, 0.25, atol=0.01)


def test_moments_of_gumbel_noise():
    x = values("gumbel", shape=(40_000,))
    assert np.all(np.isfinite(x))
    np.testing.assert_allclose(x.mean(), np.euler_gamma, atol=0.03)
    np.testing.assert_allclose(x.var(), np.pi**2 / 6, atol=0.06)


def test_the_arg_max_of_logits_and_gumbel_noise_is_a_categorical_sample():
    logits = np.array([0.0, 1.0, -1.0, 0.5])
    winners = np.argmax(logits + values("gumbel", shape=(40_000, 4)), -1)
    frequencies = np.bincount(winners, minlength=4) / winners.size
    np.testing.assert_allclose(frequencies, scipy.special.softmax(logits), atol=0.01)


@pytest.mark.parametrize("kind", KINDS)
def test_given_noise_is_zero_unless_given(kind):
    noise = GivenNoise({"posterior": tf.constant([1.0, 2.0, 3.0, 4.0])})
    np.testing.assert_array_equal(getattr(noise, kind)("posterior", [2, 2]), [[1, 2], [3, 4]])
    np.testing.assert_array_equal(getattr(noise, kind)("decoding", [2, 3]), np.zeros([2, 3]))
    np.testing.assert_array_equal(getattr(GivenNoise(), kind)("posterior", [2]), [0, 0])


def test_given_noise_is_float32_and_of_the_asked_size():
    noise = GivenNoise({"posterior": np.ones([2, 2], np.float64)})
    assert noise.normal("posterior", [4]).dtype == tf.float32
    with pytest.raises(tf.errors.InvalidArgumentError):
        noise.normal("posterior", [3])


def test_keys_differ_for_seeds_streams_and_counters():
    # Updates have a number; a policy's steps have an episode and a step.
    steps = list(itertools.product(range(6), range(6)))
    counters = {"update": [(n,) for n in range(20)], "train": steps, "test": steps}
    keys = [
        tuple(key(seed, stream, *counter))
        for seed in (0, 1, 7)
        for stream, each in counters.items()
        for counter in each
    ]
    assert len(keys) == 3 * (20 + 36 + 36)
    assert len(set(keys)) == len(keys)


def test_a_key_is_a_stateless_seed_and_reproducible():
    found = key(3, "update", 5)
    assert found.dtype == np.int32 and found.shape == (2,)
    np.testing.assert_array_equal(found, key(3, "update", 5))
    tf.random.stateless_normal([2], found)
