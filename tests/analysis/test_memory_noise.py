"""Noise on the memory of an agent that acts."""

import numpy as np
import pytest
import tensorflow as tf
from small_agents import tiny_agent, tiny_config

from clion_tf.analysis.memory_noise import NoisyMemory
from clion_tf.learning.noise import GivenNoise
from clion_tf.learning.preprocessing import preprocess

IMAGES = np.random.default_rng(3).integers(0, 256, (5, 2, 64, 64, 3), np.uint8)  # [T, N, ...].
DETER = 6
EPS = np.random.default_rng(4).normal(size=(5, 2, DETER)).astype(np.float32)


def noisy(amount, relative=True, agent=None, **options):
    agent = agent or tiny_agent(**options)
    return NoisyMemory(tiny_config(**options), agent, amount, relative)


def play(agent, episode=0, images=IMAGES):
    """Actions [T, N, A] of evaluation, and the states after each."""
    state, actions, states = agent.initial(images.shape[1]), [], []
    for step, image in enumerate(images):
        action, state = agent.policy({"image": image}, state, (episode, step), False, 0.0)
        actions.append(action)
        states.append(state)
    return np.array(actions), states


def given(agent, eps=EPS, images=IMAGES):
    """The same by `policy_step`, with this noise on memory and none elsewhere."""
    state, actions, states = agent.initial(images.shape[1]), [], []
    for image, e in zip(images, eps, strict=True):
        noise = GivenNoise({"memory": tf.constant(e)})
        seen = {"image": tf.constant(image)}
        action, state = agent.policy_step(seen, state, noise, False, 0.0, agent.models)
        actions.append(action.numpy())
        states.append(state)
    return np.array(actions), states


def test_absolute_noise_by_hand():
    """h' = h + 0.5 e is what the actor reads and what the next step starts from."""
    agent = tiny_agent(eval_action="mean")
    actions, states = given(noisy(0.5, False, agent, eval_action="mean"))
    models, state = agent.models, agent.initial(2)
    for step, image in enumerate(IMAGES):
        embed = models.encode(preprocess({"image": tf.constant(image)}))
        eps = tf.zeros([2, 3])
        latent, _ = models.rssm.obs_step(state, state["action"], embed, eps)
        latent = {**latent, "deter": latent["deter"] + 0.5 * EPS[step]}
        action = models.actor(models.rssm.get_feat(latent)).mean_action()
        np.testing.assert_allclose(actions[step], action, atol=1e-6)
        np.testing.assert_allclose(states[step]["noisy"]["deter"], latent["deter"], atol=1e-6)
        state = {**latent, "action": action}
    assert np.abs(actions - given(agent)[0]).max() > 0.01


def test_relative_noise_is_absolute_times_the_spread_so_far():
    agent = tiny_agent(eval_action="mean")
    actions, states = given(noisy(0.5, True, agent, eval_action="mean"))
    clean = np.array([state["clean"]["deter"] for state in states])
    scales = [np.sqrt(clean[: n + 1].var(0).mean(-1, keepdims=True)) for n in range(5)]
    assert not scales[0].any() and (np.array(scales[1:]) > 0).all()
    expected, _ = given(noisy(0.5, False, agent, eval_action="mean"), EPS * scales)
    np.testing.assert_allclose(actions, expected, atol=1e-6)
    # The first step has none.
    np.testing.assert_array_equal(actions[0], given(agent)[0][0])
    assert np.abs(actions[1] - given(agent)[0][1]).max() > 1e-4


def test_the_scale_is_that_of_memory_without_noise(eagerly):
    """However large the noise: of the frames seen and the actions done, as if there were none."""
    agent = tiny_agent()
    state = agent.initial(2)
    _, states = play(noisy(1000.0, agent=agent))
    assert np.abs(states[-1]["noisy"]["deter"]).max() > 10
    for step, image in enumerate(IMAGES):
        _, state = agent.policy({"image": image}, state, (0, step), False, 0.0)
        np.testing.assert_allclose(states[step]["clean"]["deter"], state["deter"], atol=1e-6)
        state = {**state, "action": states[step]["noisy"]["action"]}


@pytest.mark.parametrize("relative", [True, False])
@pytest.mark.parametrize("options", [{}, {"eval_action": "sample"}])
def test_no_noise_is_the_agent_itself(relative, options, eagerly):
    agent = tiny_agent(**options)
    np.testing.assert_array_equal(play(noisy(0.0, relative, agent, **options))[0], play(agent)[0])


def test_noise_follows_episode_and_step_and_seed(eagerly):
    agent = tiny_agent()
    first, again = (play(noisy(0.5, agent=agent), 1)[0] for _ in range(2))
    np.testing.assert_array_equal(first, again)

    def added(episode, seed=0):
        other = NoisyMemory(tiny_config(seed=seed), agent, 1.0, False)
        clean = NoisyMemory(tiny_config(seed=seed), agent, 0.0, False)
        image = {"image": IMAGES[0]}
        states = [a.policy(image, a.initial(2), episode, False, 0.0)[1] for a in (other, clean)]
        return np.subtract(*(state["noisy"]["deter"] for state in states))

    base = added((2, 5))
    assert base.std() == pytest.approx(1, abs=0.5) and np.unique(base).size == base.size
    for other in (added((3, 5)), added((2, 6)), added((2, 5), seed=1)):
        assert np.abs(base - other).max() > 0.1


def test_in_sixteen_bits(eagerly):
    agent = tiny_agent("bf16")
    _, states = play(NoisyMemory(tiny_config(), agent, 0.5))
    assert states[-1]["noisy"]["deter"].dtype == tf.bfloat16
    assert np.isfinite(tf.cast(states[-1]["noisy"]["deter"], tf.float32).numpy()).all()


def test_traces_once():
    agent = noisy(0.5)
    play(agent)
    assert agent._act(False, False).experimental_get_tracing_count() == 1
