"""DrQ's networks: sizes, first weights, and the squashed Gaussian."""

import drq_numpy
import numpy as np
import pytest
import tensorflow as tf
from drq_agents import ACTIONS, tiny_agent, weights
from scipy import integrate

from clion_tf.agents.drq.drq_networks import (
    LOG_STD,
    Encoder,
    LayerNorm,
    Models,
    bounded_log_std,
)
from clion_tf.config import Config
from clion_tf.models.distributions import TanhNormal


def test_sizes_of_the_paper():
    encoder = Encoder(84, 9, 32)
    assert encoder.size == 35 * 35 * 32
    assert encoder(np.zeros((2, 84, 84, 9), np.uint8)).shape == (2, encoder.size)


def test_kernels_start_orthogonal_and_biases_at_zero():
    for name, value in weights(tiny_agent()).items():
        if name.endswith("/kernel"):
            matrix = value.reshape(-1, value.shape[-1])
            matrix = matrix if len(matrix) >= matrix.shape[1] else matrix.T
            gain = 2.0 if value.ndim == 4 else 1.0
            expected = gain * np.eye(matrix.shape[1])
            np.testing.assert_allclose(matrix.T @ matrix, expected, atol=1e-5, err_msg=name)
        elif name.endswith("/bias"):
            assert not value.any(), name


def test_weights_come_from_the_seed():
    first, again, other = (weights(tiny_agent(seed=seed)) for seed in (0, 0, 1))
    for name in first:
        np.testing.assert_array_equal(first[name], again[name])
    assert not np.array_equal(first["critic/q1_h0/kernel"], other["critic/q1_h0/kernel"])
    assert not np.array_equal(first["critic/q1_h0/kernel"], first["critic/q2_h0/kernel"])


def test_targets_start_as_copies():
    values = weights(tiny_agent())
    for name in [n for n in values if n.startswith("target_")]:
        np.testing.assert_array_equal(values[name], values[name.removeprefix("target_")])


def test_layer_norm():
    layer, x = LayerNorm(), np.random.default_rng(0).normal(3, 2, (4, 5)).astype(np.float32)
    layer.build(x.shape)
    layer.gain.assign([1, 2, 3, 4, 5])
    layer.bias.assign([5, 4, 3, 2, 1])
    normal = (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + 1e-5)
    np.testing.assert_allclose(layer(x), normal * [1, 2, 3, 4, 5] + [5, 4, 3, 2, 1], rtol=1e-5)


def test_outputs_are_numpys():
    agent, random = tiny_agent(), np.random.default_rng(0)
    models, w = agent.models, weights(agent)
    image = random.integers(0, 256, (3, 19, 19, 9), dtype=np.uint8)
    action, eps = random.uniform(-1, 1, (3, ACTIONS)), random.normal(size=(3, ACTIONS))
    features = drq_numpy.encoder(w, "encoder", image)
    np.testing.assert_allclose(models.encoder(image), features, rtol=1e-5, atol=1e-6)
    found = models.critic(tf.constant(features, tf.float32), tf.constant(action, tf.float32))
    for one, expected in zip(found, drq_numpy.q_values(w, "critic", features, action), strict=True):
        np.testing.assert_allclose(one, expected, rtol=1e-4, atol=1e-5)
    policy = models.actor(tf.constant(features, tf.float32))
    expected_action, log_prob = drq_numpy.act(w, features, eps)
    eps = tf.constant(eps, tf.float32)
    np.testing.assert_allclose(policy.sample_from(eps), expected_action, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(-policy.entropy_from(eps), log_prob, rtol=1e-3, atol=1e-4)


def test_log_std_stays_in_its_bounds():
    found = bounded_log_std(tf.constant([-1e6, 0.0, 1e6])).numpy()
    np.testing.assert_allclose(found, [LOG_STD[0], sum(LOG_STD) / 2, LOG_STD[1]])


@pytest.mark.parametrize("mean, std", [(0.0, 0.5), (0.7, 1.0), (-1.5, 0.2)])
def test_the_squashed_density_integrates_to_one(mean, std):
    policy = TanhNormal(tf.constant([[mean]]), tf.constant([[std]]))

    def density(action):
        eps = tf.constant([[(np.arctanh(action) - mean) / std]], tf.float32)
        return float(tf.exp(-policy.entropy_from(eps))[0])

    total, _ = integrate.quad(density, -0.999, 0.999, limit=60, epsabs=1e-3)
    assert total == pytest.approx(1.0, abs=0.02)


def test_parameters_of_the_papers_sizes():
    models = Models(Config(), 6)
    count = {n: sum(int(np.prod(v.shape)) for part in p for v in part.trainable_variables)
             for n, p in models.trained_by().items()}  # fmt: skip
    convolutions = 9 * 32 * (9 + 3 * 32) + 4 * 32
    projection = 39200 * 50 + 50 + 100
    mlp = lambda inputs, outputs: inputs * 1024 + 1024**2 + 1024 * outputs + 2 * 1024 + outputs  # noqa: E731
    assert count == {
        "critic": convolutions + projection + 2 * mlp(56, 1),
        "actor": projection + mlp(50, 12),
        "temperature": 1,
    }
