"""Recurrence by a loop in the graph: the same as a Python loop, in a graph of one size."""

import numpy as np
import pytest
import tensorflow as tf
from draws import normal as draw
from small_agents import tiny_agent, tiny_batch, tiny_config

from clion_tf.models.scan import scan

BATCH, UNITS = 2, 3
OUTPUTS = {
    "memory": tf.TensorSpec([BATCH, UNITS]),
    "sum": tf.TensorSpec([BATCH]),
    "steps": tf.TensorSpec([], tf.int32),
}


def arguments(length):
    """Inputs x and y, the leaves of the start state, a weight that the step captures."""
    x, y = draw(length, BATCH, UNITS), draw(length, BATCH, seed=1)
    return [x, y, draw(BATCH, UNITS, seed=2), draw(BATCH, seed=3), draw(UNITS, UNITS, seed=4)]


def unrolled(step, state, inputs, outputs):
    """What `scan` does, in Python."""
    found = []
    for t in range(inputs[0].shape[0]):
        state, out = step(state, *(x[t] for x in inputs))
        found.append(out)
    return {name: tf.stack([out[name] for out in found]) for name in outputs}


def run(how, arguments):
    """Outputs, and the gradients of all arguments."""
    with tf.GradientTape() as tape:
        tape.watch(arguments)
        x, y, memory, total, weight = arguments

        def step(state, x_t, y_t):
            memory, total = state["parts"]
            memory = tf.tanh(memory @ weight + x_t * total[:, None])
            total = 0.5 * total + y_t * memory[:, 0]
            steps = state["steps"] + 1
            out = {"memory": 2.0 * memory, "sum": total, "steps": steps, "not asked for": x_t}
            return {"parts": (memory, total), "steps": steps}, out

        state = {"parts": (memory, total), "steps": tf.constant(0)}
        found = how(step, state, [x, y], OUTPUTS)
        factors = [draw(*found[name].shape, seed=i) for i, name in enumerate(("memory", "sum"), 5)]
        loss = tf.reduce_sum(factors[0] * found["memory"])
        loss += tf.reduce_sum(factors[1] * found["sum"])
    return found, tape.gradient(loss, arguments)


@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "graph"])
@pytest.mark.parametrize("length", [1, 7, 17])
def test_scan_is_a_python_loop_in_values_and_gradients(length, compiled):
    expected, expected_gradients = run(unrolled, arguments(length))
    function = tf.function(run, autograph=False) if compiled else run
    found, gradients = function(scan, arguments(length))
    assert found.keys() == OUTPUTS.keys()
    np.testing.assert_array_equal(found["steps"], np.arange(1, length + 1))
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-5, atol=1e-6, err_msg=name)
    for one, other in zip(gradients, expected_gradients, strict=True):
        assert np.any(other != 0)
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


# Size of graphs.


def nodes(function, *arguments):
    """Number of nodes of a tf.function's graph and of the functions that it calls."""
    graph = function.get_concrete_function(*arguments).graph.as_graph_def()
    return len(graph.node) + sum(len(called.node_def) for called in graph.library.function)


def test_the_graph_does_not_grow_with_time():
    loop = tf.function(lambda arguments: run(scan, arguments), autograph=False)
    python = tf.function(lambda arguments: run(unrolled, arguments), autograph=False)
    assert nodes(loop, arguments(17)) == nodes(loop, arguments(50)) < nodes(python, arguments(50))


@pytest.mark.slow
def test_the_updates_graph_does_not_grow_with_length_and_horizon():
    def update_nodes(length, horizon):
        # So large a batch since zeros of less than 1000 numbers take fewer nodes.
        options = {"batch_size": 400, "batch_length": length, "horizon": horizon, "pcont": "True"}
        # What has no recurrence of its own is left out.
        options |= {"beta1": 0.0, "beta2": 0.0, "augmentations": 0}
        example = tiny_batch(tiny_config(**{**options, "batch_size": 1}))
        data = {
            key: tf.TensorSpec([400, *value.shape[1:]], value.dtype)
            for key, value in example.items()
        }
        return nodes(tiny_agent(**options)._train, data, tf.TensorSpec([2], tf.int32))

    assert update_nodes(18, 18) == update_nodes(40, 30)
