"""Start points of imagination: flattened posteriors and augmented copies of them (eq. 3)."""

import numpy as np
import pytest
import tensorflow as tf
from small_agents import ACTIONS, tiny_agent

from clion_tf.learning import behaviour, evaluator
from clion_tf.learning.augmentation import augment, flatten, memory_unit, noisy_memory
from clion_tf.learning.noise import GivenNoise, SeededNoise

STOCH, DETER = 2, 3


def start_points(count, dtype=tf.float32):
    """`count` states whose sample lies far from their mean."""
    rng = np.random.default_rng(count)
    mean = rng.normal(size=(count, STOCH))
    parts = {
        "mean": mean,
        "std": rng.uniform(0.5, 2.0, size=(count, STOCH)),
        "stoch": mean + 100.0,
        "deter": rng.uniform(-1, 1, size=(count, DETER)),
    }
    return {k: tf.constant(v, dtype if k == "deter" else tf.float32) for k, v in parts.items()}


def noises(copies, count, seed=0):
    """Standard normal (deter, stoch) noise, float32."""
    rng = np.random.default_rng(seed)
    sizes = (DETER, STOCH)
    return [tf.constant(rng.normal(size=(copies, count, n)), tf.float32) for n in sizes]


def test_flatten_is_batch_major():
    batch, length = 2, 3
    index = tf.reshape(tf.range(batch * length * STOCH), [batch, length, STOCH])
    flat = flatten({"stoch": index, "deter": index[..., :1]})
    assert flat["stoch"].shape == (6, STOCH) and flat["deter"].shape == (6, 1)
    # Row 4 is sequence 1, step 1.
    np.testing.assert_array_equal(flat["stoch"][4], index[1, 1])
    np.testing.assert_array_equal(flat["stoch"][2], index[0, 2])


def test_no_copies_is_the_start_points():
    start = start_points(4)
    found = augment(start, 0, *noises(0, 4), 0.1, -1.0)
    assert found.keys() == start.keys()
    for key, value in start.items():
        np.testing.assert_array_equal(found[key], value)


def test_originals_come_first_then_copy_by_copy():
    count, copies = 4, 2
    start, (deter_noise, stoch_noise) = start_points(count), noises(copies, count)
    found = augment(start, copies, deter_noise, stoch_noise, 0.25, 0.5)
    for key, value in start.items():
        assert found[key].shape == (3 * count, value.shape[-1])
        np.testing.assert_array_equal(found[key][:count], value)
    for copy in range(copies):
        rows = slice((1 + copy) * count, (2 + copy) * count)
        deter = start["deter"] + 0.25 * deter_noise[copy]
        stoch = start["mean"] + 0.5 * stoch_noise[copy]
        np.testing.assert_allclose(found["deter"][rows], deter, rtol=1e-6)
        np.testing.assert_allclose(found["stoch"][rows], stoch, rtol=1e-6)
        for key in ("mean", "std"):
            np.testing.assert_array_equal(found[key][rows], start[key])


def test_a_negative_sigma2_is_the_posteriors_own_standard_deviation():
    start, (deter_noise, stoch_noise) = start_points(4), noises(1, 4)
    found = augment(start, 1, deter_noise, stoch_noise, 0.1, -1.0)
    expected = start["mean"] + start["std"] * stoch_noise[0]
    np.testing.assert_allclose(found["stoch"][4:], expected, rtol=1e-6)


def test_sigma2_of_0_is_no_spread():
    start = start_points(4)
    found = augment(start, 1, *noises(1, 4), 0.1, 0.0)
    np.testing.assert_array_equal(found["stoch"][4:], start["mean"])


def test_sigma1_of_0_leaves_h():
    start = start_points(4)
    found = augment(start, 2, *noises(2, 4), 0.0, -1.0)
    np.testing.assert_array_equal(found["deter"], np.tile(start["deter"], [3, 1]))


def test_memory_keeps_its_type():
    start = start_points(4, tf.bfloat16)
    found = augment(start, 1, *noises(1, 4), 0.1, -1.0)
    assert found["deter"].dtype == tf.bfloat16
    assert found["stoch"].dtype == tf.float32


def test_moments_of_many_copies():
    copies, start, noise = 20_000, start_points(2), SeededNoise(tf.constant([1, 2]))
    deter_noise = noise.normal("augment_deter", [copies, 2, DETER])
    stoch_noise = noise.normal("augment_stoch", [copies, 2, STOCH])
    found = augment(start, copies, deter_noise, stoch_noise, 0.1, -1.0)
    # [copies, start point, dimension] without the originals.
    deter = found["deter"].numpy()[2:].reshape(copies, 2, DETER)
    stoch = found["stoch"].numpy()[2:].reshape(copies, 2, STOCH)
    np.testing.assert_allclose(deter.mean(0), start["deter"], atol=0.005)
    np.testing.assert_allclose(deter.std(0), 0.1, rtol=0.03)
    np.testing.assert_allclose(stoch.mean(0), start["mean"], atol=0.08)
    np.testing.assert_allclose(stoch.std(0), start["std"], rtol=0.03)
    both = np.concatenate([deter, stoch], -1)
    correlation = np.corrcoef(both.reshape(copies, -1), rowvar=False)
    np.testing.assert_allclose(correlation, np.eye(len(correlation)), atol=0.04)


@pytest.mark.parametrize("pcont", ["True", "False"])
def test_starts_and_fakes_have_noise_in_one_unit(pcont):
    agent = tiny_agent(sigma_units="relative", sigma1=0.5, augmentations=1, pcont=pcont)
    config, models, rssm = agent.config, agent.models, agent.models.rssm
    batch, length = config.batch_size, config.batch_length
    states = models.rssm.initial(batch * length)
    deter = np.random.default_rng(0).uniform(-1, 1, states["deter"].shape)
    states["deter"] = tf.constant(deter, tf.float32)
    post = {key: tf.reshape(value, [batch, length, -1]) for key, value in states.items()}
    expected = 0.5 * np.sqrt(deter.var(0).mean())
    starts = batch * (length - 1 if pcont == "True" else length)
    rolls = -(-(length - 1) // config.overshoot)
    noise = GivenNoise({
        "augment_deter": tf.ones([1, starts, rssm.deter_size]),
        "overshoot_start_deter": tf.ones([batch, rolls, rssm.deter_size]),
    })  # fmt: skip
    start, originals = behaviour.start_points(models, config, post, noise)
    moved = start["deter"][originals:] - start["deter"][:originals]
    np.testing.assert_allclose(moved, np.full(moved.shape, expected), rtol=1e-5)
    action = tf.zeros([batch, length, ACTIONS])
    [(before, _)] = evaluator.fakes(rssm, config, post, action, noise)
    moved = before[:, 0, rssm.stoch_size :] - post["deter"][:, 0]
    np.testing.assert_allclose(moved, np.full(moved.shape, expected), rtol=1e-5)


# Noise on the memory alone, and its units.


def state(batch=2, length=3, dtype=tf.float32):
    """A posterior with other numbers in every part: [batch, length, ...]."""
    rng = np.random.default_rng(0)
    sizes = {"mean": 4, "std": 4, "stoch": 4, "deter": 5}
    parts = {k: rng.normal(size=(batch, length, n)) for k, n in sizes.items()}
    return {k: tf.constant(v, dtype if k == "deter" else tf.float32) for k, v in parts.items()}


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
    relative, absolute = (
        noisy_memory(post, noise, 0.5 * memory_unit(deter, u)) for u in ("relative", "absolute")
    )
    np.testing.assert_array_equal(relative["deter"], absolute["deter"])


def test_the_unit_carries_no_gradient():
    deter = state()["deter"]
    with tf.GradientTape() as tape:
        tape.watch(deter)
        unit = memory_unit(deter, "relative")
        noisy = noisy_memory({"deter": deter}, tf.ones_like(deter), 2.0 * unit)
    np.testing.assert_array_equal(tape.gradient(noisy["deter"], deter), tf.ones_like(deter))
