"""One update: its numbers, who trains whom, when, and that it is a function of its arguments."""

import drq_numpy
import numpy as np
import pytest
import tensorflow as tf
from drq_agents import (
    ACTIONS,
    BATCH,
    SAC,
    parts_moved,
    seeded,
    step,
    tensors,
    tiny_agent,
    tiny_batch,
    weights,
)
from small_agents import RecordedNoise

from clion_tf.agents.base import KERAS_DTYPES
from clion_tf.agents.drq import frame_stacks
from clion_tf.agents.drq.frame_stacks import views
from clion_tf.learning.noise import GivenNoise, SeededNoise, key

CRITIC, ACTOR = {"encoder", "critic"}, {"actor", "temperature"}
TARGETS = {"target_encoder", "target_critic"}
ONCE = {"drq_targets": 1, "drq_online": 1}  # Shifted, but each picture once: a third of the time.


def normal(rows, seed=3):
    return np.random.default_rng(seed).normal(size=(rows, ACTIONS))


def unlike_its_target(agent):
    """The agent after some updates, so that target and critic differ."""
    for update in range(4):
        step(agent, update, tiny_batch(update + 10))
    return agent


def doubles(agent):
    return {name: value.astype(np.float64) for name, value in weights(agent).items()}


@pytest.fixture(scope="module")
def sac():
    """An agent without augmentation: SAC on pixels."""
    return unlike_its_target(tiny_agent(**SAC))


def test_without_augmentation_the_losses_are_sacs(sac):
    w, batch = doubles(sac), tiny_batch()
    noise = {"next_action": normal(BATCH), "action": normal(BATCH, 4)}
    obs, next_obs = frame_stacks.transition(tensors(sac, batch), turned=False)
    _, out = sac.critic_gradients(tensors(sac, batch), obs, next_obs, GivenNoise(noise))
    y = drq_numpy.target(w, batch, drq_numpy.stacked(batch["image"], 1), noise["next_action"])
    np.testing.assert_allclose(out["target"], y, rtol=1e-4, atol=1e-5)
    first = drq_numpy.stacked(batch["image"], 0)
    expected = drq_numpy.critic_loss(w, batch, first, y)
    assert float(out["loss"]) == pytest.approx(expected, rel=1e-4)
    _, out = sac.actor_gradients(obs, GivenNoise(noise))
    actor, temperature = drq_numpy.actor_losses(w, first, noise["action"])
    assert float(out["actor"]) == pytest.approx(actor, rel=1e-4)
    assert float(out["temperature"]) == pytest.approx(temperature, rel=1e-4)


def slope(function, w, name, index, step=1e-5):
    """d function / d w[name][index] by central differences."""
    values = []
    for sign in (1, -1):
        moved = {**w, name: w[name].copy()}
        moved[name][index] += sign * step
        values.append(function(moved))
    return (values[0] - values[1]) / (2 * step)


@pytest.mark.parametrize(
    "name", ["encoder/h1/kernel", "encoder/h4/bias", "critic/projection/kernel", "critic/norm/gain",
             "critic/q1_hout/kernel", "critic/q2_h0/kernel"],
)  # fmt: skip
def test_gradient_of_the_critic(sac, name):
    w, batch, noise = doubles(sac), tiny_batch(), GivenNoise()
    data = tensors(sac, batch)
    grads, out = sac.critic_gradients(data, *frame_stacks.transition(data, turned=False), noise)
    found = dict(zip((v.path for v in sac.optimizers["critic"].variables), grads, strict=True))
    gradient, y = found[name].numpy(), out["target"].numpy().astype(np.float64)
    index = np.unravel_index(np.abs(gradient).argmax(), gradient.shape)
    first = drq_numpy.stacked(batch["image"], 0)
    expected = slope(lambda v: drq_numpy.critic_loss(v, batch, first, y), w, name, index)
    assert gradient[index] == pytest.approx(expected, rel=2e-3)


@pytest.mark.parametrize("name", ["actor/projection/kernel", "actor/h0/kernel", "actor/hout/bias"])
def test_gradient_of_the_actor(sac, name):
    w, batch, eps = doubles(sac), tiny_batch(), normal(BATCH, 4)
    obs, _ = frame_stacks.transition(tensors(sac, batch), turned=False)
    grads, _ = sac.actor_gradients(obs, GivenNoise({"action": eps}))
    found = dict(
        zip((v.path for v in sac.optimizers["actor"].variables), grads["actor"], strict=True)
    )
    gradient = found[name].numpy()
    index = np.unravel_index(np.abs(gradient).argmax(), gradient.shape)
    first = drq_numpy.stacked(batch["image"], 0)
    expected = slope(lambda v: drq_numpy.actor_losses(v, first, eps)[0], w, name, index)
    assert gradient[index] == pytest.approx(expected, rel=2e-3, abs=1e-5)


def test_augmentations_are_averaged():
    """K = 2 and M = 3 give the means of what each augmentation gives alone."""
    agent = unlike_its_target(tiny_agent())
    w, batch, data = doubles(agent), tiny_batch(), tensors(agent, tiny_batch())
    obs, next_obs = frame_stacks.transition(data, turned=False)
    obs = views(obs, 3, 2, seeded(), "shift").numpy()
    next_obs = views(next_obs, 2, 2, seeded(), "next_shift").numpy()
    eps = normal(2 * BATCH)
    _, out = agent.critic_gradients(data, obs, next_obs, GivenNoise({"next_action": eps}))
    parts = (slice(0, BATCH), slice(BATCH, 2 * BATCH), slice(2 * BATCH, 3 * BATCH))
    y = np.mean([drq_numpy.target(w, batch, next_obs[p], eps[p]) for p in parts[:2]], 0)
    np.testing.assert_allclose(out["target"], y, rtol=1e-4, atol=1e-5)
    expected = np.mean([drq_numpy.critic_loss(w, batch, obs[p], y) for p in parts])
    assert float(out["loss"]) == pytest.approx(expected, rel=1e-4)


def test_an_update_uses_the_shifts_that_its_noise_gives():
    agent = tiny_agent()
    plain, shifted = tiny_agent(), tiny_agent(drq_pad=0)
    data, noise = tensors(agent, tiny_batch()), seeded()
    obs, next_obs = frame_stacks.transition(data, turned=False)
    obs = views(obs, 3, 2, noise, "shift")
    next_obs = views(next_obs, 2, 2, noise, "next_shift")
    _, out = agent.critic_gradients(data, obs, next_obs, noise)
    assert float(plain.update(data, noise)["behaviour/critic_loss"]) == pytest.approx(
        float(out["loss"]), rel=1e-5
    )
    assert float(shifted.update(data, noise)["behaviour/critic_loss"]) != pytest.approx(
        float(out["loss"]), rel=1e-3
    )


def test_discount_ends_the_future():
    agent = tiny_agent(**SAC)
    batch = tiny_batch()
    batch["discount"][:] = 0
    data = tensors(agent, batch)
    _, out = agent.critic_gradients(data, *frame_stacks.transition(data, turned=False), seeded())
    np.testing.assert_array_equal(out["target"], batch["reward"][:, 3])


def test_each_loss_moves_exactly_its_own_networks():
    agent = tiny_agent()
    owners = {"critic": CRITIC, "actor": {"actor"}, "temperature": {"temperature"}}
    data = tensors(agent, tiny_batch())
    obs, next_obs = frame_stacks.transition(data, turned=False)
    obs, next_obs = tf.tile(obs, [3, 1, 1, 1]), tf.tile(next_obs, [2, 1, 1, 1])
    grads = {"critic": agent.critic_gradients(data, obs, next_obs, seeded())[0]}
    grads |= agent.actor_gradients(obs[:BATCH], seeded())[0]
    for loss, gradient in grads.items():
        assert all(np.any(g.numpy() != 0) for g in gradient), loss
        before = weights(agent)
        agent.optimizers[loss].apply(gradient, tf.linalg.global_norm(gradient))
        assert parts_moved(before, weights(agent)) == owners[loss]


@pytest.mark.parametrize(
    "update, moved", [(0, CRITIC | ACTOR | TARGETS), (1, CRITIC), (2, CRITIC | ACTOR),
                      (3, CRITIC | TARGETS), (4, CRITIC | ACTOR)],
)  # fmt: skip
def test_actor_and_targets_step_when_they_are_due(update, moved):
    agent = tiny_agent(drq_actor_every=2, drq_target_every=3)
    before = weights(agent)
    step(agent, update)
    assert parts_moved(before, weights(agent)) == moved


def test_targets_take_over_a_share_of_the_new_critic():
    agent = unlike_its_target(tiny_agent(drq_tau=0.25))
    before = weights(agent)
    step(agent, 0)
    after = weights(agent)
    for name in [n for n in after if n.startswith("target_")]:
        online = after[name.removeprefix("target_")]
        expected = 0.25 * online + 0.75 * before[name]
        np.testing.assert_allclose(after[name], expected, rtol=1e-6, atol=1e-7)
        assert not np.array_equal(online, before[name.removeprefix("target_")])


def test_the_actor_learns_from_the_critic_that_has_just_stepped():
    agent, parts = tiny_agent(**SAC), tiny_agent(**SAC)
    data, noise = tensors(agent, tiny_batch()), seeded()
    obs, next_obs = frame_stacks.transition(data, turned=False)
    agent.update(data, noise)
    before, _ = parts.actor_gradients(obs, noise)
    grads, _ = parts.critic_gradients(data, obs, next_obs, noise)
    parts.optimizers["critic"].apply(grads, tf.linalg.global_norm(grads))
    after, _ = parts.actor_gradients(obs, noise)
    assert not np.allclose(before["actor"][0], after["actor"][0])
    for loss, gradient in after.items():
        parts.optimizers[loss].apply(gradient, tf.linalg.global_norm(gradient))
    for name in ("actor/h0/kernel", "temperature/log_alpha", "encoder/h1/kernel"):
        np.testing.assert_allclose(weights(parts)[name], weights(agent)[name], atol=1e-6)


def test_adams_first_step_is_the_learning_rate():
    agent = tiny_agent()
    before = weights(agent)["temperature/log_alpha"]
    step(agent, 0)
    assert before == pytest.approx(np.log(0.1))
    assert abs(weights(agent)["temperature/log_alpha"] - before) == pytest.approx(0.01, rel=1e-4)


def test_metrics_of_updates_with_and_without_the_actor():
    agent, single = tiny_agent(), tiny_agent(drq_actor_every=1)
    with_actor, every_time = step(agent, 0), step(single, 0)
    assert with_actor.keys() == every_time.keys()
    halved = ("actor_loss", "temperature_loss", "actor_grad_norm")
    for name, value in every_time.items():
        factor = 2 if name.split("/")[1] in halved else 1
        assert with_actor[name] == pytest.approx(factor * value, rel=1e-5), name
    without = step(agent, 1)
    assert all(without[f"behaviour/{name}"] == 0 for name in halved)
    assert without["behaviour/critic_loss"] > 0 and without["model/skipped"] == 0
    assert every_time["behaviour/temperature"] == pytest.approx(0.1)


def test_bad_numbers_move_nothing():
    agent = tiny_agent()
    before = weights(agent)
    batch = tiny_batch()
    batch["reward"][1, 3] = np.nan
    assert step(agent, 0, batch)["model/skipped"] == 1
    assert parts_moved(before, weights(agent)) == set()
    assert step(agent, 0)["model/skipped"] == 0


def test_bad_numbers_of_the_actor_are_counted_too():
    agent = tiny_agent(drq_target_every=3)
    agent.models.temperature.log_alpha.assign(200.0)  # exp of it is not finite in float32.
    batch = tiny_batch()
    batch["discount"][:] = 0
    before = weights(agent)
    found = step(agent, 2, batch)
    # 0 * inf is not a number, so the critic does not step either.
    assert found["model/skipped"] == 1 and parts_moved(before, weights(agent)) == set()


def state(agent):
    return {name: v.numpy() for name, v in agent.named_state().items()}


def assert_same(first, second):
    for name, value in state(first).items():
        np.testing.assert_array_equal(value, state(second)[name], err_msg=name)


def test_update_is_a_function_of_weights_batch_and_number():
    first, second, other = (tiny_agent(**ONCE) for _ in range(3))
    for update in range(2):
        step(first, update, tiny_batch(update))
        step(second, update, tiny_batch(update))
        step(other, update + 2, tiny_batch(update))
    assert_same(first, second)
    assert not np.array_equal(weights(first)["actor/h0/kernel"], weights(other)["actor/h0/kernel"])


def test_a_saved_state_goes_on_as_if_nothing_had_been():
    agent, restored = tiny_agent(**ONCE), tiny_agent(**ONCE, seed=1)
    step(agent, 0)
    saved = state(agent)
    assert saved.keys() == restored.named_state().keys()
    for name, variable in restored.named_state().items():
        variable.assign(saved[name])
    for update in (1, 2):
        step(agent, update, tiny_batch(update))
        step(restored, update, tiny_batch(update))
    assert_same(agent, restored)


def test_compiled_and_several_in_a_call_are_the_same():
    plain, several = tiny_agent(**ONCE), tiny_agent(**ONCE)
    batches = [tiny_batch(seed) for seed in range(3)]
    rows = [
        plain.update(tensors(plain, batch, number), SeededNoise(key(0, "update", number)))
        for number, batch in enumerate(batches)
    ]
    found = several.train_several(batches, range(3))
    assert several.metric_names == list(rows[0])
    expected = [[float(value) for value in row.values()] for row in rows]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    for name, value in weights(plain).items():
        np.testing.assert_allclose(weights(several)[name], value, atol=2e-5, err_msg=name)


@pytest.mark.slow
def test_compiled_by_xla_is_the_same_with_the_same_noise():
    """XLA's random numbers are others."""
    plain, compiled = (tiny_agent(**SAC, stack_rotation="same") for _ in range(2))
    noise, data = RecordedNoise(), tensors(plain, tiny_batch())
    expected = plain.update(data, noise)
    compiled.build_optimizers()  # Made now, or the update would be traced twice.
    update = tf.function(compiled.update, jit_compile=True, autograph=False)
    found = update(data, noise.again())
    for name, value in expected.items():
        assert float(found[name]) == pytest.approx(float(value), rel=1e-3), name


@pytest.mark.parametrize("precision", sorted(set(KERAS_DTYPES) - {"32"}))
def test_sixteen_bits_come_close(precision):
    exact, rounded = tiny_agent(), tiny_agent(precision)
    expected, found = step(exact, 0), step(rounded, 0)
    assert found["model/skipped"] == 0
    for name in ("behaviour/critic_loss", "behaviour/value", "behaviour/target_value"):
        assert found[name] == pytest.approx(expected[name], rel=0.05, abs=0.05), name


def test_turned_stacks_change_the_update():
    batch = tiny_batch()
    turned, plain = step(tiny_agent(stack_rotation="same"), 0, batch), step(tiny_agent(), 0)
    assert turned["behaviour/critic_loss"] != pytest.approx(plain["behaviour/critic_loss"])
    batch["rotation"][:] = 0
    straight = step(tiny_agent(stack_rotation="same"), 0, batch)
    assert straight["behaviour/critic_loss"] == pytest.approx(plain["behaviour/critic_loss"])


def test_parameter_counts():
    counts = tiny_agent().parameter_counts()
    assert counts.keys() == {"critic", "actor", "temperature"} and counts["temperature"] == 1
