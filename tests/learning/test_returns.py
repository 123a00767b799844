"""Lambda-returns and cumulative discounts: by hand, at lambda 0 and 1, and as eqs. 6 and 7."""

import numpy as np
import pytest
import tensorflow as tf

from clion_tf.learning.behaviour import cumulative_discount, lambda_return

REWARD = [1.0, 2.0, 3.0]
VALUE = [10.0, 20.0, 30.0]
PCONT = [0.5, 0.25, 0.75]
BOOTSTRAP = 40.0


def returns_of_one(lambda_):
    """lambda_return of the single trajectory above, [3]."""
    columns = [tf.constant(x)[:, None] for x in (REWARD, VALUE, PCONT)]
    return lambda_return(*columns, tf.constant([BOOTSTRAP]), lambda_).numpy()[:, 0]


def random_trajectories(steps, count, seed=0):
    """reward, value, pcont [steps, count] and bootstrap [count], with some discounts 0 and 1."""
    rng = np.random.default_rng(seed)
    reward, value = rng.normal(size=(2, steps, count))
    pcont = rng.uniform(0.3, 1.0, size=(steps, count))
    pcont[-1, 0], pcont[0, 1] = 0.0, 1.0
    return [x.astype(np.float32) for x in (reward, value, pcont, rng.normal(size=count))]


def mixture(reward, value, pcont, bootstrap, lambda_):
    """Eqs. 6 and 7 as printed, one number at a time, with a discount for each step.

    V^n(tau) adds the rewards from tau up to h = min(tau + n, H), then v_h;
    V_lambda = (1 - lambda) * sum_{n=1}^{H-1} lambda^{n-1} V^n + lambda^{H-1} V^H.
    """
    reward, pcont = np.float64(reward), np.float64(pcont)
    value = np.concatenate([value, bootstrap[None]]).astype(np.float64)
    horizon, count = reward.shape

    def k_step(tau, n, column):
        total, discount = 0.0, 1.0
        end = min(tau + n, horizon)
        for t in range(tau, end):
            total += discount * reward[t, column]
            discount *= pcont[t, column]
        return total + discount * value[end, column]

    result = np.zeros((horizon, count))
    for tau, column in np.ndindex(horizon, count):
        for n in range(1, horizon):
            result[tau, column] += (1 - lambda_) * lambda_ ** (n - 1) * k_step(tau, n, column)
        result[tau, column] += lambda_ ** (horizon - 1) * k_step(tau, horizon, column)
    return result


def test_by_hand():
    # V3 = 3 + 0.75 * (0.5 * 40 + 0.5 * 40)   = 33
    # V2 = 2 + 0.25 * (0.5 * 30 + 0.5 * V3)   = 2 + 0.25 * 31.5     = 9.875
    # V1 = 1 + 0.50 * (0.5 * 20 + 0.5 * V2)   = 1 + 0.50 * 14.9375  = 8.46875
    np.testing.assert_allclose(returns_of_one(0.5), [8.46875, 9.875, 33.0], rtol=1e-6)


def test_lambda_0_is_the_one_step_return():
    # r + p * v of the next state: 1 + 0.5 * 20, 2 + 0.25 * 30, 3 + 0.75 * 40.
    np.testing.assert_allclose(returns_of_one(0.0), [11.0, 9.5, 33.0], rtol=1e-6)


def test_lambda_1_is_the_discounted_sum_and_the_bootstrap():
    # 3 + 0.75 * 40 = 33;  2 + 0.25 * 33 = 10.25;  1 + 0.5 * 10.25 = 6.125: no value but the last.
    np.testing.assert_allclose(returns_of_one(1.0), [6.125, 10.25, 33.0], rtol=1e-6)


def test_cut_at_the_horizon_by_hand_without_discount():
    # Eqs. 6 and 7, lambda = 1/2, H = 3: V^n adds rewards up to h = min(tau + n, 3), then v_h.
    # tau = 0: V^1 = 1 + 20 = 21, V^2 = 1 + 2 + 30 = 33, V^3 = 1 + 2 + 3 + 40 = 46
    #          (1 - 1/2) * (21 + 1/2 * 33) + 1/4 * 46 = 30.25
    # tau = 1: V^1 = 2 + 30 = 32, V^2 = 2 + 3 + 40 = 45, V^3 = 45, cut: step 4 does not exist
    #          (1 - 1/2) * (32 + 1/2 * 45) + 1/4 * 45 = 38.5
    # tau = 2: V^1 = V^2 = V^3 = 3 + 40 = 43, all cut
    columns = [tf.constant(x)[:, None] for x in (REWARD, VALUE, [1.0, 1.0, 1.0])]
    found = lambda_return(*columns, tf.constant([BOOTSTRAP]), 0.5)[:, 0]
    np.testing.assert_allclose(found, [30.25, 38.5, 43.0], rtol=1e-6)
    np.testing.assert_allclose(
        mixture(*(x.numpy() for x in columns), np.float32([BOOTSTRAP]), 0.5)[:, 0], found
    )


@pytest.mark.parametrize("lambda_", [0.0, 0.5, 0.95, 1.0])
def test_without_discount_right_values_leave_nothing_to_mix(lambda_):
    """Rewards 1 and values that count the steps left: every k-step return is the value."""
    value = tf.constant([[14.0], [13.0], [12.0], [11.0]])
    ones = tf.ones_like(value)
    found = lambda_return(ones, value, ones, tf.constant([10.0]), lambda_)
    np.testing.assert_allclose(found, value, rtol=1e-6)


@pytest.mark.parametrize("lambda_", [0.0, 0.5, 0.95, 1.0])
@pytest.mark.parametrize("steps", [1, 2, 5, 14])
def test_is_the_mixture_of_k_step_returns_cut_at_the_horizon(steps, lambda_):
    arrays = random_trajectories(steps, count=3, seed=steps)
    found = lambda_return(*map(tf.constant, arrays), lambda_)
    assert found.shape == (steps, 3)
    np.testing.assert_allclose(found, mixture(*arrays, lambda_), rtol=1e-5, atol=1e-6)


def test_a_discount_of_zero_ends_the_return():
    reward, value, _, bootstrap = map(tf.constant, random_trajectories(4, 2))
    pcont = tf.constant([[0.9, 0.9], [0.0, 0.0], [0.9, 0.9], [0.9, 0.9]])
    later = tf.constant([[0.0], [0.0], [5.0], [5.0]])
    found = lambda_return(reward, value, pcont, bootstrap, 0.95)
    other = lambda_return(reward + later, value + later, pcont, bootstrap + 5.0, 0.95)
    np.testing.assert_array_equal(found[:2], other[:2])
    assert np.all(np.abs(other[2:] - found[2:]) > 1)


def test_the_gradient_reaches_rewards_values_and_discounts():
    inputs = [tf.constant(x) for x in random_trajectories(3, 2)]
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        loss = tf.reduce_sum(lambda_return(*inputs, 0.95))
    for gradient in tape.gradient(loss, inputs):
        assert np.any(np.abs(gradient) > 0.01)


def test_cumulative_discount_by_hand():
    # Steps z_1 ... z_4 have returns at z_1, z_2, z_3: 1, p_1, p_1 * p_2. p_3 and p_4 count nowhere.
    pcont = tf.constant([[0.5, 0.9], [0.25, 1.0], [0.7, 0.7], [0.6, 0.6]])
    found = cumulative_discount(pcont)
    np.testing.assert_allclose(found, [[1.0, 1.0], [0.5, 0.9], [0.125, 0.9]], rtol=1e-6)


def test_cumulative_discount_keeps_a_true_zero():
    pcont = tf.constant([[0.9], [0.0], [0.9], [0.9], [0.9]])
    np.testing.assert_allclose(cumulative_discount(pcont)[:, 0], [1.0, 0.9, 0.0, 0.0], rtol=1e-6)


def test_cumulative_discount_has_no_gradient():
    pcont = tf.constant([[0.5], [0.5], [0.5], [0.5]])
    with tf.GradientTape() as tape:
        tape.watch(pcont)
        loss = tf.reduce_sum(cumulative_discount(pcont))
    assert tape.gradient(loss, pcont) is None
