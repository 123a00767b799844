"""The counted arithmetic against TensorFlow's own count of the graph's operations."""

import pytest
import tensorflow as tf
from agents import tensors, tiny_agent, tiny_batch, tiny_config
from tensorflow.python.framework import ops

from clion_tf import noise
from clion_tf.benchmark.arithmetic import update_flops

COUNTED = ("MatMul", "Conv2D", "Conv2DBackpropInput", "Conv2DBackpropFilter")
LOOPS = ("While", "StatelessWhile")
CALLS = ("PartitionedCall", "StatefulPartitionedCall")
SIZES = {
    "batch_size": 3, "batch_length": 4, "horizon": 3, "deter_size": 24, "stoch_size": 8,
    "hidden_size": 20, "num_units": 28, "cnn_depth": 4, "evaluator_units": 12,
}  # fmt: skip
DREAMER = {"beta1": 0.0, "beta2": 0.0, "augmentations": 0, "evaluator": False}


def graph_flops(graph, given=None):
    """Operations that the graph's outputs need; loops as often as they run.

    TensorFlow's profiler adds up these same numbers, but knows neither how often a loop runs nor
    what nobody reads. `given`: what the graph's inputs are outside of it.
    """
    given = {} if given is None else given
    needed, stack = set(), [t.op for t in graph.outputs] + list(graph.control_outputs)
    while stack:
        op = stack.pop()
        if op not in needed:
            needed.add(op)
            stack += [t.op for t in op.inputs] + list(op.control_inputs)
    total = 0
    for op in needed:
        if op.type in COUNTED:
            total += flops(graph, op)
        elif op.type in LOOPS:
            total += times(op, given) * graph_flops(*inner(graph, op, "body", given))
        elif op.type in CALLS:
            total += graph_flops(*inner(graph, op, "f", given))
    return total


def flops(graph, op):
    if "Backprop" not in op.type:
        return ops.get_stats_for_node_def(graph, op.node_def, "flops").value
    # TensorFlow's count of these takes the larger picture's size over the stride's square, which
    # is too much at the border. They cost what the convolution does whose gradient they are.
    batch, height, width, _ = op.inputs[2].shape
    kernel = op.inputs[1] if op.type == "Conv2DBackpropInput" else op.outputs[0]
    return 2 * batch * height * width * kernel.shape.num_elements()


def inner(graph, op, attribute, given):
    """The graph that an operation runs, and what its inputs are."""
    function = graph._get_function(op.get_attr(attribute).name).graph
    outside = [given.get(t.ref(), t) for t in op.inputs]
    return function, {t.ref(): o for t, o in zip(function.inputs, outside, strict=True)}


def times(loop, given):
    """The loop's maximum of iterations, which all of ours reach."""
    most = given.get(loop.inputs[1].ref(), loop.inputs[1])
    if most.op.type in LOOPS:  # A gradient runs as often as its loop did.
        return times(most.op, given)
    if most.op.type in CALLS:
        return times_in_call(most, given)
    return int(tf.get_static_value(most))


def times_in_call(output, given):
    call = output.op
    function, known = inner(call.graph, call, "f", given)
    within = function.outputs[output.value_index]
    if within.op.type in LOOPS:
        return times(within.op, known)
    return int(tf.get_static_value(known.get(within.ref(), within)))


@pytest.mark.parametrize("written_out", [16, 0], ids=["written out", "loops"])
@pytest.mark.parametrize(
    "options",
    [DREAMER, {"augmentations": 2, "horizon": 5}, {**DREAMER, "pcont": True}],
    ids=["dreamer", "clion", "pcont"],
)
def test_the_count_is_that_of_the_graph(options, written_out, monkeypatch):
    monkeypatch.setattr("clion_tf.models.scan.WRITTEN_OUT", written_out)
    config = tiny_config(**{**SIZES, **options})
    agent = tiny_agent(**{**SIZES, **options})
    batch = tensors(tiny_batch(config))
    graph = agent._train.get_concrete_function(batch, noise.key(0, "update", 0)).graph
    counted = sum(update_flops(config, agent.sizes.action_size).values())
    assert graph_flops(graph) == pytest.approx(counted + zeros(config), rel=0.03)


def zeros(config):
    """What our forms of two layers multiply by zeros, which the count leaves out."""
    frames, depth = config.batch_size * config.batch_length, config.cnn_depth
    # The encoder's last layer as a full matrix; the decoder's last one over its border.
    encoder = 2 * (36 * 4 - 4 * 16) * 4 * depth * 8 * depth
    decoder = 2 * (32**2 * 9 * 12 - 30**2 * 36 * 3) * depth
    twice = lambda beta: 2 if beta > 0 else 1  # noqa: E731
    return 3 * frames * (encoder * twice(config.beta1) + decoder * twice(config.beta2))
