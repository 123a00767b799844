"""Counts the arithmetic of a graph's operations, loops as often as they run.

Multiplications and additions (two operations for each pair) of matrix products and convolutions;
elementwise work and Adam are not counted. TensorFlow's own profiler adds up the same numbers
(tested), but knows neither how often a loop runs nor what nobody reads.
"""

import collections
from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from clion_tf.agents.clion import Agent
from clion_tf.learning import noise

# The operations that count, by what they are called in tables.
KINDS = {
    "MatMul": "matrix products",
    "Conv2D": "convolutions",
    "Conv2DBackpropInput": "transposed convolutions and gradients of inputs",
    "Conv2DBackpropFilter": "gradients of filters",
}
LOOPS = ("While", "StatelessWhile")
CALLS = ("PartitionedCall", "StatefulPartitionedCall")


def of_update(agent: Agent, batch: Mapping[str, np.ndarray]) -> collections.Counter:
    """Operations by kind of one update on a batch [B, L, ...]."""
    data = {key: tf.constant(value) for key, value in batch.items()}
    return flops(agent._train.get_concrete_function(data, noise.key(0, "update", 0)).graph)


def flops(graph, given: dict | None = None) -> collections.Counter:
    """Operations by kind that the graph's outputs need.

    Args:
      graph: of a concrete function.
      given: what the graph's inputs are outside of it.
    """
    given = {} if given is None else given
    total: collections.Counter = collections.Counter()
    for op in _needed(graph):
        if op.type in KINDS:
            total[KINDS[op.type]] += operation(op)
        elif op.type in LOOPS:
            often = _times(op, given)
            for kind, count in flops(*_inner(graph, op, "body", given)).items():
                total[kind] += often * count
        elif op.type in CALLS:
            total.update(flops(*_inner(graph, op, "f", given)))
    return total


def _needed(graph) -> set:
    found, stack = set(), [t.op for t in graph.outputs] + list(graph.control_outputs)
    while stack:
        op = stack.pop()
        if op not in found:
            found.add(op)
            stack += [t.op for t in op.inputs] + list(op.control_inputs)
    return found


def operation(op) -> int:
    """Multiplications and additions of one operation of KINDS; all shapes must be known."""
    if op.type == "MatMul":
        rows = op.inputs[0].shape[0 if op.get_attr("transpose_a") else 1]
        return 2 * rows * op.outputs[0].shape.num_elements()
    # A gradient costs what the convolution does whose gradient it is.
    result = op.outputs[0] if op.type == "Conv2D" else op.inputs[2]
    kernel = op.outputs[0] if op.type == "Conv2DBackpropFilter" else op.inputs[1]
    positions = result.shape.num_elements() // result.shape[-1]
    return 2 * positions * kernel.shape.num_elements()


def _inner(graph, op, attribute: str, given: dict) -> tuple:
    """The graph that an operation runs, and what its inputs are."""
    function = graph._get_function(op.get_attr(attribute).name).graph
    outside = [given.get(t.ref(), t) for t in op.inputs]
    return function, {t.ref(): o for t, o in zip(function.inputs, outside, strict=True)}


def _times(loop, given: dict) -> int:
    """The loop's maximum of iterations, which all of ours reach."""
    most = given.get(loop.inputs[1].ref(), loop.inputs[1])
    if most.op.type in LOOPS:  # A gradient runs as often as its loop did.
        return _times(most.op, given)
    if most.op.type in CALLS:
        return _times_in_call(most, given)
    return int(tf.get_static_value(most))


def _times_in_call(output, given: dict) -> int:
    call = output.op
    function, known = _inner(call.graph, call, "f", given)
    within = function.outputs[output.value_index]
    if within.op.type in LOOPS:
        return _times(within.op, known)
    return int(tf.get_static_value(known.get(within.ref(), within)))
