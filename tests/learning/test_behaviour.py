"""Actor and critic losses on weighted returns (eqs. 8 and 9)."""

import math

import numpy as np
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from clion_tf.learning import behaviour
from clion_tf.learning.behaviour import actor_loss

# [H-1, N] = [3, 2]
RETURNS = tf.constant([[3.0, 2.0], [1.0, 1.0], [0.0, 5.0]])
VALUE = tf.constant([[1.0, 2.0], [0.0, -1.0], [2.0, 4.0]])
DISCOUNT = tf.constant([[1.0, 1.0], [0.5, 0.5], [0.5, 0.0]])
WEIGHT = tf.constant([[2.0, 0.5], [1.0, 0.5], [1.5, 0.5]])
ONES = tf.ones_like(RETURNS)
CONSTANT = 0.5 * math.log(2 * math.pi)


def value_loss(value, *others):
    """Of the critic's unit-variance Gaussians around `value`."""
    return behaviour.value_loss(tfd.Normal(value, 1.0), *others)


def gradients(loss, inputs):
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        value = loss(*inputs)
    return tape.gradient(value, inputs)


def test_actor_loss_by_hand():
    # w * discount * V: 6, 1; 0.5, 0.25; 0, 0. Sum 7.75 over 6.
    np.testing.assert_allclose(actor_loss(RETURNS, DISCOUNT, WEIGHT), -7.75 / 6, rtol=1e-6)


def test_value_loss_by_hand():
    # w * discount:      2, 0.5; 0.5, 0.25; 0.75, 0          sum 4
    # (V - v)^2 / 2:     2, 0;   0.5, 2;    2, 0.5
    # products:          4, 0;   0.25, 0.5; 1.5, 0           sum 6.25
    expected = (6.25 + 4 * CONSTANT) / 6
    np.testing.assert_allclose(value_loss(VALUE, RETURNS, DISCOUNT, WEIGHT), expected, rtol=1e-6)


def test_uniform_weights_are_the_unweighted_losses():
    unweighted = -tf.reduce_mean(DISCOUNT * RETURNS)
    np.testing.assert_allclose(actor_loss(RETURNS, DISCOUNT, ONES), unweighted, rtol=1e-6)
    each = 0.5 * tf.square(VALUE - RETURNS) + CONSTANT
    unweighted = tf.reduce_mean(DISCOUNT * each)
    np.testing.assert_allclose(value_loss(VALUE, RETURNS, DISCOUNT, ONES), unweighted, rtol=1e-6)


def test_value_loss_is_half_the_squared_error_and_a_constant():
    def without_constant(value):
        return float(value_loss(value, RETURNS, ONES, ONES)) - CONSTANT

    for value in (VALUE, RETURNS, VALUE - 3.0):
        half = 0.5 * np.mean(np.square(value - RETURNS))
        np.testing.assert_allclose(without_constant(value), half, rtol=1e-5, atol=1e-6)


def test_value_loss_moves_values_and_nothing_else():
    value, *others = gradients(value_loss, [VALUE, RETURNS, DISCOUNT, WEIGHT])
    expected = WEIGHT * DISCOUNT * (VALUE - RETURNS) / 6
    np.testing.assert_allclose(value, expected, rtol=1e-6)
    returns, _, weight = others
    assert returns is None and weight is None


def test_actor_loss_moves_the_returns():
    returns, _, weight = gradients(actor_loss, [RETURNS, DISCOUNT, WEIGHT])
    np.testing.assert_allclose(returns, -WEIGHT * DISCOUNT / 6, rtol=1e-6)
    # The weights too: whether they carry a gradient is for --weight_gradient to say.
    np.testing.assert_allclose(weight, -RETURNS * DISCOUNT / 6, rtol=1e-6)
