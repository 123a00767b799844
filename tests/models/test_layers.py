"""Frozen networks; gradients of activations told from their output."""

import numpy as np
import pytest
import tensorflow as tf
from draws import normal as draw

from clion_tf.agents.drq.drq_networks import Critic
from clion_tf.models.decoder import Decoder
from clion_tf.models.encoder import Encoder
from clion_tf.models.heads import DenseHead
from clion_tf.models.layers import Network, frozen
from clion_tf.models.scan import scan


class Square(Network):
    """One dense layer of 3 units."""

    def __init__(self, name):
        super().__init__(name)
        self.h0 = self.dense("h0", 3, 3, tf.nn.elu)
        self.complete((3,), (3,))

    def call(self, x):
        return self.h0(x)


def gradients(networks, function, x):
    """Of the sum of `function(x)`: x's, and those of the networks' weights."""
    weights = [v.value for network in networks for v in network.trainable_variables]
    with tf.GradientTape() as tape:
        tape.watch(x)
        output = tf.reduce_sum(function(x))
    return tape.gradient(output, [x, *weights])


def test_weights_of_a_frozen_network_have_no_gradient():
    ice, water = Square("ice"), Square("water")

    def both(x):
        return water(ice(x))

    def with_ice(x):
        with frozen(ice):
            return both(x)

    x = draw(2, 3)
    free = gradients([ice, water], both, x)
    found = gradients([ice, water], with_ice, x)
    assert found[1:3] == [None, None]
    # All else is as without, and so is the network once the block is left.
    for i in (0, 3, 4):
        np.testing.assert_array_equal(found[i], free[i])
    assert np.all(free[1] != 0)
    np.testing.assert_array_equal(gradients([ice, water], both, x)[1], free[1])


def test_weights_frozen_within_a_loop_have_no_gradient():
    ice, water = Square("ice"), Square("water")

    def loop(x):
        def step(state, x_t):
            with frozen(ice):
                state = water(ice(state + x_t))
            return state, {"y": state}

        return scan(step, tf.zeros([2, 3]), [x], {"y": tf.TensorSpec([2, 3])})["y"]

    compiled = tf.function(lambda x: gradients([ice, water], loop, x), autograph=False)
    of_x, *of_ice, kernel, bias = compiled(draw(4, 2, 3))
    assert all(gradient is None or not np.any(gradient) for gradient in of_ice)
    for gradient in (of_x, kernel, bias):
        assert np.all(gradient != 0)


def bias_gradients(make, inputs, dtype):
    """Of the mean square of the output, by layer, in a graph as the update runs."""
    network = make(dtype)
    biases = [v for v in network.trainable_variables if v.name == "bias"]

    @tf.function(autograph=False)
    def gradients(x):
        with tf.GradientTape() as tape:
            output = network(x)
            output = output if tf.is_tensor(output) else output.mode()
            loss = tf.reduce_mean(tf.square(tf.cast(output, tf.float32) - 1.0))
        return tape.gradient(loss, [v.value for v in biases])

    found = gradients(tf.cast(inputs, network.compute_dtype))
    return {v.path: g.numpy() for v, g in zip(biases, found, strict=True)}


@pytest.mark.parametrize(
    ("make", "shape"),
    [
        (lambda dtype: DenseHead("value", 8, 3, 16, dtype=dtype), [8000, 8]),
        (lambda dtype: Decoder(8, 4, dtype=dtype), [64, 8]),
        (lambda dtype: Encoder(4, dtype=dtype), [64, 64, 64, 3]),
    ],
    ids=["head", "decoder", "encoder"],
)
def test_biases_learn_in_bfloat16_too(make, shape):
    """TensorFlow's own gradient of a bias loses most of a long sum in bfloat16, on CPUs."""
    inputs = tf.random.stateless_normal(shape, [0, 1])
    exact = bias_gradients(make, inputs, "float32")
    for name, found in bias_gradients(make, inputs, "mixed_bfloat16").items():
        error = np.abs(found - exact[name]).max() / np.abs(exact[name]).max()
        assert error < 0.1, f"{name}: {error:.3f}"


def steps_between(outputs):
    """The smallest difference of two outputs that are not equal."""
    different = np.diff(np.unique(outputs))
    return different.min()


@pytest.mark.parametrize("dtype", ["mixed_bfloat16", "mixed_float16"])
def test_large_values_are_told_apart_in_16_bits(dtype):
    """At 200 bfloat16 has steps of 1 and float16 of an eighth."""
    head = DenseHead("value", 8, 2, 16, dtype=dtype)
    head.hout.bias.assign([200.0])
    inputs = tf.cast(0.1 * draw(100, 8), head.compute_dtype)
    values = head(inputs).mode().numpy()
    assert values.dtype == np.float32 and 199 < values.min() < values.max() < 201
    assert steps_between(values) < 0.05
    critic = Critic(8, 4, 2, 16, dtype=dtype)
    critic.q1[-1].bias.assign([200.0])
    values = critic(inputs, tf.cast(draw(100, 2), inputs.dtype))[0].numpy()
    assert values.dtype == np.float32 and steps_between(values) < 0.05
