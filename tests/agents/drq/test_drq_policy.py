"""How DrQ acts, and that it learns to."""

import numpy as np
import pytest
from drq_agents import ACTIONS, SIZE, step, tensors, tiny_agent, tiny_batch, tiny_config
from small_agents import RecordedNoise

from clion_tf.agents.drq.drq_agent import DrQ
from clion_tf.config import ConfigError


def episode(agent, images, rotation=None, training=False, amount=0.0, earlier=False):
    """The actions at images [T, N, S, S, 3]."""
    policy_state, actions = agent.initial(images.shape[1]), []
    for t, image in enumerate(images):
        observation = {"image": image, "unseen": None}
        if rotation is not None:
            observation["rotation"] = rotation[t]
        action, policy_state = agent.policy(
            observation, policy_state, (0, t), training, amount, earlier
        )
        actions.append(action)
    return np.stack(actions)


def images():
    return np.swapaxes(tiny_batch()["image"], 0, 1)


@pytest.fixture(scope="module")
def agent():
    """For tests that do not train it."""
    return tiny_agent()


def test_the_mean_action_is_the_actors_for_the_stack(agent):
    frames = images()
    found = episode(agent, frames)
    models = agent.models
    seen = np.concatenate([frames[i] for i in (1, 2, 3)], -1)
    expected = models.actor(models.encoder(seen)).mean_action()
    np.testing.assert_allclose(found[3], expected, rtol=1e-5, atol=1e-6)
    start = models.actor(models.encoder(np.tile(frames[0], (1, 1, 1, 3)))).mean_action()
    np.testing.assert_allclose(found[0], start, rtol=1e-5, atol=1e-6)
    assert found.shape == (4, frames.shape[1], ACTIONS) and np.abs(found).max() < 1


def test_rows_do_not_see_each_other(agent):
    frames = images()
    alone = np.concatenate([episode(agent, frames[:, i : i + 1]) for i in range(2)], 1)
    np.testing.assert_allclose(episode(agent, frames[:, :2]), alone, rtol=1e-4, atol=1e-5)


def test_training_samples_by_episode_and_step(agent):
    frames = images()
    first, again = (episode(agent, frames, training=True) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert not np.allclose(first, episode(agent, frames))
    still = episode(agent, np.repeat(frames[:1], 2, 0), training=True)
    assert not np.allclose(still[0], still[1])


def test_exploration_noise_is_added_and_clipped(agent):
    frames = images()
    noisy = episode(agent, frames, amount=0.3)
    assert not np.allclose(noisy, episode(agent, frames)) and np.abs(noisy).max() <= 1


def test_exploration_has_the_standard_deviation_asked_for(agent):
    frames = np.repeat(images()[:1, :1], 800, 1)
    quiet, loud = (episode(agent, frames, amount=amount)[0] for amount in (0.0, 0.1))
    free = np.abs(quiet) < 0.6  # Of being clipped.
    added = (np.float64(loud) - quiet)[free]
    # The standard deviation of 800 draws has an error of 2.5 %.
    assert added.size >= 800 and added.std() == pytest.approx(0.1, rel=0.1)
    assert abs(added.mean()) < 0.015 and np.abs(added).max() > 0.25  # Not uniform.


def test_all_noise_of_an_update_is_of_its_kind(agent):
    noise = RecordedNoise()
    tiny_agent().update(tensors(agent, tiny_batch()), noise)
    kinds = {"shift": "uniform", "next_shift": "uniform"}
    assert noise.kinds == kinds | dict.fromkeys(("action", "next_action"), "normal")


@pytest.mark.parametrize("how", ["sample", "densest"])
def test_other_evaluation_policies(agent, how):
    frames = images()
    found = episode(tiny_agent(eval_action=how), frames)
    assert not np.allclose(found, episode(agent, frames)) and np.abs(found).max() <= 1


def test_a_turned_stack_is_acted_on(agent):
    turning, frames = tiny_agent(stack_rotation="same"), images()
    angles = tiny_batch()["rotation"].T
    straight = episode(turning, frames, np.zeros_like(angles))
    np.testing.assert_allclose(straight, episode(agent, frames), rtol=1e-5, atol=1e-6)
    assert not np.allclose(episode(turning, frames, angles), straight)
    assert turning.observed == {**agent.observed, "rotation": ()}


def test_acting_as_it_was_before():
    agent, frames = tiny_agent(), images()
    before = episode(agent, frames)
    agent.snapshot_networks()
    step(agent, 0)
    np.testing.assert_array_equal(episode(agent, frames, earlier=True), before)
    assert not np.array_equal(episode(agent, frames), before)
    agent.snapshot_networks()
    np.testing.assert_array_equal(episode(agent, frames, earlier=True), episode(agent, frames))


def test_discrete_actions_are_refused():
    with pytest.raises(ConfigError, match="--agent=drq"):
        DrQ(tiny_config(), 3, discrete=True)


@pytest.mark.parametrize(
    "given", [{"image": (64, 64, 3)}, {"vector": (4,)}, {"image": (SIZE, SIZE, 3)}]
)
def test_other_observations_are_refused(given):
    """The last one lacks the angle."""
    with pytest.raises(ConfigError, match="--agent=drq: needs"):
        DrQ(tiny_config(stack_rotation="same"), 3, observed=given)


def bandit(random, rows=32):
    """Bright or dark pictures; the best action is 0.5 in the light and -0.5 in the dark."""
    bright = random.integers(0, 2, rows)
    shade = (40 + 160 * bright[:, None, None, None, None]).astype(np.uint8)
    action = random.uniform(-1, 1, (rows, 4, ACTIONS)).astype(np.float32)
    best = (bright - 0.5)[:, None, None]
    return {
        "image": shade + random.integers(0, 40, (rows, 4, SIZE, SIZE, 3), dtype=np.uint8),
        "action": action,
        "reward": -np.square(action - best).sum(-1).astype(np.float32),
        "discount": np.zeros((rows, 4), np.float32),
    }


@pytest.mark.slow
def test_learns_what_to_do_in_light_and_dark():
    agent = tiny_agent(
        drq_units=32, drq_filters=4, drq_feature_dim=8, drq_lr=3e-3, drq_init_temperature=0.01
    )
    random = np.random.default_rng(0)
    for update in range(300):
        agent.train(bandit(random), update)
    pictures = np.stack([np.full((SIZE, SIZE, 3), 20 + 40 + 160 * i, np.uint8) for i in (0, 1)])
    dark, light = episode(agent, pictures[None])[0]
    np.testing.assert_allclose(dark, -0.5, atol=0.15)
    np.testing.assert_allclose(light, 0.5, atol=0.15)
