"""The world model's networks: RSSM (eq. 1), sizes and first weights."""

import keras
import numpy as np
import pytest
import scipy.special
import tensorflow as tf
from draws import draw

from clion_tf.agents.clion import Agent
from clion_tf.config import Config
from clion_tf.models import Models
from clion_tf.models.rssm import RSSM
from clion_tf.replay.observation_shapes import PIXELS

ACTIONS, EMBED, STOCH, DETER, HIDDEN, MIN_STD = 2, 4, 3, 5, 6, 0.25
BATCH, LENGTH = 2, 4
PARTS = {"mean": STOCH, "std": STOCH, "stoch": STOCH, "deter": DETER}
SMALL = {"deter_size": 8, "stoch_size": 4, "hidden_size": 8, "num_units": 8, "cnn_depth": 2}


@pytest.fixture(scope="module")
def rssm():
    """An RSSM with random biases too, so that none of them can be lost unseen."""
    result = RSSM(ACTIONS, EMBED, STOCH, DETER, HIDDEN, MIN_STD, seed=1)
    for index, variable in enumerate(result.trainable_variables):
        variable.assign(0.7 * draw(*variable.shape, seed=index))
    return result


@pytest.fixture(scope="module")
def inputs():
    """embed, action and noise, [BATCH, LENGTH, ...]."""
    sizes = (EMBED, ACTIONS, STOCH)
    return [tf.constant(draw(BATCH, LENGTH, n, seed=i)) for i, n in enumerate(sizes)]


def some_state(batch=BATCH):
    parts = {key: draw(batch, n, seed=i) for i, (key, n) in enumerate(PARTS.items())}
    return {key: tf.constant(value) for key, value in parts.items()}


def assert_same(found, expected, atol=1e-5):
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        np.testing.assert_allclose(found[key], value, atol=atol, err_msg=key)


# The same in NumPy.


def elu(x):
    return np.where(x > 0, x, np.expm1(np.minimum(x, 0)))


def dense(layer, x):
    return x @ layer.kernel.numpy() + layer.bias.numpy()


def gru(cell, x, h):
    """A gated recurrent unit, reset gate after the product: z, r and the candidate in a row."""
    bias_x, bias_h = cell.bias.numpy()
    from_x = np.split(x @ cell.kernel.numpy() + bias_x, 3, -1)
    from_h = np.split(h @ cell.recurrent_kernel.numpy() + bias_h, 3, -1)
    update, reset = (scipy.special.expit(from_x[i] + from_h[i]) for i in (0, 1))
    candidate = np.tanh(from_x[2] + reset * from_h[2])
    return update * h + (1 - update) * candidate


def sampled(raw, deter, noise):
    mean, raw_std = np.split(raw, 2, -1)
    std = np.log1p(np.exp(raw_std)) + MIN_STD
    return {"mean": mean, "std": std, "stoch": mean + std * noise, "deter": deter}


def memory(rssm, state, action):
    inputs = np.concatenate([state["stoch"], action], -1)
    return gru(rssm.gru, elu(dense(rssm.img1, inputs)), state["deter"].numpy())


def test_img_step_is_a_gru_and_two_dense_layers(rssm):
    state, action, noise = some_state(), draw(BATCH, ACTIONS), draw(BATCH, STOCH, seed=9)
    deter = memory(rssm, state, action)
    raw = dense(rssm.img3, elu(dense(rssm.img2, deter)))
    assert_same(rssm.img_step(state, tf.constant(action), noise), sampled(raw, deter, noise))


def test_obs_step_adds_the_image_to_the_memory(rssm):
    state, action, noise = some_state(), draw(BATCH, ACTIONS), draw(BATCH, STOCH, seed=9)
    embed = draw(BATCH, EMBED, seed=8)
    post, prior = rssm.obs_step(state, tf.constant(action), tf.constant(embed), noise)
    deter = memory(rssm, state, action)
    raw = dense(rssm.obs2, elu(dense(rssm.obs1, np.concatenate([deter, embed], -1))))
    assert_same(post, sampled(raw, deter, noise))
    # The prior is what img_step says without noise.
    assert_same(prior, rssm.img_step(state, tf.constant(action), tf.zeros([BATCH, STOCH])))


# Sequences.


@pytest.mark.parametrize("given", [False, True], ids=["from zeros", "from a state"])
def test_observe_is_obs_step_over_time(rssm, inputs, given):
    start = some_state() if given else None
    post, prior = rssm.observe(*inputs, start)
    zeros = {key: tf.zeros([BATCH, n]) for key, n in PARTS.items()}
    state = some_state() if given else zeros
    embed, action, noise = inputs
    for t in range(LENGTH):
        state, expected_prior = rssm.obs_step(state, action[:, t], embed[:, t], noise[:, t])
        assert_same({key: value[:, t] for key, value in post.items()}, state)
        assert_same({key: value[:, t] for key, value in prior.items()}, expected_prior)


def test_observe_starts_each_step_from_the_disturbed_state(rssm, inputs):
    embed, action, noise = inputs
    added = tf.constant(draw(*embed.shape[:2], rssm.deter_size, seed=5))
    moved = lambda state, x: {**state, "deter": state["deter"] + x}  # noqa: E731
    post, _ = rssm.observe(embed, action, noise, disturb=moved, disturbances=[added])
    state = rssm.initial(embed.shape[0])
    for t in range(embed.shape[1]):
        start = moved(state, added[:, t])
        state, _ = rssm.obs_step(start, action[:, t], embed[:, t], noise[:, t])
        for key, value in state.items():
            np.testing.assert_allclose(post[key][:, t], value, rtol=1e-5, atol=1e-6)


def test_imagine_is_img_step_over_time(rssm, inputs):
    _, action, noise = inputs
    states = rssm.imagine(action, some_state(), noise)
    state = some_state()
    for t in range(LENGTH):
        state = rssm.img_step(state, action[:, t], noise[:, t])
        assert_same({key: value[:, t] for key, value in states.items()}, state)


def test_the_initial_state_is_zeros(rssm):
    state = rssm.initial(3)
    assert state.keys() == PARTS.keys()
    for key, size in PARTS.items():
        np.testing.assert_array_equal(state[key], np.zeros([3, size]))


def test_features_are_s_and_then_h(rssm):
    state = some_state()
    assert rssm.feat_size == STOCH + DETER
    expected = np.concatenate([state["stoch"], state["deter"]], -1)
    np.testing.assert_array_equal(rssm.get_feat(state), expected)


def test_no_standard_deviation_is_below_the_minimum(inputs):
    rssm = RSSM(ACTIONS, EMBED, STOCH, DETER, HIDDEN, MIN_STD)
    for layer in (rssm.img3, rssm.obs2):
        layer.bias.assign(tf.fill([2 * STOCH], -100.0))
    for state in rssm.observe(*inputs):
        np.testing.assert_allclose(state["std"], np.full([BATCH, LENGTH, STOCH], MIN_STD))


# Sizes and first weights.


def test_parameter_counts_are_the_original_dreamers():
    counts = Agent(Config(evaluator=False), action_size=6).parameter_counts()
    assert counts == {"model": 5_296_820, "actor": 578_412, "value": 413_601}


def small(dtype="float32", **options):
    """Networks of all kinds."""
    config = Config(**{**SMALL, "pcont": "True", **options})
    return Models(config, 2, False, PIXELS, dtype)


def test_the_rssm_is_elu_whatever_the_dense_layers_have():
    # The original builds its RSSM without the option.
    models = small(dense_act="relu")
    assert models.rssm.img1.activation is models.rssm.img2.activation is tf.nn.elu
    assert models.reward.hidden[0].activation is tf.nn.relu


def first_weights(seed=0, **options):
    weights = small(seed=seed, **options).named_weights()
    return {name: variable.numpy() for name, variable in weights.items()}


def test_first_weights_depend_on_the_seed_only():
    keras.utils.set_random_seed(1)
    first = first_weights()
    keras.utils.set_random_seed(2)
    keras.layers.Dense(3).build((None, 3))
    second = first_weights()
    assert first.keys() == second.keys()
    for name, value in first.items():
        np.testing.assert_array_equal(value, second[name], err_msg=name)


def test_first_weights_are_those_of_keras_in_tensorflow_2_2():
    """As the original Dreamer's: Glorot's uniform, an orthogonal recurrence, biases of 0."""
    weights = Models(Config(), 6, False, PIXELS).named_weights()
    for name, weight in ((name, weight.numpy()) for name, weight in weights.items()):
        if name.endswith("bias"):
            assert not weight.any(), name
        elif name.endswith("recurrent_kernel"):
            np.testing.assert_allclose(weight @ weight.T, np.eye(len(weight)), atol=1e-5)
        else:  # Keras counts the pixels of a filter to both sides.
            limit = np.sqrt(6 / (np.prod(weight.shape[:-2]) * sum(weight.shape[-2:])))
            assert 0.98 * limit < np.abs(weight).max() <= limit, name
            assert weight.std() == pytest.approx(limit / np.sqrt(3), rel=0.05), name


def test_first_weights_differ_between_seeds():
    first, other = first_weights(), first_weights(seed=1)
    for name, value in first.items():
        assert np.array_equal(value, other[name]) == name.endswith("bias"), name


def test_first_weights_do_not_depend_on_the_other_networks():
    full = first_weights()
    bare = first_weights(evaluator=False, pcont="False")
    assert {name.split("/")[0] for name in full.keys() - bare.keys()} == {"evaluator", "pcont"}
    for name, value in bare.items():
        np.testing.assert_array_equal(value, full[name], err_msg=name)


def test_layers_of_one_shape_have_their_own_first_weights():
    weights = first_weights()
    kernels = [value for value in weights.values() if value.shape == (8, 8)]
    assert len(kernels) >= 8
    assert len({kernel.tobytes() for kernel in kernels}) == len(kernels)


# Mixed precision.


def test_mixed_bfloat16_keeps_float32_weights_and_outputs():
    models = small("mixed_bfloat16")
    assert all(v.numpy().dtype == np.float32 for v in models.named_weights().values())
    embed = models.encoder(tf.zeros([2, 3, 64, 64, 3]))
    post, prior = models.rssm.observe(embed, tf.zeros([2, 3, 2]), tf.zeros([2, 3, 4]))
    feat = models.rssm.get_feat(post)
    # It does compute in bfloat16 …
    assert embed.dtype == post["deter"].dtype == feat.dtype == tf.bfloat16
    # … but nothing that a loss reads is of that type.
    policy = models.actor(feat[:, 0])
    before_tanh = policy.distribution
    outputs = [before_tanh.mean(), before_tanh.stddev(), models.decoder(feat).mode()]
    outputs += [head(feat).mean() for head in (models.reward, models.pcont, models.value)]
    rows = tf.concat([feat, tf.zeros([2, 3, 2], tf.bfloat16), feat], -1)
    outputs += [models.evaluator(rows).logits]
    outputs += [state[key] for state in (post, prior) for key in ("mean", "std", "stoch")]
    assert {output.dtype for output in outputs} == {tf.float32}
