"""The trajectory evaluator's pairs and losses (eq. 4)."""

import math
import types

import numpy as np
import pytest
import tensorflow as tf
from draws import normal
from tensorflow_probability import distributions as tfd

from clion_tf.config import Config
from clion_tf.learning import evaluator
from clion_tf.learning.noise import GivenNoise
from clion_tf.models.rssm import RSSM

ACTIONS, EMBED, STOCH, DETER = 2, 4, 3, 5
FEAT = STOCH + DETER


@pytest.fixture(scope="module")
def rssm():
    return RSSM(ACTIONS, EMBED, STOCH, DETER, hidden=6, seed=1)


def sequence(rssm, batch, length):
    """(posterior, prior, action) of random inputs, [batch, length, ...]."""
    action = normal(batch, length, ACTIONS, seed=1)
    embed, noise = normal(batch, length, EMBED, seed=2), normal(batch, length, STOCH, seed=3)
    return *rssm.observe(embed, action, noise), action


def one_by_one(rssm, post, action, noise, steps):
    """Features before and after each fake transition, one sequence and one step at a time."""
    batch, length = action.shape[:2]
    before, after = np.zeros((2, batch, length - 1, FEAT), np.float32)
    for b in range(batch):
        for roll, t0 in enumerate(range(0, length - 1, steps)):
            state = {key: value[b : b + 1, t0] for key, value in post.items()}
            for k in range(min(steps, length - 1 - t0)):
                t = t0 + k
                before[b, t] = rssm.get_feat(state)[0]
                state = rssm.img_step(state, action[b : b + 1, t + 1], noise[k, b, roll][None])
                after[b, t] = rssm.get_feat(state)[0]
    return before, after


# Losses of the evaluator.

# Scores 1/2 and 3/4 for two real transitions, 1/5 for one fake.
REAL, FAKE = tf.constant([0.0, math.log(3.0)]), tf.constant([-math.log(4.0)])


def test_difference_by_hand():
    # mean fake - mean real = 1/5 - 5/8
    found = evaluator.evaluator_difference(REAL, FAKE)
    np.testing.assert_allclose(found, 0.2 - 0.625, rtol=1e-5)


def test_cross_entropy_by_hand():
    # -(ln 1/2 + ln 3/4) / 2 - ln(1 - 1/5)
    expected = -(math.log(0.5) + math.log(0.75)) / 2 - math.log(0.8)
    np.testing.assert_allclose(evaluator.evaluator_bce(REAL, FAKE), expected, rtol=1e-5)


def test_cross_entropy_of_extreme_logits_is_finite():
    found = evaluator.evaluator_bce(tf.constant([-300.0]), tf.constant([200.0]))
    np.testing.assert_allclose(found, 500.0, rtol=1e-6)


# Transitions.


def roll_starts(post, steps):
    """The states at 0, K, 2K, ..., but for the last."""
    return {key: value[:, :-1:steps] for key, value in post.items()}


def test_transitions_are_state_action_state():
    s, h, a, next_s, next_h = (tf.fill([2, 3, n], float(n)) for n in (1, 2, 3, 4, 5))
    rows = evaluator.transitions(tf.concat([s, h], -1), a, tf.concat([next_s, next_h], -1))
    expected = np.repeat([1.0, 2.0, 3.0, 4.0, 5.0], [1, 2, 3, 4, 5])
    np.testing.assert_array_equal(rows, np.broadcast_to(expected, [2, 3, 15]))


@pytest.mark.parametrize(
    ("length", "steps"),
    [(7, 3), (7, 2), (6, 3), (5, 4), (4, 6), (2, 1), (5, 1)],
    ids=["divides", "divides3", "remainder", "one_roll", "longer_than_data", "shortest", "one"],
)
def test_overshoot_is_rolls_from_every_kth_posterior(rssm, length, steps):
    batch = 3
    post, _, action = sequence(rssm, batch, length)
    noise = normal(steps, batch, math.ceil((length - 1) / steps), STOCH, seed=4)
    start = roll_starts(post, steps)
    before, after = evaluator.overshoot(rssm, start, action, noise)
    expected_before, expected_after = one_by_one(rssm, post, action, noise, steps)
    assert before.shape == after.shape == (batch, length - 1, FEAT)
    np.testing.assert_allclose(before, expected_before, atol=1e-5)
    np.testing.assert_allclose(after, expected_after, atol=1e-5)


def test_overshoot_of_one_step_gives_the_priors(rssm):
    batch, length = 2, 4
    post, prior, action = sequence(rssm, batch, length)
    noise = tf.zeros([1, batch, length - 1, STOCH])
    start = roll_starts(post, 1)
    before, after = evaluator.overshoot(rssm, start, action, noise)
    np.testing.assert_allclose(before, rssm.get_feat(post)[:, :-1], atol=1e-6)
    np.testing.assert_allclose(after, rssm.get_feat(prior)[:, 1:], atol=1e-5)


def test_overshoot_sees_no_image_within_a_roll(rssm):
    batch, length, steps = 2, 5, 2
    post, _, action = sequence(rssm, batch, length)
    noise = normal(steps, batch, 2, STOCH)
    # Posteriors at 1, 3 and 4 are no start of a roll.
    blind = {k: tf.where([[[True], [False], [True], [False], [False]]], v, 0.0)
             for k, v in post.items()}  # fmt: skip
    found, other = (
        evaluator.overshoot(rssm, roll_starts(x, steps), action, noise) for x in (post, blind)
    )
    np.testing.assert_array_equal(found, other)


def judged(rssm, length, objective="difference", overshoot=2, start="posterior", **others):
    """What an evaluator is shown by `evaluator.loss`: its inputs, and what went in."""
    shown = []

    def judge(rows):
        shown.append(rows)
        return tfd.Bernoulli(rows[..., 0])

    batch = 3
    post, _, action = sequence(rssm, batch, length)
    options = {"evaluator_objective": objective, "overshoot": overshoot, "overshoot_from": start}
    steps = min(overshoot, length - 1)
    rolls = math.ceil((length - 1) / steps)
    noise = normal(steps, batch, rolls, STOCH, seed=4)
    models = types.SimpleNamespace(rssm=rssm, evaluator=judge)
    moved = {
        "overshoot_start_deter": normal(batch, rolls, DETER, seed=5),
        "overshoot_start_stoch": normal(batch, rolls, STOCH, seed=6),
    }
    given = GivenNoise({"overshoot": noise, **moved})
    out = evaluator.loss(models, Config(**options, **others), post, action, given)
    return shown, out, (post, action, noise, steps, moved)


@pytest.mark.parametrize(("length", "steps"), [(5, 2), (4, 15)])
def test_a_fake_stands_beside_the_real_transition_of_the_same_action(rssm, length, steps):
    (real, fake), _, (post, action, noise, steps, _) = judged(rssm, length, overshoot=steps)
    feat = rssm.get_feat(post)
    before, after = one_by_one(rssm, post, action, noise, steps)
    # The recorded action[t + 1] leads from z_t to z_{t+1}.
    for rows in (real, fake):
        np.testing.assert_array_equal(rows[..., FEAT : FEAT + ACTIONS], action[:, 1:])
    np.testing.assert_array_equal(real[..., :FEAT], feat[:, :-1])
    np.testing.assert_array_equal(real[..., FEAT + ACTIONS :], feat[:, 1:])
    np.testing.assert_allclose(fake[..., :FEAT], before, atol=1e-5)
    np.testing.assert_allclose(fake[..., FEAT + ACTIONS :], after, atol=1e-5)


@pytest.mark.parametrize("sigma2", [-1.0, 0.25])
@pytest.mark.parametrize("units", ["absolute", "relative"])
def test_fakes_start_at_noised_posteriors(rssm, units, sigma2):
    options = {"sigma1": 0.5, "sigma2": sigma2, "sigma_units": units}
    (real, fake), _, (post, action, noise, steps, moved) = judged(
        rssm, 6, overshoot=3, start="augmented", **options
    )
    np.testing.assert_array_equal(real[..., :FEAT], rssm.get_feat(post)[:, :-1])
    deter = post["deter"].numpy()
    unit = np.sqrt(deter.reshape(-1, DETER).var(0).mean()) if units == "relative" else 1.0
    noised = {key: value.numpy() for key, value in post.items()}
    for roll, t0 in enumerate((0, 3)):
        spread = noised["std"][:, t0] if sigma2 < 0 else sigma2
        deter_noise, stoch_noise = (x[:, roll].numpy() for x in moved.values())
        noised["deter"][:, t0] = deter[:, t0] + 0.5 * unit * deter_noise
        noised["stoch"][:, t0] = noised["mean"][:, t0] + spread * stoch_noise
    noised = {key: tf.constant(value) for key, value in noised.items()}
    before, after = one_by_one(rssm, noised, action, noise, steps)
    np.testing.assert_allclose(fake[..., :FEAT], before, atol=1e-5)
    np.testing.assert_allclose(fake[..., FEAT + ACTIONS :], after, atol=1e-5)


@pytest.mark.parametrize("objective", ["difference", "bce"])
def test_both_kinds_of_fakes_stand_side_by_side_in_the_mean(rssm, objective):
    options = {"sigma1": 0.5}
    each = {
        kind: judged(rssm, 6, objective, 3, start=kind, **options)
        for kind in ("posterior", "augmented", "both")
    }
    shown = {kind: rows for kind, (rows, _, _) in each.items()}
    np.testing.assert_array_equal(
        shown["both"][1], tf.concat([shown["posterior"][1], shown["augmented"][1]], 0)
    )
    loss = {kind: float(out.loss) for kind, (_, out, _) in each.items()}
    assert loss["posterior"] != loss["augmented"]
    mean = (loss["posterior"] + loss["augmented"]) / 2  # The real ones' part is the same.
    assert loss["both"] == pytest.approx(mean, rel=1e-5)


@pytest.mark.parametrize("objective", ["difference", "bce"])
def test_the_objective_is_chosen_by_name(rssm, objective):
    (real, fake), out, _ = judged(rssm, 5, objective)
    function = getattr(evaluator, f"evaluator_{objective}")
    expected = function(real[..., 0], fake[..., 0])
    np.testing.assert_allclose(out.loss, expected, rtol=1e-6)


def test_the_evaluators_inputs_carry_no_gradient(rssm):
    with tf.GradientTape() as tape:
        (real, fake), _, _ = judged(rssm, 4)
        total = tf.reduce_sum(real) + tf.reduce_sum(fake)
    weights = [variable.value for variable in rssm.trainable_variables]
    assert tape.gradient(total, weights) == [None] * len(weights)
