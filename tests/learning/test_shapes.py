"""Shapes are asserted where tensors enter, with a message that names what was expected."""

import pytest
import tensorflow as tf
from small_agents import seeded, tensors, tiny_agent, tiny_batch, tiny_config

from clion_tf.learning import behaviour, evaluator, world_model
from clion_tf.learning.preprocessing import expect


def test_a_letter_is_one_size_wherever_it_occurs():
    two = {"reward": tf.zeros([2, 5]), "action": tf.zeros([2, 5, 3])}
    expect("batch", two, {"reward": "B L", "action": "B L A"})
    expect("batch", two, {"reward": "2 5"})
    two["action"] = tf.zeros([2, 4, 3])
    message = r"batch: action is to be \[B, L, A\], B = 2, L = 5, not \(2, 4, 3\)"
    with pytest.raises(ValueError, match=message):
        expect("batch", two, {"reward": "B L", "action": "B L A"})


@pytest.mark.parametrize(
    ("found", "words"),
    [
        ([2, 5, 64, 64, 1], r"\[B, L, 64, 64, 3\], not \(2, 5, 64, 64, 1\)"),
        ([2, 5, 64, 64], r"\[B, L, 64, 64, 3\], not \(2, 5, 64, 64\)"),
        ([2, 5, 64, 64, 3, 1], r"\[B, L, 64, 64, 3\], not"),
        (None, "but is missing"),
    ],
)
def test_what_is_wrong_is_named(found, words):
    given = {} if found is None else {"image": tf.zeros(found)}
    with pytest.raises(ValueError, match=f"batch: image is to be .*{words}"):
        expect("batch", given, {"image": "B L 64 64 3"})


@pytest.fixture(scope="module")
def agent():
    return tiny_agent()


@pytest.mark.parametrize(
    ("key", "change"),
    [
        ("reward", lambda x: x[..., None]),  # Would broadcast.
        ("reward", lambda x: x[:, :-1]),
        ("image", lambda x: x[:, :, :32]),
        ("reward", lambda x: None),
    ],
)
def test_a_batch_of_other_shapes_is_refused(agent, key, change):
    data = tensors(tiny_batch(tiny_config()))
    data[key] = change(data[key])
    data = {name: value for name, value in data.items() if value is not None}
    with pytest.raises(ValueError, match=f"batch: {key} is to be"):
        world_model.loss(agent.models, agent.config, data, seeded())


def test_a_posterior_of_other_shapes_is_refused(agent):
    state = agent.models.rssm.initial(2)  # One step, not a sequence.
    with pytest.raises(ValueError, match=r"posterior: .* is to be \[B, L, S\], not \(2, 3\)"):
        behaviour.losses(agent.models, agent.config, state, seeded())
    post = {key: value[:, None] for key, value in state.items()}
    with pytest.raises(ValueError, match=r"posterior: action is to be .* L = 1, not \(2, 6, 2\)"):
        evaluator.loss(agent.models, agent.config, post, tf.zeros([2, 6, 2]), seeded())
