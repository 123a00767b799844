"""XLA's plan of an update's buffers: what must be in it, and how it grows."""

import json
import subprocess
import types

import numpy as np
import pytest
import tensorflow as tf

from clion_tf.benchmark import update_memory
from clion_tf.config import Config

UNITS, FEATURES = 64, 128


@pytest.fixture(scope="module")
def layer():
    """An update of two dense layers; both hidden layers are kept for the gradient."""
    first, second = (tf.Variable(tf.random.stateless_normal(shape, [1, 2])) for shape in SHAPES)

    @tf.function(jit_compile=True, autograph=False)
    def update(x):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(tf.tanh(tf.tanh(x @ first) @ second))
        gradients = tape.gradient(loss, (first, second))
        first.assign_sub(gradients[0])
        second.assign_sub(gradients[1])
        return loss

    return update


SHAPES = (FEATURES, UNITS), (UNITS, UNITS)
VARIABLES = 4 * sum(a * b for a, b in SHAPES)


def test_the_plan_has_arguments_and_what_the_gradient_keeps(layer):
    sizes = update_memory.planned(layer, tf.ones([1000, FEATURES]))
    assert sizes["arguments"] >= VARIABLES + 4 * 1000 * FEATURES
    assert sizes["arguments"] < 1.01 * (VARIABLES + 4 * 1000 * FEATURES)
    # The two hidden layers, at least; at most three arrays for each of them, and gradients.
    hidden = 4 * 1000 * UNITS
    assert 2 * hidden <= sizes["temporary"] <= 6 * hidden + 2 * VARIABLES
    assert sizes["all"] == sum(size for kind, size in sizes.items() if kind != "all")


def test_it_grows_with_the_batch(layer):
    small, large = (update_memory.planned(layer, tf.ones([n, FEATURES])) for n in (1000, 4000))
    assert large["arguments"] - small["arguments"] == 4 * 3000 * FEATURES
    assert 3.0 < large["temporary"] / small["temporary"] < 4.5


def test_nothing_is_called(layer):
    agent = types.SimpleNamespace(
        with_schedule=lambda batch, update: {"x": batch["x"]}, build_optimizers=lambda: None
    )
    weight = tf.Variable(1.0)

    @tf.function(jit_compile=True, autograph=False)
    def train(data, seed):
        return weight.assign_add(tf.reduce_sum(data["x"]) + tf.cast(seed[0], tf.float32))

    agent._train = train
    sizes = update_memory.of_update(agent, {"x": np.ones((10, 20), np.float32)})
    assert sizes["batch"] == 800 and sizes["arguments"] >= 804 and weight.numpy() == 1.0


def test_both_precisions_are_compiled_apart(monkeypatch):
    asked = []

    def run(words, env, **others):
        options = dict(word.removeprefix("--").split("=", 1) for word in words[3:])
        asked.append((options["batch_size"], options["precision"]))
        assert env["XLA_FLAGS"].endswith("--xla_of_the_user=1")
        code = int(options["precision"] == "bf16")
        return types.SimpleNamespace(returncode=code, stdout=f"{json.dumps(SIZES)}\n")

    monkeypatch.setenv("XLA_FLAGS", "--xla_of_the_user=1")
    monkeypatch.setattr(subprocess, "run", run)
    found = update_memory.of_each_precision(Config(batch_size=7))
    assert asked == [("7", "32"), ("7", "bf16")]
    assert found == {"32": SIZES, "bf16": {}}


SIZES = {"arguments": 2, "temporary": 3, "results": 0, "constants": 0, "all": 5, "batch": 1}
