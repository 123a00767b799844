"""Reliability weights of imagined transitions (eq. 5)."""

import math

import numpy as np
import pytest
import tensorflow as tf
from draws import normal

from clion_tf.learning import weighting


def test_weights_by_hand():
    # sigmoid(0) = 1/2, sigmoid(ln 3) = 3/4, sigmoid(-ln 3) = 1/4: their mean is 1/2.
    logit = tf.constant([[0.0, math.log(3.0), -math.log(3.0)]])
    found = weighting.reliability_weights(logit, ratio=False)
    np.testing.assert_allclose(found, [[1.0, 1.5, 0.5]], rtol=1e-5)


def test_weights_are_their_share_times_their_number():
    logit = 2 * normal(4, 6)
    score = 1 / (1 + np.exp(-logit.numpy().astype(np.float64)))
    found = weighting.reliability_weights(logit, ratio=False)
    assert found.shape == logit.shape
    np.testing.assert_allclose(found, score.size * score / score.sum(), rtol=1e-5)


def test_ratio_weights_are_odds():
    logit = 2 * normal(4, 6)
    odds = np.exp(logit.numpy().astype(np.float64))
    found = weighting.reliability_weights(logit, ratio=True)
    np.testing.assert_allclose(found, odds.size * odds / odds.sum(), rtol=1e-5)


@pytest.mark.parametrize("ratio", [False, True])
@pytest.mark.parametrize("centre", [-200.0, -20.0, 0.0, 3.0])
def test_the_mean_weight_is_1(centre, ratio):
    found = weighting.reliability_weights(centre + normal(14, 30), ratio)
    np.testing.assert_allclose(tf.reduce_mean(found), 1.0, rtol=1e-5)


@pytest.mark.parametrize("ratio", [False, True])
def test_weights_of_hopeless_transitions_do_not_underflow(ratio):
    # Here sigmoid is 0 in float32, but the second is e times as likely real as the first.
    found = weighting.reliability_weights(tf.constant([-200.0, -199.0]), ratio)
    share = 1 / (1 + math.e)
    np.testing.assert_allclose(found, [2 * share, 2 * (1 - share)], rtol=1e-4)


def test_ratio_weights_do_not_overflow():
    found = weighting.reliability_weights(tf.constant([200.0, 200.0 + math.log(3)]), ratio=True)
    np.testing.assert_allclose(found, [0.5, 1.5], rtol=1e-4)


@pytest.mark.parametrize("ratio", [False, True])
@pytest.mark.parametrize("logit", [-200.0, -1.0, 0.0, 50.0])
def test_equal_scores_weigh_1(logit, ratio):
    found = weighting.reliability_weights(tf.fill([3, 4], logit), ratio)
    np.testing.assert_allclose(found, np.ones([3, 4]), rtol=1e-6)


def test_effective_sample_size_by_hand():
    size = weighting.effective_sample_size
    assert float(size(tf.ones([2, 2]))) == 1.0
    assert float(size(tf.constant([[0.0, 4.0], [0.0, 0.0]]))) == 0.25
    # (1 + 3)^2 / (2 * (1 + 9)) = 0.8
    np.testing.assert_allclose(size(tf.constant([1.0, 3.0])), 0.8, rtol=1e-6)


def test_share_of_augmented_trajectories_by_hand():
    weight = tf.constant([[1.0, 3.0, 0.5], [0.5, 0.5, 0.5]])
    np.testing.assert_allclose(weighting.share(weight, 2), 1 / 6, rtol=1e-6)
    np.testing.assert_allclose(weighting.share(weight[:1], 1), 3.5 / 4.5, rtol=1e-6)
