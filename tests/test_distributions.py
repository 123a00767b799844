"""Distributions against SciPy, numeric integration and float64 formulae."""

import math

import numpy as np
import pytest
import scipy.integrate
import scipy.special
import scipy.stats
import tensorflow as tf

from clion_tf.models.distributions import (
    OneHot,
    TanhNormal,
    bernoulli_log_prob,
    kl_diagonal,
    normal_entropy,
    normal_log_prob,
    squared_distance,
)
from clion_tf.noise import SeededNoise


def draw(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def quantiles(count):
    """Standard normal noise [count, 1] without chance: middles of `count` equal slices."""
    return scipy.stats.norm.ppf((np.arange(count) + 0.5) / count).astype(np.float32)[:, None]


def tanh_normal_density(x, mean, std):
    """log-density of tanh(x) in float64: change of variables from the Gaussian, element-wise."""
    x, mean, std = (np.asarray(a, np.float64) for a in (x, mean, std))
    slope = 2 * (math.log(2) - np.abs(x) - np.log1p(np.exp(-2 * np.abs(x))))
    return scipy.stats.norm.logpdf(x, mean, std) - slope


# Gaussians and Bernoulli.


def test_normal_log_prob_is_scipys():
    value, mean = draw(3, 2, seed=1), draw(3, 2, seed=2)
    expected = scipy.stats.norm.logpdf(value, mean)
    np.testing.assert_allclose(normal_log_prob(value, mean), expected, rtol=1e-5)


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_normal_log_prob_is_summed_over_the_event(dims):
    value, mean = draw(2, 3, 4, 5, seed=1), draw(2, 3, 4, 5, seed=2)
    axes = tuple(range(-dims, 0))
    expected = scipy.stats.norm.logpdf(value, mean).sum(axes)
    np.testing.assert_allclose(normal_log_prob(value, mean, dims), expected, rtol=1e-5)


def test_normal_log_prob_of_half_precision_is_float32():
    mean = tf.constant([0.0], tf.bfloat16)
    found = normal_log_prob(tf.constant([0.001]), mean)
    assert found.dtype == tf.float32
    np.testing.assert_allclose(found, scipy.stats.norm.logpdf([0.001]), rtol=1e-6)


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_squared_distance_and_its_gradients(dims):
    a, b = tf.constant(draw(2, 3, 4, 5, seed=1)), tf.constant(draw(2, 3, 4, 5, seed=2))
    upstream = draw(*a.shape[: 4 - dims], seed=3)
    with tf.GradientTape() as tape:
        tape.watch([a, b])
        found = squared_distance(a, b, dims)
    of_a, of_b = tape.gradient(found, [a, b], output_gradients=tf.constant(upstream))
    difference = (a - b).numpy()
    expected = np.sum(difference**2, tuple(range(-dims, 0)))
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    expected = 2 * upstream.reshape([*upstream.shape, *[1] * dims]) * difference
    np.testing.assert_allclose(of_a, expected, rtol=1e-5)
    np.testing.assert_allclose(of_b, -expected, rtol=1e-5)


@pytest.mark.parametrize("target", [0.0, 1.0])
def test_bernoulli_log_prob_is_scipys(target):
    logit = draw(5)
    expected = scipy.stats.bernoulli.logpmf(target, 1 / (1 + np.exp(-logit)))
    found = bernoulli_log_prob(tf.fill([5], target), logit)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_bernoulli_log_prob_takes_soft_targets():
    # 0.99 * ln(1/2) + 0.01 * ln(1/2), and 0.99 * ln(3/4) + 0.01 * ln(1/4)
    found = bernoulli_log_prob(tf.fill([2], 0.99), tf.constant([0.0, math.log(3.0)]))
    second = 0.99 * math.log(0.75) + 0.01 * math.log(0.25)
    np.testing.assert_allclose(found, [math.log(0.5), second], rtol=1e-5)


def test_kl_is_the_integral():
    # In one dimension: the integral of p (log p - log q).
    x = np.linspace(-15, 15, 200_001)
    for mean, std, mean2, std2 in [(0.5, 0.7, -0.3, 1.2), (-1.0, 1.5, 0.5, 0.4)]:
        p = scipy.stats.norm.logpdf(x, mean, std)
        integrand = np.exp(p) * (p - scipy.stats.norm.logpdf(x, mean2, std2))
        found = kl_diagonal(*(tf.constant([v]) for v in (mean, std, mean2, std2)))
        np.testing.assert_allclose(found, scipy.integrate.trapezoid(integrand, x), rtol=1e-5)


def test_kl_is_summed_over_the_last_axis_only():
    mean, mean2 = draw(2, 3, 4, seed=1), draw(2, 3, 4, seed=2)
    std, std2 = np.exp(draw(2, 3, 4, seed=3)), np.exp(draw(2, 3, 4, seed=4))
    each = np.log(std2 / std) + (std**2 + (mean - mean2) ** 2) / (2 * std2**2) - 0.5
    np.testing.assert_allclose(kl_diagonal(mean, std, mean2, std2), each.sum(-1), rtol=1e-4)


def test_kl_of_a_distribution_to_itself_is_0():
    mean, std = draw(5, seed=1), np.exp(draw(5, seed=2))
    np.testing.assert_allclose(kl_diagonal(mean, std, mean, std), 0.0, atol=1e-6)


def test_normal_entropy_is_scipys():
    std = np.exp(draw(2, 3, 4))
    expected = scipy.stats.norm.entropy(scale=std).sum(-1)
    np.testing.assert_allclose(normal_entropy(tf.constant(std)), expected, rtol=1e-5)


# TanhNormal.

LIMIT = math.atanh(1 - 2**-24)  # As what saturated actions count, before tanh.
MEAN, STD = tf.constant([[0.3, -1.0], [0.0, 2.0]]), tf.constant([[0.8, 0.3], [1.5, 1.0]])


def test_tanh_normal_samples_are_tanh_of_gaussian_samples():
    noise = draw(4, 2, 2)
    expected = np.tanh(MEAN + STD * noise)
    np.testing.assert_allclose(TanhNormal(MEAN, STD).sample(noise), expected, rtol=1e-5)


def test_tanh_normal_samples_let_the_gradient_through():
    mean, std, noise = tf.constant([[0.3]]), tf.constant([[0.8]]), tf.constant([[0.5]])
    with tf.GradientTape() as tape:
        tape.watch([mean, std])
        sample = TanhNormal(mean, std).sample(noise)
    slope = 1 - math.tanh(0.3 + 0.8 * 0.5) ** 2
    found = tape.gradient(sample, [mean, std])
    np.testing.assert_allclose([g[0, 0] for g in found], [slope, 0.5 * slope], rtol=1e-5)


@pytest.mark.parametrize(("mean", "std"), [(0.3, 0.8), (-1.0, 0.3), (0.0, 1.5)])
def test_tanh_normal_integrates_to_1(mean, std):
    # Over x with a = tanh(x), da = (1 - a^2) dx, so that the ends are reached evenly.
    x = np.linspace(mean - 6 * std, mean + 6 * std, 20_001)
    x = x[np.abs(x) < 6]
    action = tf.constant(np.tanh(x)[:, None], tf.float32)
    log_prob = TanhNormal(tf.constant([mean]), tf.constant([std])).log_prob(action)
    density = np.exp(np.float64(log_prob)) / np.cosh(x) ** 2
    np.testing.assert_allclose(scipy.integrate.trapezoid(density, x), 1.0, rtol=2e-3)


def test_tanh_normal_log_prob_is_the_change_of_variables():
    action = np.array([[0.5, -0.9], [-0.99, 0.999]], np.float32)
    expected = tanh_normal_density(np.arctanh(np.float64(action)), MEAN, STD).sum(-1)
    found = TanhNormal(MEAN, STD).log_prob(action)
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    # Samples in front of the rows: [K, N, A] -> [K, N].
    assert TanhNormal(MEAN, STD).log_prob(draw(4, 2, 2) / 10).shape == (4, 2)


@pytest.mark.parametrize("side", [1.0, -1.0])
def test_a_saturated_action_counts_as_just_inside(side):
    mean, std = side * 5.0, 1.0
    found = TanhNormal(tf.constant([[mean]]), tf.constant([[std]])).log_prob([[side]])
    x = math.atanh(side * (1 - 2**-24))
    np.testing.assert_allclose(found, [tanh_normal_density(x, mean, std)], rtol=1e-3)


def test_log_prob_of_a_saturated_action_has_a_finite_gradient():
    mean, std = tf.constant([[5.0]]), tf.constant([[1e-4]])
    with tf.GradientTape() as tape:
        tape.watch([mean, std])
        log_prob = TanhNormal(mean, std).log_prob([[1.0]])
    for value in (log_prob, *tape.gradient(log_prob, [mean, std])):
        assert np.all(np.isfinite(value))


@pytest.mark.parametrize(("mean", "std"), [(0.3, 0.8), (-2.0, 1.5), (4.0, 3.0)])
def test_tanh_normal_entropy_is_minus_the_expected_log_density(mean, std):
    noise = quantiles(20_000)
    x = np.linspace(mean - 8 * std, mean + 8 * std, 200_001)
    log_density = tanh_normal_density(x, mean, std)
    integral = -scipy.integrate.trapezoid(scipy.stats.norm.pdf(x, mean, std) * log_density, x)
    found = TanhNormal(tf.constant([[mean]]), tf.constant([[std]])).entropy(noise)
    np.testing.assert_allclose(tf.reduce_mean(found), integral, rtol=2e-3)


def test_tanh_normal_entropy_of_saturated_samples():
    # tanh(20) is 1 in float32, where log(1 - tanh^2) would be infinite.
    mean, std = tf.constant([[20.0, -20.0]]), tf.constant([[0.5, 0.5]])
    found = TanhNormal(mean, std).entropy(tf.zeros([1, 2]))
    expected = -tanh_normal_density([20.0, -20.0], mean, std).sum()
    np.testing.assert_allclose(found, [expected], rtol=1e-5)


def test_densest_is_each_rows_own_best_sample():
    noise = draw(7, 2, 2, seed=0)
    x = MEAN + STD * noise
    log_density = tanh_normal_density(x, MEAN, STD).sum(-1)
    best = log_density.argmax(0)
    assert best[0] != best[1]
    expected = np.tanh([x[best[0], 0], x[best[1], 1]])
    found = TanhNormal(MEAN, STD).densest(noise)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_densest_is_dense_in_actions_and_not_before_tanh():
    # The second sample is further from the mean, but tanh crowds the actions there.
    noise = tf.constant([[[0.0]], [[1.0]]])
    found = TanhNormal(tf.constant([[1.0]]), tf.constant([[1.0]])).densest(noise)
    np.testing.assert_allclose(found, [[math.tanh(2.0)]], rtol=1e-6)


def test_densest_takes_saturated_actions_as_just_inside():
    # Before tanh, 15 is denser in actions than 9; as actions both are 1, so the others decide.
    x = np.array([[9.0, 1.25], [15.0, 1.0]])
    assert tanh_normal_density(x, 0.0, 5.0).sum(-1).argmax() == 1
    assert tanh_normal_density(np.minimum(x, LIMIT), 0.0, 5.0).sum(-1).argmax() == 0
    policy = TanhNormal(tf.zeros([1, 2]), tf.fill([1, 2], 5.0))
    found = policy.densest(tf.constant(x[:, None] / 5.0, tf.float32))
    np.testing.assert_allclose(found, [[1.0, math.tanh(1.25)]], rtol=1e-6)


def test_tanh_normal_mode_is_tanh_of_the_mean():
    np.testing.assert_allclose(TanhNormal(MEAN, STD).mode(), np.tanh(MEAN), rtol=1e-6)


# OneHot.

LOGITS = tf.constant([[0.0, 1.0, -1.0], [2.0, 0.5, 0.0]])
PROBS = scipy.special.softmax(LOGITS.numpy(), -1)


def test_one_hot_samples_follow_the_probabilities():
    noise = SeededNoise(tf.constant([1, 2])).gumbel("action", [20_000, 2, 3])
    sample = OneHot(LOGITS).sample(noise).numpy()
    assert sample.shape == (20_000, 2, 3)
    np.testing.assert_allclose(sample, np.rint(sample), atol=1e-6)
    np.testing.assert_allclose(sample.sum(-1), 1.0, atol=1e-5)
    np.testing.assert_allclose(sample.mean(0), PROBS, atol=0.015)


def test_one_hot_samples_have_the_probabilities_gradient():
    factor, noise = draw(2, 3, seed=1), draw(2, 3, seed=2)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(LOGITS)
        policy = OneHot(LOGITS)
        of_sample = tf.reduce_sum(factor * policy.sample(noise))
        of_probs = tf.reduce_sum(factor * tf.nn.softmax(LOGITS))
    found = tape.gradient(of_sample, LOGITS)
    assert np.max(np.abs(found)) > 0.1
    np.testing.assert_allclose(found, tape.gradient(of_probs, LOGITS), rtol=1e-5)


def test_one_hot_log_prob_is_of_the_chosen_action():
    action = tf.one_hot([[2, 0], [1, 2]], 3)
    expected = np.log([[PROBS[0, 2], PROBS[1, 0]], [PROBS[0, 1], PROBS[1, 2]]])
    np.testing.assert_allclose(OneHot(LOGITS).log_prob(action), expected, rtol=1e-5)


def test_one_hot_entropy_is_scipys():
    found = OneHot(LOGITS).entropy(tf.zeros([2, 3]))
    np.testing.assert_allclose(found, scipy.stats.entropy(PROBS, axis=-1), rtol=1e-5)


@pytest.mark.parametrize("how", ["mode", "densest", "sample of no noise"])
def test_one_hot_most_probable_action(how):
    policy = OneHot(LOGITS)
    found = {
        "mode": policy.mode,
        "densest": lambda: policy.densest(tf.constant(10 * draw(5, 2, 3))),
        "sample of no noise": lambda: policy.sample(tf.zeros([2, 3])),
    }[how]()
    np.testing.assert_allclose(found, [[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]], atol=1e-6)
