"""Networks are Keras models: summaries, counts, weights to a file and back, layers of Keras."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from draws import draw
from small_agents import tiny_agent
from tensorflow_probability import distributions as tfd

from clion_tf.agents.drq import drq_networks as drq
from clion_tf.agents.drq.drq_agent import DrQ
from clion_tf.config import Config
from clion_tf.models import Models
from clion_tf.models.decoder import Deconvolution, FirstDeconvolution
from clion_tf.models.layers import Conv2D, Dense
from clion_tf.replay.observation_shapes import PIXELS

SMALL = {"deter_size": 8, "stoch_size": 4, "hidden_size": 8, "num_units": 8, "cnn_depth": 2}
PARTS = {"pcont": "True", "evaluator_units": 8}
DRQ = {"drq_image_size": 19, "drq_filters": 4, "drq_feature_dim": 6, "drq_units": 8}


def clion(seed=0, vector=5):
    observed = {**PIXELS, "vector": (vector,)}
    return Models(Config(seed=seed, **SMALL, **PARTS), 2, False, observed)


def of_drq(seed=0):
    return drq.Models(Config(seed=seed, **DRQ), 2)


MAKE = {"clion": clion, "drq": of_drq}
NETWORKS = {
    "clion": [
        *("encoder", "vector_encoder", "rssm", "decoder", "vector_decoder"),
        *("reward", "pcont", "actor", "value", "evaluator"),
    ],
    "drq": ["encoder", "critic", "actor", "temperature", "target_encoder", "target_critic"],
}


def places(agent, seed=0):
    """The agent's networks by name, and the whole of them."""
    models = MAKE[agent](seed)
    return {"whole": models} | {part: getattr(models, part) for part in NETWORKS[agent]}


def shuffle(model, seed):
    """Other weights in every variable, biases too."""
    model.set_weights([draw(*w.shape, seed=seed + i) for i, w in enumerate(model.get_weights())])


@pytest.mark.parametrize("agent", MAKE)
def test_all_weights_are_in_the_whole_by_their_names(agent):
    models = MAKE[agent]()
    assert [network.name for network in models.layers] == NETWORKS[agent]
    assert {v.path for v in models.weights} == models.named_weights().keys()
    for network in models.layers:
        assert isinstance(network, keras.Model)
        assert {v.path.split("/")[0] for v in network.weights} == {network.name}


@pytest.mark.parametrize("agent", MAKE)
def test_weights_to_a_file_and_back(agent, tmp_path):
    """By Keras, into networks of other first weights; everything comes back."""
    both = places(agent, 0), places(agent, 1)
    for number, part in enumerate(both[0]):
        saved, other = (models[part] for models in both)
        shuffle(saved, 100 * number)
        expected = {v.path: v.numpy() for v in saved.weights}
        assert len(expected) == len(saved.get_weights()) > 0
        path = tmp_path / f"{part}.weights.h5"
        saved.save_weights(path)
        other.load_weights(path)
        for variable in other.weights:
            np.testing.assert_array_equal(variable.numpy(), expected[variable.path])
        shuffle(other, 50)
        other.set_weights(saved.get_weights())
        for variable in other.weights:
            np.testing.assert_array_equal(variable.numpy(), expected[variable.path])


def test_weights_of_other_sizes_are_refused(tmp_path):
    clion().save_weights(tmp_path / "x.weights.h5")
    with pytest.raises(ValueError, match="could not be loaded"):
        clion(vector=6).load_weights(tmp_path / "x.weights.h5")


@pytest.mark.parametrize("agent", MAKE)
def test_summary_has_every_layer_with_its_shape_and_parameters(agent):
    for part, model in places(agent).items():
        found = []
        model.summary(print_fn=found.append, expand_nested=True)
        text = "\n".join(found)
        count = sum(int(np.prod(v.shape)) for v in model.weights)
        assert model.count_params() == count and f"Total params: {count:,}" in text
        rows = [line for line in text.splitlines() if line.startswith("│")]
        layers = model.layers
        if part == "whole":
            layers = [layer for network in layers for layer in (network, *network.layers)]
        assert len(rows) == len(layers)
        for row, layer in zip(rows, layers, strict=True):
            name, shape, parameters = row.strip("│").split("│")
            assert name.split()[-2:] == [layer.name, f"({type(layer).__name__})"]
            assert shape.strip().startswith("(None") and "?" not in shape
            assert parameters.strip() == f"{layer.count_params():,}"


def event(output):
    """The shape of one output without its batch, of one event of a distribution."""
    return output.event_shape if isinstance(output, tfd.Distribution) else output.shape[1:]


def test_shapes_are_those_of_calls():
    networks = [network for network in clion().layers if network.name != "rssm"]
    assert len(networks) == 9
    for network in networks:
        output = network(tf.zeros([3, *network.input_shape[1:]]))
        assert event(output) == network.output_shape[1:], network.name


def test_shapes_of_the_rssm():
    models = clion()
    rssm, actions = models.rssm, 2
    assert rssm.input_shape == (None, models.encoder.size + models.vector_encoder.size + actions)
    assert rssm.output_shape == (None, *rssm.get_feat(rssm.initial(3)).shape[1:])


def test_shapes_of_drqs_networks():
    models = of_drq()
    image = np.zeros((3, *models.encoder.input_shape[1:]), np.uint8)
    features = models.encoder(image)
    assert features.shape[1:] == models.encoder.output_shape[1:] == models.actor.input_shape[1:]
    assert event(models.actor(features)) == models.actor.output_shape[1:]
    both = models.critic(features, tf.zeros([3, 2]))
    assert tf.stack(both, -1).shape[1:] == models.critic.output_shape[1:]
    assert models.critic.input_shape == (None, models.encoder.size + 2)


def test_each_layer_gives_the_shape_that_its_summary_says():
    models = clion()
    for layers, x in (
        (models.encoder.convs, tf.zeros([3, 64, 64, 3])),
        (models.decoder.deconvs, tf.zeros([3, 1, 1, 64])),
        ([*models.value.hidden, models.value.hout], tf.zeros([3, 12])),
    ):
        for layer in layers:
            expected = layer.compute_output_shape(tuple(x.shape))
            x = layer(x)
            assert x.shape == expected, layer.name


# Layers.

# Ours, Keras's, an input.
LAYERS = {
    "dense": (Dense, keras.layers.Dense, (5,), {"units": 4}),
    "convolution": (Conv2D, keras.layers.Conv2D, (7, 7, 3), {"filters": 4, "kernel_size": 3}),
    "convolution of stride 2": (
        Conv2D,
        keras.layers.Conv2D,
        (8, 8, 3),
        {"filters": 4, "kernel_size": 4, "strides": 2},
    ),
    "transposed convolution": (
        Deconvolution,
        keras.layers.Conv2DTranspose,
        (3, 3, 2),
        {"filters": 4, "kernel_size": 5, "strides": 2},
    ),
    "transposed convolution of one pixel": (
        FirstDeconvolution,
        keras.layers.Conv2DTranspose,
        (1, 1, 7),
        {"filters": 3, "kernel_size": 5, "strides": 2},
    ),
}


# Of a result's largest value: 16 bits are rounded at each operation.
TOLERANCES = {"float32": 1e-5, "mixed_bfloat16": 0.03, "mixed_float16": 0.004}


@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize("activation", [None, "elu"])
@pytest.mark.parametrize("name", LAYERS)
def test_layers_are_kerass_in_values_and_gradients(name, activation, dtype):
    """In 16 bits Keras's in float32, with biases other than 0."""
    ours, kerass, shape, options = LAYERS[name]
    assert issubclass(ours, kerass)
    x, results = tf.constant(draw(2, *shape)), []
    for kind, precision in ((ours, dtype), (kerass, "float32")):
        layer = kind(activation=activation, dtype=precision, **options)
        layer.build((None, *shape))
        shuffle(layer, 3)
        with tf.GradientTape() as tape:
            tape.watch(x)
            output = layer(x)
            output = tf.cast(output, tf.float32)
            loss = tf.reduce_sum(tf.constant(draw(*output.shape, seed=1)) * output)
        gradients = tape.gradient(loss, [x, *(v.value for v in layer.trainable_variables)])
        results.append([output, *gradients])
    assert len(results[0]) == 4
    for found, expected in zip(*results, strict=True):
        largest = np.abs(expected).max()
        np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCES[dtype] * largest)


def test_the_actors_constants_are_where_they_belong():
    """At weights of 0 the standard deviation is init_std and min_std; no mean is over its scale."""
    scales = {"action_init_std": 2.0, "action_mean_scale": 7.0, "action_min_std": 0.25}
    actor = Models(Config(**SMALL, **scales), 2, False, PIXELS).actor
    features = tf.zeros([1, actor.input_shape[-1]])
    for weight in actor.trainable_variables:
        weight.assign(tf.zeros_like(weight))
    np.testing.assert_allclose(actor(features).distribution.stddev(), [[2.25, 2.25]], rtol=1e-5)
    actor.hout.bias.assign([1e6, -1e6, 0.0, 0.0])
    np.testing.assert_allclose(actor(features).distribution.mean(), [[7.0, -7.0]], rtol=1e-5)


# What a run says of its networks.


def test_a_narrow_terminal_is_wide_enough(monkeypatch):
    monkeypatch.setenv("COLUMNS", "12")
    assert tiny_agent().summary(layers=True)


@pytest.mark.parametrize(
    ("agent", "line"),
    [
        (tiny_agent, "encoder 64x64x3 -> 64 "),
        (
            lambda: DrQ(Config(agent="drq", drq_image_size=19), 2),
            "encoder 19x19x9 -> 288 ",
        ),
    ],
)
def test_a_run_says_each_networks_shapes_and_parameters(agent, line):
    agent = agent()
    lines = [" ".join(row.split()) for row in agent.summary()]
    assert len(lines) == len(agent.models.layers)
    assert lines[0].startswith(line)
    assert lines[0].endswith(f"{agent.models.encoder.count_params():,} parameters")
    long = agent.summary(layers=True)
    assert any("h1 (Conv2D)" in row or "h1 (FirstConvolution)" in row for row in long)
    assert f"{agent.models.count_params():,}" in "\n".join(long)
