"""Clipped Adam, no step on numbers gone bad, loss scaling for float16."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from clion_tf.learning.optimizer import LOSS_SCALE_RANGE, FusedAdam, Optimizer, step_all

RATE, BETA1 = 1e-3, 0.9
# A gradient of norm 13: 3-4-12.
GRADIENTS = [np.array([3.0, 4.0], np.float32), np.array([[12.0]], np.float32)]
BAD = [GRADIENTS[0], np.array([[np.nan]], np.float32)]


def variables():
    first = keras.Variable([1.0, -2.0], name="first")
    return [first, keras.Variable([[0.5]], name="second")]


def optimizer(clip=100.0, scaled=False):
    return Optimizer("value", variables(), RATE, clip, scaled)


def state(opt):
    """Weights, moments, step count and loss scale, copied."""
    named = {**opt.named_state(), **{f"weights/{v.name}": v for v in opt.variables}}
    return {name: variable.numpy() for name, variable in named.items()}


def step(opt, gradients, loss=0.0):
    norms, taken = step_all({"value": opt}, {"value": gradients}, {"value": tf.constant(loss)})
    return norms["value"], taken


def apply(opt, gradients):
    return step(opt, [tf.constant(gradient) for gradient in gradients])


def moments(opt, kind):
    """Adam's `momentum` or `velocity` in the order of the variables."""
    named = opt.named_state()
    return [named[f"value/{name}_{kind}"].numpy() for name in ("first", "second")]


@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize(("clip", "factor"), [(6.5, 0.5), (13.5, 1.0)])
def test_the_gradient_is_clipped_by_its_global_norm(clip, factor, scaled):
    # Adam's first step is the same for any factor on the gradient, so look at the first moment.
    opt = optimizer(clip=clip, scaled=scaled)
    norm, taken = apply(opt, GRADIENTS)
    assert float(norm) == 13.0 and bool(taken)
    for moment, gradient in zip(moments(opt, "momentum"), GRADIENTS, strict=True):
        np.testing.assert_allclose(moment, (1 - BETA1) * gradient * factor, rtol=1e-5)


@pytest.mark.parametrize("scaled", [False, True])
def test_steps_are_adams_with_epsilon_1e_7(scaled):
    # Gradients of epsilon's own size show it; two steps show the correction of the bias.
    opt = optimizer(scaled=scaled)
    x = np.float64(opt.variables[0].numpy())
    m = v = np.zeros(2)
    for step, gradient in enumerate([[1e-7, -3e-7], [2e-7, 1e-7]], start=1):
        apply(opt, [np.array(gradient, np.float32), np.zeros([1, 1], np.float32)])
        g = np.array(gradient)
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
        # Keras, as TF before it, folds the correction into the rate: epsilon stands beside
        # the uncorrected root.
        rate = RATE * np.sqrt(1 - 0.999**step) / (1 - 0.9**step)
        x = x - rate * m / (np.sqrt(v) + 1e-7)
        moved = opt.variables[0].numpy() - [1.0, -2.0]
        np.testing.assert_allclose(moved, x - [1.0, -2.0], rtol=0.02, atol=2e-7)


@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "graph"])
def test_fused_adam_is_kerass(compiled):
    random = np.random.default_rng(0)
    gradients = [[random.normal(size=v.shape) for v in variables()] for _ in range(5)]
    states = []
    for kind in (FusedAdam, keras.optimizers.Adam):
        owned, adam = variables(), kind(0.1, epsilon=1e-7, name="value")
        adam.build(owned)
        step = tf.function(adam.apply, autograph=False) if compiled else adam.apply
        for each in gradients:
            step([tf.constant(gradient, tf.float32) for gradient in each])
        states.append({variable.path: variable.numpy() for variable in [*adam.variables, *owned]})
    fused, expected = states
    assert fused.keys() == expected.keys()
    assert int(fused["value/iteration"]) == 5
    for name, value in expected.items():
        # 1 - 0.999 is 1.3e-5 off in float32, as the fused operation takes it and Keras does not.
        np.testing.assert_allclose(fused[name], value, rtol=2e-5, err_msg=name)


@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_gradient_that_is_not_finite_changes_nothing(bad, scaled):
    opt = optimizer(scaled=scaled)
    apply(opt, GRADIENTS)
    before = state(opt)
    norm, taken = apply(opt, [GRADIENTS[0], np.array([[bad]], np.float32)])
    assert not bool(taken) and not np.isfinite(norm)
    after = state(opt)
    assert before.keys() == after.keys()
    # Of the loss scaling's own bookkeeping see below.
    for name in before.keys() - {"value_scale/dynamic_scale", "value_scale/step_counter"}:
        np.testing.assert_array_equal(after[name], before[name], err_msg=name)


def test_after_a_skipped_step_training_goes_on():
    opt, other = optimizer(), optimizer()
    apply(opt, BAD)
    apply(opt, GRADIENTS)
    apply(other, GRADIENTS)
    for one, expected in zip(opt.variables, other.variables, strict=True):
        np.testing.assert_array_equal(one, expected)


def test_a_step_is_skipped_in_a_graph_too():
    opt = optimizer()
    before = state(opt)
    compiled = tf.function(lambda gradients: step(opt, gradients), autograph=False)
    _, taken = compiled([tf.constant(gradient) for gradient in BAD])
    assert not bool(taken)
    np.testing.assert_equal(state(opt), before)
    _, taken = compiled([tf.constant(gradient) for gradient in GRADIENTS])
    assert bool(taken)
    np.testing.assert_allclose(opt.variables[0].numpy(), [1.0 - RATE, -2.0 - RATE], rtol=1e-5)


@pytest.mark.parametrize("scaled", [False, True])
def test_moments_are_made_when_they_are_needed_also_within_a_graph(scaled):
    made = []
    monitor = lambda make, **how: made.append(make(**how)) or made[-1]  # noqa: E731
    owned = variables()
    with tf.variable_creator_scope(monitor):
        opt = Optimizer("value", owned, RATE, 100.0, scaled)
        assert not made
        compiled = tf.function(lambda gradients: step(opt, gradients), autograph=False)
        for _ in range(2):
            compiled([tf.constant(gradient) for gradient in GRADIENTS])
    assert len(made) == len(opt.named_state())
    eager = optimizer(scaled=scaled)
    for _ in range(2):
        apply(eager, GRADIENTS)
    np.testing.assert_equal(state(opt), state(eager))


@pytest.mark.parametrize("where", ["gradient", "loss"])
def test_one_bad_number_stops_all_optimisers(where):
    """The loss scale of those whose gradients were good stays as it is."""
    opts = {"value": optimizer(scaled=True), "actor": optimizer(scaled=True)}
    before = {name: state(opt) for name, opt in opts.items()}
    gradients = {"value": BAD if where == "gradient" else GRADIENTS, "actor": GRADIENTS}
    losses = {"value": tf.constant(np.nan if where == "loss" else 0.0), "actor": tf.constant(0.0)}
    _, taken = step_all(opts, gradients, losses)
    assert not bool(taken)
    np.testing.assert_equal(state(opts["actor"]), before["actor"])
    assert float(opts["value"].scale) == (2.0**14 if where == "gradient" else 2.0**15)


# Loss scaling.


def half_precision_gradients(opt, factor):
    """Of the loss `factor * sum(first)`, through a float16 product."""
    first = opt.variables[0]
    with tf.GradientTape() as tape:
        product = tf.cast(first.value, tf.float16) * tf.constant(1.0, tf.float16)
        loss = factor * tf.reduce_sum(tf.cast(product, tf.float32))
    return opt.gradients(tape, loss)


def test_scaled_gradients_do_not_underflow_and_come_back_unscaled():
    # 1e-9 is 0 in float16.
    assert np.all(half_precision_gradients(optimizer(), 1e-9)[0] == 0)
    opt = optimizer(scaled=True)
    assert float(opt.scale) == 2.0**15
    found = half_precision_gradients(opt, 1e-9)
    np.testing.assert_allclose(found[0], [1e-9, 1e-9], rtol=0.01)


def test_an_overflow_halves_the_scale_and_skips_the_step():
    opt = optimizer(scaled=True)
    before = state(opt)
    # 8 * 2^15 is beyond float16, 1 * 2^15 is not.
    norm, taken = step(opt, half_precision_gradients(opt, 8.0))
    assert not bool(taken) and not np.isfinite(norm)
    assert float(opt.scale) == 2.0**14
    for variable in opt.variables:
        np.testing.assert_array_equal(variable, before[f"weights/{variable.name}"])
    _, taken = step(opt, half_precision_gradients(opt, 1.0))
    assert bool(taken)
    assert float(opt.scale) == 2.0**14


def test_the_scale_has_a_floor():
    opt = optimizer(scaled=True)
    opt.named_state()["value_scale/dynamic_scale"].assign(2.0)
    for _ in range(3):
        apply(opt, BAD)
    assert float(opt.scale) == LOSS_SCALE_RANGE[0] == 1.0


@pytest.mark.parametrize(("scale", "expected"), [(2.0**20, 2.0**21), (2.0**24, 2.0**24)])
def test_the_scale_grows_up_to_a_ceiling(scale, expected):
    assert LOSS_SCALE_RANGE[1] == 2.0**24
    opt = optimizer(scaled=True)
    named = opt.named_state()
    named["value_scale/dynamic_scale"].assign(scale)
    named["value_scale/step_counter"].assign(1999)  # Keras doubles after 2000 good steps.
    apply(opt, GRADIENTS)
    assert float(opt.scale) == expected
    assert int(named["value_scale/step_counter"]) == 0


def test_without_scaling_the_factor_is_1_for_ever():
    opt = optimizer()
    apply(opt, GRADIENTS)
    apply(opt, BAD)
    assert float(opt.scale) == 1.0
    assert not [name for name in opt.named_state() if "scale" in name]


# What is trained.


@pytest.mark.parametrize("scaled", [False, True])
def test_a_variable_out_of_the_losss_reach_gets_zeros(scaled):
    opt = optimizer(scaled=scaled)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(tf.square(opt.variables[0].value))
    found = opt.gradients(tape, loss)
    np.testing.assert_allclose(found[0], [2.0, -4.0], rtol=1e-6)
    np.testing.assert_array_equal(found[1], [[0.0]])


def test_moments_and_step_count_are_named_after_the_optimiser():
    opt = optimizer()
    apply(opt, GRADIENTS)
    named = opt.named_state()
    assert int(named["value/iteration"]) == 1
    assert len(named) == 2 + 2 * len(opt.variables)  # Step count, rate; two moments each.
    for velocity, gradient in zip(moments(opt, "velocity"), GRADIENTS, strict=True):
        np.testing.assert_allclose(velocity, 0.001 * gradient**2, rtol=1e-4)


def test_after_an_overflow_the_scale_waits_as_long_again():
    opt = optimizer(scaled=True)
    counter = opt.named_state()["value_scale/step_counter"]
    counter.assign(1999)  # One good step before it would double.
    apply(opt, BAD)
    assert int(counter) == 0 and float(opt.scale) == 2.0**14
