"""Several updates in one call, and acting as the agent was before."""

import numpy as np
from small_agents import (
    RecordedNoise,
    seeded,
    tensors,
    tiny_agent,
    tiny_batch,
    tiny_config,
    weights,
)

from clion_tf.agents.clion import Agent
from clion_tf.config import DREAMER
from clion_tf.learning.noise import key

# Building a graph takes seconds that grow with L and H, twice as many with the parts of CLION.
SHORT = {"batch_length": 3, "horizon": 2, "overshoot": 1, "augmentations": 1}


def assert_several_are_single_ones(config, jit=False):
    """Updates in one call of a compiled function, against plain ones; returns who made them."""
    single, several = Agent(config, 2), Agent(config, 2, jit=jit)
    batches = [tiny_batch(config, seed) for seed in range(2)]
    rows = [  # Without a graph.
        single._train_step(tensors(batch), key(config.seed, "update", number)).numpy()
        for number, batch in enumerate(batches)
    ]
    values = several.train_several(batches, range(2))
    assert several.metric_names == single.metric_names
    np.testing.assert_allclose(values, rows, rtol=1e-4, atol=1e-5)
    assert not np.allclose(values[0], values[1])
    for name, value in weights(single).items():
        # Adam's steps have the size of the rate, 6e-4 for the model, whatever the gradient.
        np.testing.assert_allclose(weights(several)[name], value, atol=2e-5, err_msg=name)
    several.train_several(batches, range(2, 4))
    assert several._train_several.experimental_get_tracing_count() == 1


def test_several_updates_in_a_call_are_those_of_single_ones():
    assert_several_are_single_ones(tiny_config(**{**SHORT, **DREAMER}))


def test_compiled_by_xla_they_are_too(monkeypatch):
    """All of CLION, which XLA compiles for half a minute. Its random numbers are others."""
    config, noise = tiny_config(**{**SHORT, "batch_length": 2}), RecordedNoise()
    Agent(config, 2).gradients(tensors(tiny_batch(config)), noise)
    monkeypatch.setattr("clion_tf.agents.base.noises.SeededNoise", lambda seed: noise.again())
    assert_several_are_single_ones(config, jit=True)


def test_acting_as_it_was_before():
    agent = tiny_agent(**SHORT, actor_lr=0.1, model_lr=0.1)
    image = tiny_batch(tiny_config())["image"][:1, 0]

    def act(**how):
        return agent.policy({"image": image}, agent.initial(1), (0, 0), True, 0.0, **how)[0]

    before = act()
    agent.snapshot_networks()
    agent.update(tensors(tiny_batch(tiny_config(**SHORT))), seeded())
    assert np.array_equal(act(earlier=True), before)
    assert not np.array_equal(act(), before)
    agent.snapshot_networks()
    assert np.array_equal(act(earlier=True), act())
