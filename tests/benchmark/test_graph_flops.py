"""The graph's arithmetic against a count by hand, and TensorFlow's own of its operations."""

import flops_by_hand
import pytest
import tensorflow as tf
from small_agents import ACTIONS, tensors, tiny_agent, tiny_batch, tiny_config
from tensorflow.python.framework import ops

from clion_tf.benchmark.agent_speed import KINDS, graph_flops, operation_flops, update_flops
from clion_tf.config import DREAMER
from clion_tf.learning import noise

SIZES = {
    "batch_size": 3, "batch_length": 4, "horizon": 3, "deter_size": 24, "stoch_size": 8,
    "hidden_size": 20, "num_units": 28, "cnn_depth": 4, "evaluator_units": 12,
}  # fmt: skip


CLION = {"augmentations": 2, "horizon": 5}


@pytest.fixture(scope="module")
def dreamers():
    """Options and graph of an update in Dreamer mode; all kinds of operations are in it."""
    options = {**SIZES, **DREAMER, "pcont": "True"}
    batch = tensors(tiny_batch(tiny_config(**options)))
    traced = tiny_agent(**options)._train.get_concrete_function(batch, noise.key(0, "update", 0))
    return options, traced.graph


def test_the_count_is_that_of_dreamers_graph(dreamers):
    options, graph = dreamers
    config = tiny_config(**options)
    counted = sum(flops_by_hand.update_flops(config, ACTIONS).values())
    assert graph_flops(graph).total() == pytest.approx(counted + zeros(config), rel=0.03)


@pytest.mark.parametrize(
    ("options", "written_out"),
    [
        (CLION, 16),
        pytest.param({"from_start": False, "overshoot_from": "both"}, 16, marks=pytest.mark.slow),
        # Graphs of loops take twice as long to build.
        (DREAMER, 0),
    ],
    ids=["clion", "later start, more fakes", "dreamer, in loops"],
)
def test_the_count_is_that_of_the_graph(options, written_out, monkeypatch):
    monkeypatch.setattr("clion_tf.models.scan.WRITTEN_OUT", written_out)
    config = tiny_config(**{**SIZES, **options})
    agent = tiny_agent(**{**SIZES, **options})
    batch = tensors(tiny_batch(config))
    counted = sum(flops_by_hand.update_flops(config, agent.action_size).values())
    assert update_flops(agent, batch).total() == pytest.approx(counted + zeros(config), rel=0.03)


def test_the_count_of_an_operation_is_tensorflows(dreamers):
    """But for gradients of convolutions, where TensorFlow's count is too much at the border."""
    graph, seen = dreamers[1], set()
    for op in graph.get_operations():
        if op.type in ("MatMul", "Conv2D"):
            theirs = ops.get_stats_for_node_def(graph, op.node_def, "flops").value
            assert operation_flops(op) == theirs, op.name
            seen.add(op.type)
    assert seen == {"MatMul", "Conv2D"}


@pytest.mark.parametrize("stride", [1, 2])
def test_a_gradient_counts_as_its_convolution(stride):
    @tf.function(autograph=False)
    def gradients(image, kernel):
        with tf.GradientTape() as tape:
            tape.watch([image, kernel])
            result = tf.nn.conv2d(image, kernel, stride, "VALID")
        return tape.gradient(result, [image, kernel])

    traced = gradients.get_concrete_function(tf.zeros([2, 10, 8, 3]), tf.zeros([4, 4, 3, 5]))
    found = graph_flops(traced.graph)
    height, width = (10 - 4) // stride + 1, (8 - 4) // stride + 1
    once = 2 * 2 * height * width * 4 * 4 * 3 * 5
    assert found == {KINDS[f"Conv2DBackprop{what}"]: once for what in ("Input", "Filter")}


def zeros(config):
    """What our forms of two layers multiply by zeros, which the count leaves out."""
    frames, depth = config.batch_size * config.batch_length, config.cnn_depth
    # The encoder's last layer as a full matrix; the decoder's last one over its border.
    encoder = 2 * (36 * 4 - 4 * 16) * 4 * depth * 8 * depth
    decoder = 2 * (32**2 * 9 * 12 - 30**2 * 36 * 3) * depth
    twice = lambda beta: 2 if beta > 0 else 1  # noqa: E731
    return 3 * frames * (encoder * twice(config.beta1) + decoder * twice(config.beta2))
