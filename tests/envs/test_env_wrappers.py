import gymnasium
import numpy as np
import pytest
from env_fakes import CountingEnv, ImageEnv

from clion_tf.envs import (
    ActionRepeat,
    EnvError,
    EnvSpec,
    NormalizeActions,
    RotateImage,
    make,
)
from clion_tf.envs.wrappers import standard_actions

ZERO = np.zeros(2, np.float32)


def test_repeat_sums_rewards_and_counts_steps():
    env = ActionRepeat(CountingEnv(), 3)
    env.reset(seed=0)
    _, reward, terminated, truncated, info = env.step(ZERO)
    assert reward == 1 + 2 + 3 and not terminated and not truncated
    assert info == {"discount": 1.0, "steps": 3}


@pytest.mark.parametrize("terminates, discount", [(True, 0.0), (False, 1.0)])
def test_repeat_stops_at_the_end(terminates, discount):
    env = ActionRepeat(CountingEnv(length=5, terminates=terminates), 3)
    env.reset(seed=0)
    env.step(ZERO)
    _, reward, terminated, truncated, info = env.step(ZERO)
    assert reward == 4 + 5 and env.unwrapped.steps == 5
    assert (terminated, truncated) == (terminates, not terminates)
    assert info == {"discount": discount, "steps": 2}


def test_repeat_keeps_the_environments_discount():
    class Discounting(CountingEnv):
        def step(self, action):
            return *super().step(action)[:4], {"discount": 0.5}

    env = ActionRepeat(Discounting(), 2)
    env.reset(seed=0)
    assert env.step(ZERO)[4] == {"discount": 0.5, "steps": 2}


def test_repeat_of_nothing():
    with pytest.raises(EnvError, match="at least 1"):
        ActionRepeat(CountingEnv(), 0)


def test_actions_are_spread_over_asymmetric_bounds():
    env = NormalizeActions(CountingEnv(low=[-1.0, 2.0], high=[3.0, 4.0]))
    env.reset(seed=0)
    for action in ([-1, -1], [0, 0], [1, 1], [0.5, -0.5]):
        env.step(np.array(action, np.float32))
    expected = [[-1, 2], [1, 3], [3, 4], [2, 2.5]]
    np.testing.assert_allclose(env.unwrapped.actions, expected, atol=1e-6)
    assert env.action_space == gymnasium.spaces.Box(-1.0, 1.0, (2,), np.float32)


@pytest.mark.parametrize("low, high", [(-np.inf, np.inf), (0.0, np.inf), (-np.inf, 9.0)])
def test_actions_pass_where_a_bound_is_infinite(low, high):
    env = NormalizeActions(CountingEnv(low=[low, 0.0], high=[high, 10.0]))
    env.reset(seed=0)
    env.step(np.array([0.25, 0.5], np.float32))
    np.testing.assert_allclose(env.unwrapped.actions, [[0.25, 7.5]], atol=1e-6)
    assert env.action_space == gymnasium.spaces.Box(-1.0, 1.0, (2,), np.float32)


def test_rendered_once_per_agent_step():
    env = make(EnvSpec("env_fakes:counting", size=(8, 6), action_repeat=4))
    obs, _ = env.reset(seed=0)
    for _ in range(5):
        obs = env.step(ZERO)[0]
        assert env.observation_space.contains(obs)
    assert obs["image"].shape == (8, 6, 3) and obs["image"].dtype == np.uint8
    assert env.unwrapped.steps == 20 and env.unwrapped.renders == 1 + 5


def test_rendering_of_a_wrong_kind():
    for scene in (None, np.zeros((8, 8), np.uint8), np.zeros((8, 8, 3)), [[1]]):
        env = make(EnvSpec("env_fakes:counting"))
        env.unwrapped.render = lambda scene=scene: scene
        with pytest.raises(EnvError, match=r"render\(\) must give uint8 \(height, width, 3\), not"):
            env.reset(seed=0)


def test_actions_of_several_axes_keep_their_order():
    env = CountingEnv()
    env.action_space = gymnasium.spaces.Box(0.0, np.arange(1, 7).reshape(2, 3), (2, 3), np.float64)
    env = standard_actions(env, "t")
    assert env.action_space == gymnasium.spaces.Box(-1.0, 1.0, (6,), np.float32)
    env.reset(seed=0)
    env.step(np.ones(6, np.float32))
    np.testing.assert_array_equal(env.unwrapped.actions, [[[1, 2, 3], [4, 5, 6]]])


def test_discrete_actions_are_counted_from_zero():
    env = CountingEnv()
    env.action_space = gymnasium.spaces.Discrete(3, start=5)
    env = standard_actions(env, "t")
    assert env.action_space == gymnasium.spaces.Discrete(3)
    env.reset(seed=0)
    env.step(2)
    assert env.unwrapped.actions == [7]


@pytest.mark.parametrize(
    "space",
    [
        gymnasium.spaces.MultiDiscrete([2, 3]),
        gymnasium.spaces.MultiBinary(4),
        gymnasium.spaces.Dict({"a": gymnasium.spaces.Discrete(2)}),
        gymnasium.spaces.Box(0, 5, (2,), np.int64),
        gymnasium.spaces.Box(0, 5, (0,), np.float32),
    ],
)
def test_actions_that_are_neither_box_nor_discrete(space):
    env = CountingEnv()
    env.action_space = space
    with pytest.raises(EnvError, match=r"^t has actions .*; only Discrete and a Box of floats"):
        standard_actions(env, "t")


def rotated_frames(degrees, seed, steps=4):
    """Frames of an environment that shows the same picture all the time."""

    class Still(ImageEnv):
        def _picture(self):
            return {"image": np.random.default_rng(5).integers(0, 256, (16, 16, 3), np.uint8)}

    env = RotateImage(Still((16, 16)), degrees)
    frames = [env.reset(seed=seed)[0]["image"]]
    return np.stack(frames + [env.step(ZERO)[0]["image"] for _ in range(steps)])


def test_each_frame_has_its_own_angle():
    frames = rotated_frames(5.0, seed=1)
    assert len({frame.tobytes() for frame in frames}) == len(frames)


def test_angles_follow_the_seed():
    np.testing.assert_array_equal(rotated_frames(5.0, seed=1), rotated_frames(5.0, seed=1))
    assert (rotated_frames(5.0, seed=1) != rotated_frames(5.0, seed=2)).any()


def test_angles_are_uniform_in_the_range(monkeypatch):
    angles = []

    def note(image, degrees):
        angles.append(degrees)
        return image

    monkeypatch.setattr("clion_tf.envs.wrappers.rotate_image", note)
    rotated_frames(5.0, seed=0, steps=2000)
    assert -5 <= min(angles) < -4.9 and 4.9 < max(angles) <= 5
    assert abs(np.mean(angles)) < 0.3 and abs(np.std(angles) - 10 / np.sqrt(12)) < 0.1
