"""Six updates against DrQ's original code: the losses, and every weight after them.

tests/golden/drq_original.npz is what drq_original.py made of that code, with PyTorch on CPU.
"""

import pathlib

import drq_case as case
import numpy as np
import pytest
import tensorflow as tf
from drq_agents import tensors, tiny_config, weights

from clion_tf.agents.drq.drq_agent import DrQ
from clion_tf.config import Config
from clion_tf.learning.noise import GivenNoise

GOLDEN = pathlib.Path(__file__).resolve().parents[2] / "golden" / "drq_original.npz"


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDEN) as file:
        return dict(file)


def test_defaults_are_the_originals_constants():
    found, constants = Config(agent="drq"), case.CONSTANTS
    assert (found.discount, found.drq_init_temperature) == (0.99, 0.1)
    assert (found.drq_lr, found.drq_tau) == (constants["lr"], constants["tau"])
    assert (found.drq_actor_every, found.drq_target_every) == (constants["every"],) * 2
    assert (found.drq_pad, found.drq_targets, found.drq_online) == (case.PAD, *[case.COPIES] * 2)
    assert (found.drq_image_size, found.drq_filters) == (case.SIZE, case.FILTERS)


def begun() -> DrQ:
    """An agent with the case's weights."""
    constants = case.CONSTANTS
    config = tiny_config(
        batch_size=case.BATCH, discount=constants["discount"], drq_image_size=case.SIZE,
        drq_filters=case.FILTERS, drq_feature_dim=case.PROJECTED, drq_units=case.UNITS,
        drq_pad=case.PAD, drq_targets=case.COPIES, drq_online=case.COPIES, drq_lr=constants["lr"],
        drq_tau=constants["tau"], drq_actor_every=constants["every"],
        drq_target_every=constants["every"], drq_init_temperature=constants["init_temperature"],
    )  # fmt: skip
    agent, values = DrQ(config, case.ACTIONS), case.weights()
    variables = agent.models.named_weights()
    for name, variable in variables.items():
        if name != "temperature/log_alpha":
            variable.assign(values[name.removeprefix("target_")])
    assert {n.removeprefix("target_") for n in variables} - {"temperature/log_alpha"} == set(values)
    return agent


def uniform(offsets: np.ndarray) -> np.ndarray:
    """Noise in [-1, 1) that chooses these offsets."""
    return (offsets + 0.5) / (2 * case.PAD + 1) * 2 - 1


def step(agent: DrQ, update: int) -> dict[str, float]:
    """One update of the case; its metrics."""
    data = case.batch(update)
    noise = {
        "shift": uniform(data.pop("shift")),
        "next_shift": uniform(data.pop("next_shift")),
        "next_action": data.pop("next_action"),
        "action": data.pop("new_action"),
    }
    noise = GivenNoise({name: tf.constant(value, tf.float32) for name, value in noise.items()})
    return {n: float(v) for n, v in agent.update(tensors(agent, data, update), noise).items()}


@pytest.fixture(scope="module")
def trained():
    agent = begun()
    return agent, [step(agent, update) for update in range(case.UPDATES)]


def test_the_losses_are_the_originals(trained, golden):
    _, metrics = trained
    every = case.CONSTANTS["every"]
    for update, found in enumerate(metrics):
        # It adds up over the augmentations, ours averages.
        expected = golden[f"{update}/critic/loss"] / case.COPIES
        assert found["behaviour/critic_loss"] == pytest.approx(expected, rel=1e-3), update
        assert (f"{update}/actor/loss" in golden) == (update % every == 0)
        for ours, its in (("actor_loss", "actor/loss"), ("temperature_loss", "alpha/loss")):
            # Metrics are means over updates, and only every second one has these.
            expected = every * golden.get(f"{update}/{its}", 0.0)
            assert found[f"behaviour/{ours}"] == pytest.approx(expected, rel=1e-3), update


def test_every_weight_after_the_updates_is_the_originals(trained, golden):
    agent, _ = trained
    first, after = case.summary(weights(begun())), case.summary(weights(agent))
    assert {f"after/{name}" for name in after} == {n for n in golden if n.startswith("after/")}
    for name, found in after.items():
        moved = np.abs(found - first[name]).max()
        error = np.abs(found - golden[f"after/{name}"]).max()
        # Adam's first steps have one length, also where a gradient is hardly more than rounding,
        # as it is for many of these convolutions' weights.
        convolution = "encoder" in name and name.endswith("kernel")
        assert 0 < moved and error < (0.15 if convolution else 0.01) * moved, (name, error, moved)
