"""Several updates in one call, and acting as the agent was before."""

import numpy as np
import pytest
from small_agents import tiny_agent, tiny_batch, tiny_config, weights

from clion_tf.agents.clion import Agent
from clion_tf.config import DREAMER

# XLA compiles all of CLION for a minute, which test_agent.py does once.


@pytest.mark.parametrize("jit", [False, True], ids=["plain", "xla"])
def test_several_updates_in_a_call_are_those_of_single_calls(jit):
    config = tiny_config(**(DREAMER if jit else {}), batch_length=3, horizon=2)
    single, several = (Agent(config, 2, jit=jit) for _ in range(2))
    batches = [tiny_batch(config, seed) for seed in range(3)]
    rows = [single.train(batch, number).numpy() for number, batch in enumerate(batches)]
    found = several.train_several(batches, range(3)).numpy()
    assert several.metric_names == single.metric_names
    np.testing.assert_allclose(found, rows, rtol=1e-4, atol=1e-5)
    assert not np.allclose(found[0], found[1])
    for name, value in weights(single).items():
        np.testing.assert_allclose(weights(several)[name], value, atol=2e-5, err_msg=name)


def test_several_updates_trace_once():
    agent = tiny_agent()
    batches = [tiny_batch(tiny_config(), seed) for seed in range(2)]
    for first in (0, 2):
        agent.train_several(batches, range(first, first + 2))
    assert agent._train_several.experimental_get_tracing_count() == 1


def test_acting_as_it_was_before():
    agent = tiny_agent(actor_lr=0.1, model_lr=0.1)
    image = tiny_batch(tiny_config())["image"][:1, 0]

    def act(**how):
        return agent.policy({"image": image}, agent.initial(1), (0, 0), True, 0.0, **how)[0]

    before = act()
    agent.remember()
    agent.train(tiny_batch(tiny_config()), 0)
    assert np.array_equal(act(earlier=True), before)
    assert not np.array_equal(act(), before)
    agent.remember()
    assert np.array_equal(act(earlier=True), act())
