"""Imagined trajectories and the actor's gradient, against a plain loop."""

import numpy as np
import pytest
import tensorflow as tf
from draws import normal as draw

from clion_tf.learning.imagination import imagine
from clion_tf.models.heads import ActionHead
from clion_tf.models.layers import ACTIVATIONS, watching
from clion_tf.models.rssm import RSSM

HORIZON, COUNT, ACTIONS, STOCH, DETER = 4, 5, 2, 3, 6
FEAT = STOCH + DETER


@pytest.fixture(autouse=True, params=[16, 0], ids=["written out", "loop"])
def both_kinds_of_recurrence(request, monkeypatch):
    monkeypatch.setattr("clion_tf.models.scan.WRITTEN_OUT", request.param)


def case(act="elu", discrete=False, dtype="float32"):
    """What `imagine` takes; random biases too, so that none of them can be lost unseen."""
    kwargs = {"act": ACTIVATIONS[act], "dtype": dtype}
    rssm = RSSM(ACTIONS, 4, STOCH, DETER, 7, **kwargs)
    actor = ActionHead(FEAT, ACTIONS, 8, discrete, **kwargs)
    for i, variable in enumerate([*rssm.trainable_variables, *actor.trainable_variables]):
        variable.assign(0.5 * draw(*variable.shape, seed=i))
    sizes = {"mean": STOCH, "std": STOCH, "stoch": STOCH, "deter": DETER}
    start = {key: draw(COUNT, n, seed=i) for i, (key, n) in enumerate(sizes.items())}
    start["deter"] = tf.cast(start["deter"], rssm.compute_dtype)
    noises = draw(HORIZON, COUNT, ACTIONS, seed=8), draw(HORIZON, COUNT, STOCH, seed=9)
    return rssm, actor, start, *noises


def plain(rssm, actor, state, action_noise, state_noise):
    """What `imagine` says, step by step."""
    feats, actions, entropies = [], [], []
    for t in range(HORIZON):
        policy = actor(tf.stop_gradient(rssm.get_feat(state)))
        entropies.append(policy.entropy_from(action_noise[t]))
        actions.append(policy.sample_from(action_noise[t]))
        state = rssm.img_step(state, actions[-1], state_noise[t])
        feats.append(rssm.get_feat(state))
    return tf.stack(feats), tf.stack(actions), entropies[0]


def run(how, rssm, actor, *rest):
    """What `how` imagines, and the gradients of the actor's weights."""
    with watching([actor]) as tape:
        found = how(rssm, actor, *rest)
        feat = tf.cast(found[0], tf.float32)
        # Later steps hang on earlier actions: the factors differ from step to step.
        loss = tf.reduce_sum(draw(*feat.shape, seed=10) * tf.square(feat))
        loss += tf.reduce_sum(draw(HORIZON, COUNT, ACTIONS, seed=11) * found[1])
    return found, tape.gradient(loss, [v.value for v in actor.trainable_variables])


def assert_near(found, expected, tolerance):
    found, expected = (tf.cast(x, tf.float32).numpy() for x in (found, expected))
    assert np.any(expected != 0)
    np.testing.assert_allclose(found, expected, atol=tolerance * np.max(np.abs(expected)))


@pytest.mark.parametrize("discrete", [False, True], ids=["continuous", "discrete"])
@pytest.mark.parametrize("act", ACTIVATIONS)
def test_actors_gradient_is_that_of_a_plain_loop(act, discrete):
    given = case(act, discrete)
    expected, expected_gradients = run(plain, *given)
    found, gradients = run(imagine, *given)
    for one, other in zip(found, expected, strict=True):
        assert one.shape == other.shape
        assert_near(one, other, 1e-5)
    for one, other in zip(gradients, expected_gradients, strict=True):
        assert_near(one, other, 1e-5)


def test_actors_gradient_in_a_graph():
    given = case()
    _, expected = run(plain, *given)
    _, found = tf.function(lambda: run(imagine, *given), autograph=False)()
    for one, other in zip(found, expected, strict=True):
        assert_near(one, other, 1e-5)


def test_actors_gradient_in_bfloat16():
    given = case(dtype="mixed_bfloat16")
    (_, expected), (_, found) = run(plain, *given), run(imagine, *given)
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == tf.float32
        assert_near(one, other, 0.05)


def test_the_world_model_gets_no_gradient():
    rssm, actor, *given = case()
    frozen, trained = ([v.value for v in net.trainable_variables] for net in (rssm, actor))

    def gradients():
        with tf.GradientTape() as tape:
            tape.watch(frozen)
            feat, action, _ = imagine(rssm, actor, *given)
            loss = tf.reduce_sum(feat) + tf.reduce_sum(action)
        return tape.gradient(loss, [*frozen, *trained])

    for found in (gradients(), tf.function(gradients, autograph=False)()):
        # A loop in a graph gives zeros instead of none.
        assert not any(np.any(each) for each in found[: len(frozen)] if each is not None)
        assert all(np.any(each != 0) for each in found[len(frozen) :])
