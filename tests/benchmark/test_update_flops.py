"""The counted arithmetic against TensorFlow's own count of the graph's operations."""

import functools

import pytest
import tensorflow as tf
from small_agents import ACTIONS, tensors, tiny_agent, tiny_batch, tiny_config
from tensorflow.python.framework import ops

from clion_tf.benchmark import graph_flops
from clion_tf.benchmark.update_flops import update_flops
from clion_tf.config import DREAMER
from clion_tf.learning import noise
from clion_tf.models.scan import WRITTEN_OUT

SIZES = {
    "batch_size": 3, "batch_length": 4, "deter_size": 24, "stoch_size": 8,
    "hidden_size": 20, "num_units": 28, "cnn_depth": 4, "evaluator_units": 12,
}  # fmt: skip


CLION = {"augmentations": 2, "horizon": 5}


@functools.cache
def update_graph(written_out, **options):
    """An update's graph, as it is built while `scan.WRITTEN_OUT` is this."""
    config, agent = tiny_config(**SIZES, **options), tiny_agent(**SIZES, **options)
    batch = tensors(tiny_batch(config))
    return agent._train.get_concrete_function(batch, noise.key(0, "update", 0)).graph


@pytest.mark.parametrize(
    ("options", "written_out"),
    [
        (CLION, WRITTEN_OUT),
        ({"from_start": False, "overshoot_from": "both", "horizon": 3}, WRITTEN_OUT),
        ({**DREAMER, "pcont": "True", "horizon": 3}, WRITTEN_OUT),
        # Graphs of loops take twice as long to build.
        ({**DREAMER, "horizon": 3}, 0),
    ],
    ids=["clion", "later start, more fakes", "pcont", "dreamer, in loops"],
)
def test_the_count_is_that_of_the_graph(options, written_out, monkeypatch):
    monkeypatch.setattr("clion_tf.models.scan.WRITTEN_OUT", written_out)
    config = tiny_config(**SIZES, **options)
    counted = sum(update_flops(config, ACTIONS).values())
    found = graph_flops.flops(update_graph(written_out, **options))
    assert sum(found.values()) == pytest.approx(counted + zeros(config), rel=0.03)


def test_the_count_of_an_operation_is_tensorflows():
    """But for gradients of convolutions, where TensorFlow's count is too much at the border."""
    graph, seen = update_graph(WRITTEN_OUT, **CLION), set()
    for op in graph.get_operations():
        if op.type in ("MatMul", "Conv2D"):
            theirs = ops.get_stats_for_node_def(graph, op.node_def, "flops").value
            assert graph_flops.operation(op) == theirs, op.name
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
    found = graph_flops.flops(traced.graph)
    height, width = (10 - 4) // stride + 1, (8 - 4) // stride + 1
    once = 2 * 2 * height * width * 4 * 4 * 3 * 5
    assert found == {
        graph_flops.KINDS[f"Conv2DBackprop{what}"]: once for what in ("Input", "Filter")
    }


def zeros(config):
    """What our forms of two layers multiply by zeros, which the count leaves out."""
    frames, depth = config.batch_size * config.batch_length, config.cnn_depth
    # The encoder's last layer as a full matrix; the decoder's last one over its border.
    encoder = 2 * (36 * 4 - 4 * 16) * 4 * depth * 8 * depth
    decoder = 2 * (32**2 * 9 * 12 - 30**2 * 36 * 3) * depth
    twice = lambda beta: 2 if beta > 0 else 1  # noqa: E731
    return 3 * frames * (encoder * twice(config.beta1) + decoder * twice(config.beta2))
