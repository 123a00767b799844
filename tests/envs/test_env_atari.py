"""Atari games; ale-py brings them along."""

import numpy as np
import pytest

from clion_tf.envs import EnvError, EnvSpec, RemoteEnv, UnknownTaskError
from clion_tf.envs.make_env import make
from clion_tf.envs.wrappers import fit

ale_py = pytest.importorskip("ale_py")

from clion_tf.envs import atari  # noqa: E402
from clion_tf.envs.wrappers import ActionRepeat  # noqa: E402


class Emulator:
    """Scripted frames: frame n shows the number n; lives and ends by frame."""

    observation_space = ale_py.AtariEnv("pong").observation_space
    action_space = ale_py.AtariEnv("pong").action_space

    def __init__(self, lives=None, over=()):
        self.lives, self.over, self.seeds, self.frame, self.actions = lives or {}, over, [], 0, []

    def _look(self):
        life = min((n for at, n in self.lives.items() if at <= self.frame), default=3)
        # Even and odd frames show different halves, as games that flicker do.
        screen = np.zeros(self.observation_space.shape, np.uint8)
        screen[self.frame % 2 :: 2] = self.frame
        return screen, {"lives": life}

    def reset(self, seed=None):
        self.seeds.append(seed)
        self.frame = 0
        return self._look()

    def step(self, action):
        self.frame += 1
        self.actions.append(action)
        screen, info = self._look()
        return screen, 1.0, self.frame in self.over, False, info


@pytest.fixture
def scripted(monkeypatch):
    """Function: a scripted game that begins with one frame of doing nothing, actions held."""

    def game(repeat=4, noops=1, **script):
        monkeypatch.setattr(atari, "NOOPS", noops)
        game = atari.Atari("pong", flickers=repeat > 1)
        game._env = Emulator(**script)
        return ActionRepeat(game, repeat)

    return game


def shown(observation):
    """The frames in an observation, black left out."""
    return sorted(set(observation.ravel().tolist()) - {0})


def test_the_larger_of_the_last_two_frames(scripted):
    env = scripted()
    assert shown(env.reset(seed=0)[0]) == [1]  # One frame of doing nothing; alone.
    observation, reward, terminated, truncated, info = env.step(2)
    assert shown(observation) == [4, 5] and reward == 4.0
    assert (terminated, truncated, info) == (False, False, {"steps": 4})
    np.testing.assert_array_equal(env.render(), observation)


def test_without_repeat_each_frame_is_shown_alone(scripted):
    env = scripted(repeat=1)
    env.reset(seed=0)
    assert shown(env.step(2)[0]) == [2] and shown(env.step(2)[0]) == [3]


@pytest.mark.parametrize("script", [{"lives": {4: 2}}, {"over": (4,)}])
def test_a_lost_life_and_the_end_of_the_game_terminate(scripted, script):
    env = scripted(**script)
    env.reset(seed=0)
    observation, reward, terminated, truncated, info = env.step(2)
    assert (reward, terminated, truncated) == (3.0, True, False) and shown(observation) == [3, 4]
    assert info == {"steps": 3}


def test_every_reset_begins_a_game_and_waits_by_the_seed(scripted):
    env = scripted(noops=30, over=(4,))
    emulator = env.unwrapped._env
    waits = set()
    for seed in range(40):
        emulator.actions.clear()
        env.reset(seed=seed)
        assert set(emulator.actions) == {0}
        waits.add(len(emulator.actions))
        assert len(emulator.actions) % 4 == emulator.frame  # Games that end are begun again.
    assert 1 <= min(waits) < 5 and 25 < max(waits) <= 30
    assert [seed for seed in emulator.seeds if seed is not None] == list(range(40))


def episode(env, seed, steps=40):
    """Observations [steps + 1, 64, 64, 3] and rewards of a game of Breakout."""
    images, rewards = [env.reset(seed=seed)[0]["image"]], []
    for step in range(steps):
        observation, reward, terminated, _, _ = env.step(step * 7 % 4)
        images.append(observation["image"])
        rewards.append(reward)
        if terminated:
            break
    return np.stack(images), rewards


def test_a_game_is_a_function_of_its_seed():
    spec = EnvSpec("atari_breakout", action_repeat=4)
    first, second = make(spec), make(spec)
    images, rewards = episode(first, 3)
    assert images.shape[1:] == (64, 64, 3) and images.dtype == np.uint8 and images.std() > 5
    episode(second, 1)
    again = episode(second, 3)
    np.testing.assert_array_equal(again[0], images)
    assert again[1] == rewards
    other = episode(second, 4)[0]
    assert len(other) != len(images) or (other != images).any()


def test_actions_stick_in_a_quarter_of_the_frames():
    env = atari.Atari("breakout", flickers=True)
    assert env._env.ale.getFloat("repeat_action_probability") == 0.25


def test_by_way_of_a_worker():
    spec = EnvSpec("atari:SpaceInvaders", action_repeat=4, time_limit=8, picture_size=(210, 160))
    with RemoteEnv(spec) as env:
        assert env.action_space.n == 6
        observation = env.reset(0)
        assert observation["picture"].shape == (210, 160, 3)
        np.testing.assert_array_equal(observation["image"], fit(observation["picture"], (64, 64)))
        assert env.step(0)[4] == {"steps": 4}
        assert env.step(0)[2:4] == (False, True)


@pytest.mark.parametrize("name", ["atari_montezuma_revenge", "atari:MontezumaRevenge"])
def test_names_of_games(name):
    assert make(EnvSpec(name)).unwrapped._env._game == "montezuma_revenge"


@pytest.mark.parametrize(
    "name, message",
    [("atari_breakuot", "did you mean atari_breakout"), ("atari_", "no Atari game for task")],
)
def test_unknown_games(name, message):
    with pytest.raises(UnknownTaskError, match=message):
        make(EnvSpec(name))


def test_observes_nothing_but_an_image():
    with pytest.raises(EnvError, match="atari_pong: --observe=vector, but it observes nothing"):
        make(EnvSpec("atari_pong", observe="vector"))


def test_without_the_package(run_python):
    code = """
import sys
sys.modules["ale_py"] = None
from clion_tf.envs import EnvSpec
from clion_tf.envs.make_env import make
try:
    make(EnvSpec("atari_pong"))
except RuntimeError as error:
    print(error)
"""
    assert run_python("-c", code).stdout == "atari_pong needs ale-py: pip install ale-py\n"
