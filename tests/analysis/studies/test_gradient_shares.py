"""What the terms of the world model's loss ask of its weights."""

import pytest
from small_agents import ACTIONS, seeded, tensors, tiny_agent, tiny_batch, tiny_config

from clion_tf.agents.clion import Agent
from clion_tf.analysis.studies import judging
from clion_tf.learning import world_model


def found(**options):
    data = tensors(tiny_batch(tiny_config(**options)))
    return judging.gradient_shares(tiny_agent(**options), data, seeded())


def test_without_noise_the_decoding_constraint_is_the_image_loss_again():
    image = {"decoding_target": "observation", "beta2": 0.5}
    same = found(sigma_h=0.0, **image)
    assert same["gradient_decoding"] == pytest.approx(same["gradient_image"], rel=1e-4)
    assert same["gradient_cosine"] == pytest.approx(1.0, abs=1e-5)
    noisy = found(sigma_h=1.0, **image)
    assert noisy["gradient_cosine"] < 0.999


def test_norms_are_of_the_terms_as_they_stand_in_the_loss():
    once, twice = found(), found(beta1=2 * tiny_config().beta1, kl_scale=2.0, free_nats=0.0)
    assert twice["gradient_embedding"] == pytest.approx(2 * once["gradient_embedding"], rel=1e-4)
    assert twice["gradient_image"] == pytest.approx(once["gradient_image"], rel=1e-6)
    unscaled = found(free_nats=0.0)
    assert twice["gradient_kl"] == pytest.approx(2 * unscaled["gradient_kl"], rel=1e-4) != 0
    # Below the free nats the KL asks for nothing.
    assert found(free_nats=1e6)["gradient_kl"] == 0.0


def test_terms_add_up_to_the_loss():
    agent, data = tiny_agent(beta1=0.3), tensors(tiny_batch(tiny_config()))
    out = world_model.loss(agent.models, agent.config, data, seeded())
    assert set(out.terms) == {"image", "reward", "kl", "embedding", "decoding"}
    assert float(sum(out.terms.values())) == pytest.approx(float(out.loss), rel=1e-6)
    # What is off is no term.
    off = found(beta1=0.0, beta2=0.0)
    assert set(off) == {"gradient_image", "gradient_reward", "gradient_kl"}


def test_vectors():
    data = tiny_batch(tiny_config())
    data["vector"] = data.pop("image")[:, :, 0, 0].astype("f4")
    config = tiny_config(sigma_h=0.0, decoding_target="observation")
    agent = Agent(config, ACTIONS, observed={"vector": (3,)})
    terms = judging.gradient_shares(agent, tensors(data), seeded())
    assert "gradient_image" not in terms and "gradient_embedding" not in terms
    assert terms["gradient_vector"] > 0
    assert terms["gradient_cosine"] == pytest.approx(1.0, abs=1e-5)
