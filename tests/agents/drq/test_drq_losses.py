"""DrQ's equations against numbers computed by hand."""

import numpy as np
import pytest
import tensorflow as tf

from clion_tf.agents.drq import soft_actor_critic


def constants(*values):
    return [tf.constant(value, tf.float32) for value in values]


def test_soft_value():
    q1, q2, log_prob, alpha = constants([3.0, 1.0], [2.0, 4.0], [0.5, -2.0], 0.1)
    # min(3, 2) - 0.05 and min(1, 4) + 0.2
    np.testing.assert_allclose(
        soft_actor_critic.soft_value(q1, q2, log_prob, alpha), [1.95, 1.2], rtol=1e-6
    )


def test_target_is_the_mean_over_augmentations_and_stops_at_the_end():
    reward, discount, value = constants([1.0, 2.0], [0.5, 0.0], [[4.0, 7.0], [6.0, 9.0]])
    # 1 + 0.5 * (4 + 6) / 2, and 2 alone, as its episode terminated.
    np.testing.assert_allclose(soft_actor_critic.target(reward, discount, value), [3.5, 2.0])


def test_critic_loss_adds_critics_and_averages_the_rest():
    q1, q2, y = constants([[1.0, 2.0], [3.0, 4.0]], [[0.0, 0.0], [0.0, 0.0]], [1.0, 2.0])
    # Squares 0 0 4 4 of the first, 1 4 1 4 of the second: 8 / 4 + 10 / 4.
    assert float(soft_actor_critic.critic_loss(q1, q2, y)) == pytest.approx(4.5)


def test_critic_loss_does_not_move_its_target():
    q, y = constants([[1.0]], [2.0])
    with tf.GradientTape() as tape:
        tape.watch([q, y])
        loss = soft_actor_critic.critic_loss(q, q, y)
    by_q, by_y = tape.gradient(loss, [q, y])
    np.testing.assert_allclose(by_q, [[-4.0]])
    assert by_y is None


def test_actor_loss():
    q1, q2, log_prob, alpha = constants([3.0, 1.0], [2.0, 4.0], [0.5, -2.0], 0.1)
    with tf.GradientTape() as tape:
        tape.watch([alpha, log_prob])
        loss = soft_actor_critic.actor_loss(q1, q2, log_prob, alpha)
    by_alpha, by_log_prob = tape.gradient(loss, [alpha, log_prob])
    assert float(loss) == pytest.approx(-(1.95 + 1.2) / 2)
    assert by_alpha is None
    np.testing.assert_allclose(by_log_prob, [0.05, 0.05], rtol=1e-6)


def test_temperature_loss_pulls_the_entropy_to_its_target():
    log_prob, log_alpha = constants([0.5, -2.5], 0.0)
    with tf.GradientTape() as tape:
        tape.watch([log_prob, log_alpha])
        loss = soft_actor_critic.temperature_loss(2.0 * tf.exp(log_alpha), log_prob, -2.0)
    by_log_prob, by_log_alpha = tape.gradient(loss, [log_prob, log_alpha])
    # Entropy 1 is above the target -2: the gradient is positive, alpha falls.
    assert float(loss) == pytest.approx(2 * (1 + 2))
    assert float(by_log_alpha) == pytest.approx(6.0) and by_log_prob is None
