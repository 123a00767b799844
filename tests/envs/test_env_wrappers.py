import dataclasses

import gymnasium
import numpy as np
import pytest
from env_fakes import CountingEnv, ImageEnv, PicturedEnv

from clion_tf.envs import EnvError, EnvSpec
from clion_tf.envs.make_env import make
from clion_tf.envs.wrappers import GREY, ActionRepeat, Disturb, StandardActions

ZERO = np.zeros(2, np.float32)


def test_repeat_sums_rewards_and_counts_steps():
    env = ActionRepeat(CountingEnv(), 3)
    env.reset(seed=0)
    _, reward, terminated, truncated, info = env.step(ZERO)
    assert reward == 1 + 2 + 3 and not terminated and not truncated
    assert info == {"steps": 3}


def test_a_held_action_is_the_same_at_each_step():
    class Changing(CountingEnv):
        def step(self, action):
            action *= 2  # As of one that scales it to torques.
            return super().step(action)

    env, action = ActionRepeat(Changing(), 3), np.full(2, 0.5, np.float32)
    env.reset(seed=0)
    env.step(action)
    assert [taken.tolist() for taken in env.unwrapped.actions] == [[1, 1]] * 3
    assert action.tolist() == [0.5, 0.5]


@pytest.mark.parametrize("terminates", [True, False])
def test_repeat_stops_at_the_end(terminates):
    env = ActionRepeat(CountingEnv(length=5, terminates=terminates), 3)
    env.reset(seed=0)
    env.step(ZERO)
    _, reward, terminated, truncated, info = env.step(ZERO)
    assert reward == 4 + 5 and env.unwrapped.steps == 5
    assert (terminated, truncated) == (terminates, not terminates)
    assert info == {"steps": 2}


@pytest.mark.parametrize("info", [{"discount": 0.5}, {"steps": 9, "x": 1}, {0: [1]}, None, "ü"])
@pytest.mark.parametrize("terminates", [True, False])
def test_no_key_of_the_environments_info_matters(info, terminates):
    class Informing(CountingEnv):
        def step(self, action):
            return *super().step(action)[:4], info

        def reset(self, **options):
            return super().reset(**options)[0], info

    env = ActionRepeat(Informing(length=4, terminates=terminates), 2)
    assert env.reset(seed=0)[1] == {}
    assert env.step(ZERO)[2:] == (False, False, {"steps": 2})
    assert env.step(ZERO)[2:] == (terminates, not terminates, {"steps": 2})


def test_terminated_wins_over_truncated():
    class Both(CountingEnv):
        def step(self, action):
            observation, reward, *_ = super().step(action)
            return observation, reward, True, True, {}

    env = ActionRepeat(Both(), 2)
    env.reset(seed=0)
    assert env.step(ZERO)[2:] == (True, True, {"steps": 1})


def test_actions_are_spread_over_asymmetric_bounds():
    env = StandardActions(CountingEnv(low=[-1.0, 2.0], high=[3.0, 4.0]), "t")
    env.reset(seed=0)
    for action in ([-1, -1], [0, 0], [1, 1], [0.5, -0.5]):
        env.step(np.array(action, np.float32))
    expected = [[-1, 2], [1, 3], [3, 4], [2, 2.5]]
    np.testing.assert_allclose(env.unwrapped.actions, expected, atol=1e-6)
    assert env.action_space == gymnasium.spaces.Box(-1.0, 1.0, (2,), np.float32)


LARGEST = float(np.finfo(np.float32).max)


@pytest.mark.parametrize(
    "low, high, ends",
    [
        # Without bounds, or with one that leaves [-1, 1] alone: unchanged.
        (-np.inf, np.inf, (-1, 1)),
        (-LARGEST, LARGEST, (-1, 1)),
        (-np.inf, LARGEST, (-1, 1)),
        (-1.0, np.inf, (-1, 1)),
        (-5.0, np.inf, (-1, 1)),
        (-np.inf, 9.0, (-1, 1)),
        # With one bound that it would break: moved.
        (0.0, np.inf, (0, 2)),
        (0.0, LARGEST, (0, 2)),
        (-0.5, np.inf, (-0.5, 1.5)),
        (1000.0, np.inf, (1000, 1002)),
        (-np.inf, 0.0, (-2, 0)),
        (-LARGEST, -7.0, (-9, -7)),
        # With two: spread, however wide or narrow.
        (3.0, 3.0, (3, 3)),
        (0.0, 1e29, (0, 1e29)),
        (-1e-30, 1e-30, (-1e-30, 1e-30)),
        (-0.1, 0.3, (-0.1, 0.3)),
    ],
)
@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_actions_where_a_bound_is_missing_or_odd(low, high, ends, kind):
    """The other dimension has its usual bounds; no action leaves the space by a single digit."""
    env = CountingEnv()
    space = gymnasium.spaces.Box(
        np.array([low, 0.0], kind), np.array([high, 10.0], kind), dtype=kind
    )
    env.action_space = space
    env = StandardActions(env, "t")
    env.reset(seed=0)
    for action in ([-1.0, 0.5], [1.0, 0.5], [0.25, 0.5]):
        env.step(np.array(action, np.float32))
    taken = env.unwrapped.actions
    assert all(space.contains(action) for action in taken)
    middle = ends[0] + (ends[1] - ends[0]) * 0.625
    np.testing.assert_allclose(
        taken,
        [[end, 7.5] for end in (*ends, middle)],
        1e-6,
        1e-6 if max(map(abs, ends)) > 1e-9 else 0,
    )
    assert env.action_space == gymnasium.spaces.Box(-1.0, 1.0, (2,), np.float32)


def test_no_rounding_leaves_the_space():
    """Ends that float64 reaches only by a digit too much."""
    random = np.random.default_rng(0)
    env = CountingEnv()
    low = random.normal(size=2000)
    high = low + random.exponential(size=2000)
    for kind in (np.float16, np.float32, np.float64):
        env.action_space = gymnasium.spaces.Box(low.astype(kind), high.astype(kind), dtype=kind)
        found = StandardActions(env, "t").action(np.ones(2000, np.float32))
        assert env.action_space.contains(found)
        np.testing.assert_array_equal(found, env.action_space.high)


def test_rendered_once_per_agent_step():
    env = make(EnvSpec("env_fakes:counting", size=(8, 6), action_repeat=4))
    obs, _ = env.reset(seed=0)
    for _ in range(5):
        obs = env.step(ZERO)[0]
        assert env.observation_space.contains(obs)
    assert obs["image"].shape == (8, 6, 3) and obs["image"].dtype == np.uint8
    assert env.unwrapped.steps == 20 and env.unwrapped.renders == 1 + 5


def test_a_wrapper_may_draw_what_the_task_does_not():
    spec = EnvSpec("env_fakes:drawn", action_repeat=1)
    env = make(spec)
    assert env.reset(seed=0)[0]["image"].mean() == 77
    with pytest.raises(EnvError, match=r"has no render\(\)"):
        make(EnvSpec("env_fakes:undrawn"))


def test_rendering_of_a_wrong_kind():
    for scene in (None, np.zeros((8, 8), np.uint8), np.zeros((8, 8, 3)), [[1]]):
        env = make(EnvSpec("env_fakes:counting"))
        env.unwrapped.render = lambda scene=scene: scene
        with pytest.raises(EnvError, match=r"render\(\) must give uint8 \(height, width, 3\), not"):
            env.reset(seed=0)


def test_actions_of_several_axes_keep_their_order():
    env = CountingEnv()
    env.action_space = gymnasium.spaces.Box(0.0, np.arange(1, 7).reshape(2, 3), (2, 3), np.float64)
    env = StandardActions(env, "t")
    assert env.action_space == gymnasium.spaces.Box(-1.0, 1.0, (6,), np.float32)
    env.reset(seed=0)
    env.step(np.ones(6, np.float32))
    np.testing.assert_array_equal(env.unwrapped.actions, [[[1, 2, 3], [4, 5, 6]]])


def test_discrete_actions_are_counted_from_zero():
    env = CountingEnv()
    env.action_space = gymnasium.spaces.Discrete(3, start=5)
    env = StandardActions(env, "t")
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
        StandardActions(env, "t")


class Still(ImageEnv):
    """Shows the same picture all the time."""

    def _picture(self):
        return {"image": np.random.default_rng(5).integers(0, 256, (16, 16, 3), np.uint8)}


def frames_of(env, seed, steps=4):
    frames = [env.reset(seed=seed)[0]["image"]]
    return np.stack(frames + [env.step(ZERO)[0]["image"] for _ in range(steps)])


def disturbed(env, **options):
    return Disturb(env, EnvSpec("t", **options))


def rotated_frames(degrees, seed, steps=4, **options):
    env = disturbed(Still((16, 16)), rotation_degrees=degrees, **options)
    return frames_of(env, seed, steps)


def test_each_frame_has_its_own_angle():
    frames = rotated_frames(5.0, seed=1)
    assert len({frame.tobytes() for frame in frames}) == len(frames)


def test_angles_follow_the_seed():
    np.testing.assert_array_equal(rotated_frames(5.0, seed=1), rotated_frames(5.0, seed=1))
    assert (rotated_frames(5.0, seed=1) != rotated_frames(5.0, seed=2)).any()


def test_angles_are_uniform_in_the_range(monkeypatch):
    angles = []

    def note(image, degrees, fill):
        angles.append(degrees)
        return image

    monkeypatch.setattr("clion_tf.envs.wrappers.rotate_image", note)
    rotated_frames(5.0, seed=0, steps=2000)
    assert -5 <= min(angles) < -4.9 and 4.9 < max(angles) <= 5
    assert abs(np.mean(angles)) < 0.3 and abs(np.std(angles) - 10 / np.sqrt(12)) < 0.1


def test_one_angle_for_an_episode():
    env = disturbed(Still((16, 16)), rotation_degrees=5.0, rotation_per="episode")
    first, again, other = (frames_of(env, seed) for seed in (1, 1, 2))
    assert len({frame.tobytes() for frame in first}) == 1
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    # It is the first frame's, where each has its own.
    np.testing.assert_array_equal(first[0], rotated_frames(5.0, seed=1)[0])
    # A reset without a seed goes on in the stream.
    unseeded = env.reset()[0]["image"]
    assert (unseeded != other[0]).any()


def test_fill_of_rotated_frames():
    edge, black = (rotated_frames(20.0, seed=1, rotation_fill=fill) for fill in ("edge", "black"))
    assert not (edge == 0).any() and (black == 0).sum() > 30
    np.testing.assert_array_equal(edge[:, 6:10, 6:10], black[:, 6:10, 6:10])


def blank(frames):
    """Which frames are; all of a blank frame is grey."""
    whole = (frames == GREY).all((1, 2, 3))
    assert ((frames == GREY).mean((1, 2, 3)) < 0.1)[~whole].all()
    return whole


def blanked(probability):
    return disturbed(ImageEnv(), blank_frames=probability)


def test_blank_frames_follow_the_seed_and_their_probability():
    def which(probability, seed):
        return blank(frames_of(blanked(probability), seed, steps=4000))

    few, many = which(0.2, 1), which(0.5, 1)
    for found, probability in ((few, 0.2), (many, 0.5)):
        assert abs(found.mean() - probability) < 4 * np.sqrt(probability / 4001)
        # Drawn anew for each frame: after a blank one as likely as after any other.
        assert abs(found[1:][found[:-1]].mean() - probability) < 0.06
    assert (many | ~few).all()  # What is blank at 0.2 is so at 0.5.
    np.testing.assert_array_equal(few, which(0.2, 1))
    assert (few != which(0.2, 2)).any()


def test_the_first_frame_may_be_blank_and_others_are_untouched():
    env, plain = blanked(0.5), ImageEnv()
    first = []
    for seed in range(40):
        shown, original = frames_of(env, seed, steps=2), frames_of(plain, seed, steps=2)
        found = blank(shown)
        np.testing.assert_array_equal(shown[~found], original[~found])
        first.append(found[0])
    assert 10 < sum(first) < 30
    assert not blank(frames_of(blanked(0.0), 0, 50)).any()
    assert blank(frames_of(blanked(1.0), 0, 50)).all()


def test_a_blank_frame_hides_all_that_is_observed():
    spec = EnvSpec(
        "env_fakes:counting", size=(8, 8), observe="both", blank_frames=1.0, picture_size=(20, 20)
    )
    env = make(spec)
    env.reset(seed=0)
    seen = env.step(ZERO)[0]
    assert seen["vector"].dtype == np.float32 and not seen["vector"].any()
    assert (seen["image"] == GREY).all() and (seen["picture"] == GREY).all()
    assert env.observation_space.contains(seen)
    env = make(EnvSpec("env_fakes:counting", observe="vector", blank_frames=0.5))
    env.reset(seed=0)
    hidden = [not env.step(ZERO)[0]["vector"].any() for _ in range(200)]
    assert 70 < sum(hidden) < 130


def test_blank_frames_and_rotation_do_not_disturb_each_other():
    """A grey frame tells no angle, and the angles of the others are those without blank frames."""
    spec = EnvSpec("env_fakes:pictured", size=(8, 8), rotation_degrees=20.0, rotation_fill="black")
    turned = frames_of(make(spec), seed=3, steps=30)
    both = frames_of(make(dataclasses.replace(spec, blank_frames=0.5)), seed=3, steps=30)
    found = blank(both)
    assert 5 < found.sum() < 25
    np.testing.assert_array_equal(both[~found], turned[~found])
    alone = frames_of(disturbed(PicturedEnv((8, 8)), blank_frames=0.5), seed=3, steps=30)
    np.testing.assert_array_equal(found, blank(alone))
