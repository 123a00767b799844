"""What networks return: TensorFlow Probability's distributions, as SciPy and NumPy have them."""

import math

import numpy as np
import pytest
import scipy.integrate
import scipy.special
import scipy.stats
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from clion_tf.learning.noise import SeededNoise
from clion_tf.models.decoder import (
    Decoder,
    ImageNormal,
    UnitNormal,
    VectorDecoder,
    squared_distance,
)
from clion_tf.models.distributions import OneHot, TanhNormal
from clion_tf.models.encoder import pack
from clion_tf.models.heads import ActionHead, DenseHead
from clion_tf.models.rssm import RSSM


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


# What each network returns, in 16 bits too.

FEAT = tf.constant(draw(2, 3, 8, seed=1))


@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16", "mixed_float16"])
@pytest.mark.parametrize(
    ("make", "kind", "batch", "event"),
    [
        (lambda dtype: DenseHead("a", 8, 2, 4, dtype=dtype), tfd.Normal, [2, 3], []),
        (lambda dtype: DenseHead("b", 8, 2, 4, "binary", dtype=dtype), tfd.Bernoulli, [2, 3], []),
        (lambda dtype: Decoder(8, 2, dtype=dtype), tfd.Independent, [2, 3], [64, 64, 3]),
        (lambda dtype: VectorDecoder(8, 4, 5, dtype=dtype), tfd.Independent, [2, 3], [5]),
        (lambda dtype: ActionHead(8, 2, 4, dtype=dtype), tfd.TransformedDistribution, [6], [2]),
        (lambda dtype: ActionHead(8, 3, 4, True, dtype=dtype), tfd.OneHotCategorical, [6], [3]),
    ],
    ids=["normal", "binary", "decoder", "vector decoder", "actor", "discrete actor"],
)  # fmt: skip
def test_distributions_of_networks(make, kind, batch, event, dtype):
    network = make(dtype)
    feat = tf.cast(FEAT, network.compute_dtype)
    found = network(tf.reshape(feat, [*batch, 8]))
    assert isinstance(found, kind)
    assert found.batch_shape == batch and found.event_shape == event
    log_prob = found.log_prob(tf.zeros([*batch, *event]))
    assert log_prob.shape == batch and log_prob.dtype == tf.float32
    assert np.all(np.isfinite(log_prob))


@pytest.mark.parametrize("network", [DenseHead("reward", 8, 2, 4), VectorDecoder(8, 4, 5)])
def test_gaussians_of_networks_have_unit_variance(network):
    dist = network(FEAT)
    mean = dist.mode()
    value = tf.constant(draw(*mean.shape, seed=2))
    axes = tuple(range(2, mean.shape.rank))
    expected = scipy.stats.norm.logpdf(value, mean).sum(axes)
    np.testing.assert_allclose(dist.log_prob(value), expected, rtol=1e-5)


@pytest.mark.parametrize("target", [0.0, 1.0])
def test_binary_heads_are_bernoulli(target):
    dist = DenseHead("evaluator", 8, 2, 4, "binary")(FEAT)
    expected = scipy.stats.bernoulli.logpmf(target, scipy.special.expit(dist.logits))
    np.testing.assert_allclose(dist.log_prob(tf.fill([2, 3], target)), expected, rtol=1e-5)
    np.testing.assert_allclose(dist.mean(), scipy.special.expit(dist.logits), rtol=1e-5)


def test_a_binary_head_takes_soft_targets():
    head = DenseHead("pcont", 8, 2, 4, "binary")
    head.hout.kernel.assign(tf.zeros([4, 1]))
    # 0.99 * ln(1/2) + 0.01 * ln(1/2), and 0.99 * ln(3/4) + 0.01 * ln(1/4)
    for logit, expected in (
        (0.0, math.log(0.5)),
        (math.log(3.0), 0.99 * math.log(0.75) + 0.01 * math.log(0.25)),
    ):
        head.hout.bias.assign([logit])
        np.testing.assert_allclose(head(FEAT).log_prob(tf.fill([2, 3], 0.99)), expected, rtol=1e-5)


# The image's density, of our own.


def of_images(dist, image, mean):
    """The log-probability [2, 3] and its gradients for a given upstream."""
    with tf.GradientTape() as tape:
        tape.watch([image, mean])
        found = dist(mean).log_prob(image)
    upstream = tf.constant(draw(2, 3, seed=3))
    return found, *tape.gradient(found, [image, mean], output_gradients=upstream)


def image_normal(mean):
    return ImageNormal(pack(mean))


@pytest.mark.parametrize("ours", [image_normal, lambda mean: UnitNormal(mean, 3)])
def test_density_of_images_is_tensorflow_probabilitys(ours):
    image, mean = (tf.constant(draw(2, 3, 6, 4, 3, seed=seed)) for seed in (1, 2))
    expected = of_images(lambda m: tfd.Independent(tfd.Normal(m, 1.0), 3), image, mean)
    np.testing.assert_allclose(
        expected[0], scipy.stats.norm.logpdf(image, mean).sum((2, 3, 4)), rtol=1e-5
    )
    for one, other in zip(of_images(ours, image, mean), expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5)


def test_density_of_images_in_half_precision_is_float32():
    mean = tf.zeros([1, 1, 1, 1])
    found = UnitNormal(mean, 3).log_prob(tf.cast(tf.fill([1, 1, 1, 1], 0.001), tf.float32))
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


def test_squared_distance_of_half_precision_is_float32():
    found = squared_distance(tf.constant([[0.001]]), tf.zeros([1, 1], tf.bfloat16), 1)
    assert found.dtype == tf.float32
    np.testing.assert_allclose(found, [1e-6], rtol=1e-6)


# Gaussian states.


def state(mean, std):
    return RSSM.get_dist({"mean": tf.constant(mean), "std": tf.constant(std)})


def test_kl_is_the_integral():
    # In one dimension: the integral of p (log p - log q).
    x = np.linspace(-15, 15, 200_001)
    for mean, std, mean2, std2 in [(0.5, 0.7, -0.3, 1.2), (-1.0, 1.5, 0.5, 0.4)]:
        p = scipy.stats.norm.logpdf(x, mean, std)
        integrand = np.exp(p) * (p - scipy.stats.norm.logpdf(x, mean2, std2))
        found = tfd.kl_divergence(state([mean], [std]), state([mean2], [std2]))
        np.testing.assert_allclose(found, scipy.integrate.trapezoid(integrand, x), rtol=1e-5)


def test_kl_is_summed_over_the_last_axis_only():
    mean, mean2 = draw(2, 3, 4, seed=1), draw(2, 3, 4, seed=2)
    std, std2 = np.exp(draw(2, 3, 4, seed=3)), np.exp(draw(2, 3, 4, seed=4))
    each = np.log(std2 / std) + (std**2 + (mean - mean2) ** 2) / (2 * std2**2) - 0.5
    found = tfd.kl_divergence(state(mean, std), state(mean2, std2))
    np.testing.assert_allclose(found, each.sum(-1), rtol=1e-4)


def test_kl_of_a_distribution_to_itself_is_0():
    mean, std = draw(5, seed=1), np.exp(draw(5, seed=2))
    found = tfd.kl_divergence(state(mean, std), state(mean, std))
    np.testing.assert_allclose(found, 0.0, atol=1e-6)


def test_entropy_of_a_state_is_scipys():
    mean, std = draw(2, 3, 4), np.exp(draw(2, 3, 4))
    expected = scipy.stats.norm.entropy(scale=std).sum(-1)
    np.testing.assert_allclose(state(mean, std).entropy(), expected, rtol=1e-5)


# TanhNormal.

LIMIT = math.atanh(1 - 2**-24)  # As what saturated actions count, before tanh.
MEAN, STD = tf.constant([[0.3, -1.0], [0.0, 2.0]]), tf.constant([[0.8, 0.3], [1.5, 1.0]])


def test_tanh_normal_samples_are_tanh_of_gaussian_samples():
    noise = draw(4, 2, 2)
    expected = np.tanh(MEAN + STD * noise)
    np.testing.assert_allclose(TanhNormal(MEAN, STD).sample_from(noise), expected, rtol=1e-5)


def test_tanh_normal_samples_let_the_gradient_through():
    mean, std, noise = tf.constant([[0.3]]), tf.constant([[0.8]]), tf.constant([[0.5]])
    with tf.GradientTape() as tape:
        tape.watch([mean, std])
        sample = TanhNormal(mean, std).sample_from(noise)
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
    found = TanhNormal(tf.constant([[mean]]), tf.constant([[std]])).entropy_from(noise)
    np.testing.assert_allclose(tf.reduce_mean(found), integral, rtol=2e-3)


def test_tanh_normal_entropy_of_saturated_samples():
    # tanh(20) is 1 in float32, where log(1 - tanh^2) would be infinite.
    mean, std = tf.constant([[20.0, -20.0]]), tf.constant([[0.5, 0.5]])
    found = TanhNormal(mean, std).entropy_from(tf.zeros([1, 2]))
    expected = -tanh_normal_density([20.0, -20.0], mean, std).sum()
    np.testing.assert_allclose(found, [expected], rtol=1e-5)


def test_densest_is_each_rows_own_best_sample():
    noise = draw(7, 2, 2, seed=0)
    x = MEAN + STD * noise
    log_density = tanh_normal_density(x, MEAN, STD).sum(-1)
    best = log_density.argmax(0)
    assert best[0] != best[1]
    expected = np.tanh([x[best[0], 0], x[best[1], 1]])
    found = TanhNormal(MEAN, STD).densest_from(noise)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_densest_is_dense_in_actions_and_not_before_tanh():
    # The second sample is further from the mean, but tanh crowds the actions there.
    noise = tf.constant([[[0.0]], [[1.0]]])
    found = TanhNormal(tf.constant([[1.0]]), tf.constant([[1.0]])).densest_from(noise)
    np.testing.assert_allclose(found, [[math.tanh(2.0)]], rtol=1e-6)


def test_densest_takes_saturated_actions_as_just_inside():
    # Before tanh, 15 is denser in actions than 9; as actions both are 1, so the others decide.
    x = np.array([[9.0, 1.25], [15.0, 1.0]])
    assert tanh_normal_density(x, 0.0, 5.0).sum(-1).argmax() == 1
    assert tanh_normal_density(np.minimum(x, LIMIT), 0.0, 5.0).sum(-1).argmax() == 0
    policy = TanhNormal(tf.zeros([1, 2]), tf.fill([1, 2], 5.0))
    found = policy.densest_from(tf.constant(x[:, None] / 5.0, tf.float32))
    np.testing.assert_allclose(found, [[1.0, math.tanh(1.25)]], rtol=1e-6)


def test_the_mean_action_is_tanh_of_the_mean():
    np.testing.assert_allclose(TanhNormal(MEAN, STD).mean_action(), np.tanh(MEAN), rtol=1e-6)


# OneHot.

LOGITS = tf.constant([[0.0, 1.0, -1.0], [2.0, 0.5, 0.0]])
PROBS = scipy.special.softmax(LOGITS.numpy(), -1)


def test_one_hot_samples_follow_the_probabilities():
    noise = SeededNoise(tf.constant([1, 2])).gumbel("action", [20_000, 2, 3])
    sample = OneHot(LOGITS).sample_from(noise).numpy()
    assert sample.shape == (20_000, 2, 3)
    np.testing.assert_array_equal(np.sort(sample, -1)[..., :-1], 0.0)
    np.testing.assert_array_equal(sample.max(-1), 1.0)
    np.testing.assert_allclose(sample.mean(0), PROBS, atol=0.015)


def test_one_hot_samples_have_the_probabilities_gradient():
    factor, noise = draw(2, 3, seed=1), draw(2, 3, seed=2)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(LOGITS)
        policy = OneHot(LOGITS)
        of_sample = tf.reduce_sum(factor * policy.sample_from(noise))
        of_probs = tf.reduce_sum(factor * tf.nn.softmax(LOGITS))
    found = tape.gradient(of_sample, LOGITS)
    assert np.max(np.abs(found)) > 0.1
    np.testing.assert_allclose(found, tape.gradient(of_probs, LOGITS), rtol=1e-5)


def test_one_hot_log_prob_is_of_the_chosen_action():
    action = tf.one_hot([[2, 0], [1, 2]], 3)
    expected = np.log([[PROBS[0, 2], PROBS[1, 0]], [PROBS[0, 1], PROBS[1, 2]]])
    np.testing.assert_allclose(OneHot(LOGITS).log_prob(action), expected, rtol=1e-5)


def test_one_hot_entropy_is_scipys():
    found = OneHot(LOGITS).entropy_from(tf.zeros([2, 3]))
    np.testing.assert_allclose(found, scipy.stats.entropy(PROBS, axis=-1), rtol=1e-5)


@pytest.mark.parametrize("how", ["mode", "mean action", "densest", "sample of no noise"])
def test_one_hot_most_probable_action(how):
    policy = OneHot(LOGITS)
    found = {
        "mode": policy.mode,
        "mean action": policy.mean_action,
        "densest": lambda: policy.densest_from(tf.constant(10 * draw(5, 2, 3))),
        "sample of no noise": lambda: policy.sample_from(tf.zeros([2, 3])),
    }[how]()
    np.testing.assert_allclose(found, [[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]], atol=1e-6)


# Compiled.


def quantities(mean, std, mean2, logits, noise, gumbel):
    """What an update asks of distributions, by name; [4, 3] each."""
    normal, other = (RSSM.get_dist({"mean": m, "std": std}) for m in (mean, mean2))
    tanh, one_hot, bernoulli = TanhNormal(mean, std), OneHot(logits), tfd.Bernoulli(logits)
    return {
        "kl": tfd.kl_divergence(normal, other),
        "normal log_prob": normal.log_prob(noise),
        "normal entropy": normal.entropy(),
        "images": ImageNormal(tf.reshape(mean, [1, 1, 1, 12])).log_prob(tf.ones([1, 2, 2, 3])),
        "bernoulli": bernoulli.log_prob(tf.fill([4, 3], 0.99)),
        "tanh sample": tanh.sample_from(noise),
        "tanh entropy": tanh.entropy_from(noise),
        "tanh log_prob": tanh.log_prob(0.9 * tf.tanh(noise)),
        "tanh densest": tanh.densest_from(tf.stack([noise, -noise])),
        "one-hot sample": one_hot.sample_from(gumbel),
        "one-hot entropy": one_hot.entropy_from(gumbel),
        "one-hot log_prob": one_hot.log_prob(tf.one_hot([0, 1, 2, 0], 3)),
    }


@pytest.mark.parametrize("jit", [False, True], ids=["graph", "XLA"])
def test_compiled_values_and_gradients_are_the_same(jit):
    inputs = [tf.constant(draw(4, 3, seed=seed)) for seed in range(6)]
    inputs[1] = tf.exp(inputs[1])
    upstream = tf.constant(draw(12, seed=6))

    def run(*inputs):
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(inputs)
            found = quantities(*inputs)
        none = tf.UnconnectedGradients.ZERO
        return found, {
            name: tape.gradient(
                value, inputs[:4], tf.reshape(upstream[: tf.size(value)], value.shape), none
            )
            for name, value in found.items()
        }

    expected, expected_gradients = run(*inputs)
    found, gradients = tf.function(run, jit_compile=jit, autograph=False)(*inputs)
    assert found.keys() == expected.keys()
    for name in expected:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-4, atol=1e-6, err_msg=name)
        assert any(np.any(gradient != 0) for gradient in expected_gradients[name]), name
        for one, other in zip(gradients[name], expected_gradients[name], strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-5, err_msg=name)
