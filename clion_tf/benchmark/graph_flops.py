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
# Of operations that run a graph, which attribute names it.
INNER = {**dict.fromkeys(LOOPS, "body"), "PartitionedCall": "f", "StatefulPartitionedCall": "f"}


def of_update(agent: Agent, batch: Mapping[str, np.ndarray]) -> collections.Counter:
    """Operations by kind of one update on a batch [B, L, ...]."""
    data = {key: tf.constant(value) for key, value in batch.items()}
    return flops(agent._train.get_concrete_function(data, noise.key(0, "update", 0)).graph)


def flops(graph, given: dict | None = None) -> collections.Counter:
    """Operations by kind that a graph's outputs need; `given` is what its inputs are outside."""
    given = given or {}
    total: collections.Counter = collections.Counter()
    for op in _needed(graph):
        if op.type in KINDS:
            total[KINDS[op.type]] += operation(op)
        elif op.type in INNER:
            # All loops of ours reach their maximum of iterations.
            often = _number(op.inputs[1], given) if op.type in LOOPS else 1
            for kind, count in flops(*_inner(op, given)).items():
                total[kind] += often * count
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


def _inner(op, given: dict) -> tuple:
    """The graph that an operation runs, and what its inputs are."""
    function = op.graph._get_function(op.get_attr(INNER[op.type]).name).graph
    outside = [given.get(t.ref(), t) for t in op.inputs]
    return function, {t.ref(): o for t, o in zip(function.inputs, outside, strict=True)}


def _number(tensor, given: dict) -> int:
    """The value of a maximum of iterations."""
    tensor = given.get(tensor.ref(), tensor)
    if tensor.op.type in LOOPS:  # A gradient runs as often as its loop did.
        return _number(tensor.op.inputs[1], given)
    if tensor.op.type in INNER:
        function, known = _inner(tensor.op, given)
        return _number(function.outputs[tensor.value_index], known)
    return int(tf.get_static_value(tensor))
