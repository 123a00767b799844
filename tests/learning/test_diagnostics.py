"""Numbers about weights and scores, computed by hand."""

import types

import numpy as np
import pytest
import tensorflow as tf

from clion_tf.learning import update_metrics


def imagined(weight, logit, horizon):
    """Of `BehaviourLosses` what is read, with two original trajectories."""
    action = tf.zeros([horizon, weight.shape[1], 1])
    return types.SimpleNamespace(weight=weight, logit=logit, originals=2, action=action)


def judged(real, fake):
    """Of `EvaluatorLoss` what is read."""
    return types.SimpleNamespace(real_logit=real, fake_logit=fake)


def test_weights_by_step_and_by_origin():
    """Two steps, two original trajectories, one augmented."""
    weight = tf.constant([[1.0, 3.0, 0.5], [0.5, 0.5, 0.5]])
    three = float(np.log(3.0))  # A score of 3/4.
    logit = tf.constant([[0.0, three, -three], [three, three, 0.0]])
    found = update_metrics.weights_by_step(imagined(weight, logit, 2))
    assert found["original"]["mean"] == [2.0, 0.5]
    assert found["augmented"]["mean"] == [0.5, 0.5]
    assert found["original"]["quantiles"]["0.5"] == [2.0, 0.5]
    assert found["original"]["quantiles"]["0.25"] == [1.5, 0.5]
    assert found["largest"] == 3.0
    assert found["augmented_share"] == pytest.approx(1 / 6)
    assert found["augmented_share_by_step"] == pytest.approx([1 / 9, 1 / 3])
    assert found["original"]["score"] == pytest.approx([5 / 8, 3 / 4])
    assert found["augmented"]["score"] == pytest.approx([1 / 4, 1 / 2])
    assert found["first_step"] == 0
    assert found["effective_sample_size"] == pytest.approx(36 / (6 * 11))


def test_weights_of_an_update_by_hand():
    """The same weights; an update tells the largest, and the augmented share of the first row."""
    weight = tf.constant([[1.0, 3.0, 0.5], [0.5, 0.5, 0.5]])
    scores = judged(tf.zeros([1, 1]), tf.zeros([1, 1]))
    scores.loss = tf.constant(2.0)
    found = update_metrics.evaluator(scores, imagined(weight, tf.zeros_like(weight), 2))
    assert float(found["evaluator/weight_max"]) == 3.0
    assert float(found["evaluator/weight_augmented"]) == pytest.approx(1 / 6)
    assert float(found["evaluator/weight_augmented_first"]) == pytest.approx(1 / 9)
    assert float(found["evaluator/weight_ess"]) == pytest.approx(36 / 66)
    assert float(found["evaluator/evaluator_loss"]) == 2.0


def test_entropies_and_divergences_by_hand():
    """Standard deviations of 1 and e in S dimensions: their entropies differ by S nats."""
    size, zeros = 3, tf.zeros([2, 4, 3])
    prior, post = ({"mean": zeros, "std": tf.ones_like(zeros) * std} for std in (1.0, np.e))
    distance = tf.constant([[1.0, 3.0]])
    constraint = types.SimpleNamespace(loss=tf.constant(0.5), distance=distance)
    terms = {"image": tf.constant(7.0), "reward": tf.constant(8.0), "kl": tf.constant(9.0)}
    world = types.SimpleNamespace(
        terms=terms, loss=tf.constant(24.0), clipped_kl=tf.constant(3.0), kl=tf.constant(1.0),
        prior=prior, post=post, image_embed=tf.constant([[[3.0, 4.0]]]), embedding=constraint,
        decoding=None,
    )  # fmt: skip
    found = {name: float(value) for name, value in update_metrics.model(world).items()}
    entropy = size * 0.5 * np.log(2 * np.pi * np.e)
    assert found == pytest.approx(
        {
            "model/model_loss": 24.0, "model/image_loss": 7.0, "model/reward_loss": 8.0,
            "model/div": 3.0, "model/kl": 1.0, "model/prior_ent": entropy,
            "model/post_ent": entropy + size, "model/embed_norm": 5.0,
            "model/embedding_constraint": 0.5, "model/embedding_distance": 2.0,
        }
    )  # fmt: skip


def test_weights_without_augmentation():
    found = update_metrics.weights_by_step(imagined(tf.ones([3, 2]), tf.zeros([3, 2]), 4))
    assert "augmented" not in found and found["first_step"] == 1
    assert found["augmented_share"] == 0.0
    assert found["effective_sample_size"] == pytest.approx(1.0)


def test_means_of_what_is_imagined_are_of_original_trajectories():
    """As Dreamer's are; the augmented one, the last, is worth 100."""
    rows = tf.constant([[1.0, 3.0, 100.0], [2.0, 4.0, 100.0]])
    losses = dict.fromkeys(("actor_loss", "value_loss"), tf.constant(0.0))
    losses["entropy"] = tf.constant([1.0, -4.0])  # Of the original ones alone.
    found = update_metrics.behaviour(
        types.SimpleNamespace(**losses, originals=2, reward=rows, value=2 * rows, returns=rows[:1])
    )
    told = [found[f"behaviour/{name}"] for name in ("imagined_reward", "imagined_value")]
    assert [*map(float, told), float(found["behaviour/lambda_return"])] == [2.5, 5.0, 2.0]
    assert float(found["behaviour/action_ent"]) == -1.5


def test_scores_by_bin_and_by_age():
    """Rolls of two steps over four transitions: ages 1, 2, 1, 2."""
    large = 50.0
    real = tf.constant([[large, 0.0, large, 0.0]])
    fake = tf.constant([[0.0, -large, 0.0, -large], [0.0, large, 0.0, large]])
    found = update_metrics.scores_by_age(judged(real, fake), steps=2)
    assert len(found["bins"]) == update_metrics.BINS + 1
    assert found["real"]["by_age"] == pytest.approx([1.0, 0.5])
    assert found["fake"]["by_age"] == pytest.approx([0.5, 0.5])
    assert found["real"]["mean"] == pytest.approx(0.75)
    middle = np.digitize(0.5, found["bins"]) - 1
    assert found["real"]["share"][-1] == 0.5 and found["real"]["share"][middle] == 0.5
    assert found["fake"]["share"][0] == 0.25 and found["fake"]["share"][middle] == 0.5
    assert sum(found["fake"]["share"]) == pytest.approx(1.0)


def test_scores_of_rolls_longer_than_the_sequence():
    found = update_metrics.scores_by_age(judged(tf.zeros([1, 3]), tf.zeros([1, 3])), steps=15)
    assert found["real"]["by_age"] == [0.5, 0.5, 0.5]


def test_scores_in_half_precision():
    logit = tf.constant([[-60000.0, 60000.0]], tf.float16)
    found = update_metrics.scores_by_age(judged(logit, logit), steps=15)
    assert found["real"]["by_age"] == [0.0, 1.0]


def test_accuracy_and_scores_by_hand():
    three = float(np.log(3.0))  # A score of 3/4.
    real, fake = tf.constant([[three, three, three, -three]]), tf.constant([[-three] * 4])
    found = update_metrics.scores(judged(real, fake))
    assert float(found["evaluator_accuracy"]) == 0.875  # (3/4 + 1) / 2
    assert float(found["evaluator_real"]) == pytest.approx(0.625)
    assert float(found["evaluator_fake"]) == pytest.approx(0.25)
