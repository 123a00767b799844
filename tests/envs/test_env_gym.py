"""Tasks registered with gymnasium, by id."""

import numpy as np
import pytest

from clion_tf.envs import EnvError, EnvSpec, RemoteEnv, UnknownTaskError, WorkerError
from clion_tf.envs.make_env import make


def episode(env, number, steps=8):
    """Rewards, and [steps, ...] arrays of an episode with actions 0, 1, 0, 1, ..."""
    seen, rewards = [env.reset(number)], []
    for step in range(steps):
        observation, reward, terminated, truncated, _ = env.step(step % 2)
        seen.append(observation)
        rewards.append(reward)
        assert not terminated and not truncated
    return rewards, {key: np.stack([one[key] for one in seen]) for key in seen[0]}


def test_cartpole_by_pixels_and_vector_is_pure():
    spec = EnvSpec("gym:CartPole-v1", seed=1, observe="both", picture_size=(100, 150))
    with RemoteEnv(spec) as first, RemoteEnv(spec) as second:
        rewards, expected = episode(first, 4)
        assert rewards == [2.0] * 8 and first.action_space.n == 2
        assert expected["image"].shape == (9, 64, 64, 3) and expected["image"].std() > 5
        assert expected["vector"].shape == (9, 4) and expected["vector"].dtype == np.float32
        # Drawn at 400 x 600: it shows more than the image, of which enlarged edges stay soft.
        assert expected["picture"].shape == (9, 100, 150, 3)
        assert (expected["picture"] == 0).all(-1).sum() > 2 * (expected["image"] == 0).all(-1).sum()
        episode(second, 0)
        again = episode(second, 4)[1]
        for key, values in expected.items():
            np.testing.assert_array_equal(again[key], values)
        assert (episode(second, 5)[1]["vector"] != expected["vector"]).any()


def run(env, action, seed=0):
    """Steps until the end with a function of the observation; the last step and its count."""
    observation, _ = env.reset(seed=seed)
    for count in range(1, 10_000):
        observation, _, terminated, truncated, info = env.step(action(observation["vector"]))
        if terminated or truncated:
            return terminated, truncated, info, count


def balance(vector):
    """Holds the pole up, and the cart near the middle."""
    return int(vector @ [0.1, 0.3, 2.0, 1.0] > 0)


def vectors(task, **options):
    return make(EnvSpec(task, observe="vector", **options))


def test_a_fallen_pole_terminates():
    ended = run(vectors("gym:CartPole-v1", action_repeat=1), lambda vector: 0)
    assert ended[:2] == (True, False)


def test_gymnasiums_own_time_limit_is_no_termination():
    # 500 steps as registered; an action repeat of 3 makes 167 agent steps, the last one of 2.
    ended = run(vectors("gym:CartPole-v1", action_repeat=1), balance)
    assert ended == (False, True, {"steps": 1}, 500)
    ended = run(vectors("gym:CartPole-v1", action_repeat=3, seed=0), balance)
    assert ended == (False, True, {"steps": 2}, 167)


def test_our_time_limit_may_be_shorter():
    ended = run(vectors("gym:CartPole-v1", action_repeat=1, time_limit=30), balance)
    assert ended == (False, True, {"steps": 1}, 30)


def test_actions_of_a_box_are_spread():
    env = vectors("gym:Pendulum-v1", action_repeat=1)
    env.reset(seed=0)
    env.step(np.ones(1, np.float32))
    assert env.unwrapped.last_u == 2.0 and env.action_space.high.tolist() == [1.0]


@pytest.mark.parametrize(
    "task, error, message",
    [
        ("gym:Cartpole-v1", UnknownTaskError, "'Cartpole-v1'.*did you mean CartPole-v1"),
        ("gym:CartPole", UnknownTaskError, "'CartPole'.*did you mean CartPole-v1"),
        ("gym:Nothing/Known-v0", UnknownTaskError, "name its module: gym:module:Id"),
        ("gym:", UnknownTaskError, "no environment ''"),
        ("gym:no_such_module:A-v0", UnknownTaskError, "no module 'no_such_module' for task"),
        ("gym:gym_fakes:Unsene-v0", UnknownTaskError, "did you mean Unseen-v0"),
        ("gym:gym_fakes:Unseen-v0", EnvError, r"render modes \(human\) lack rgb_array"),
        ("gym:gym_fakes:Undrawn-v0", EnvError, "cannot render .*painter is not installed"),
        ("gym:gym_fakes:Unrendered-v0", EnvError, r"render\(\) must give uint8.*not None"),
    ],
)
def test_what_cannot_be_had_is_said_in_one_line(task, error, message):
    with pytest.raises(error, match=message) as caught:
        make(EnvSpec(task))
    assert task in str(caught.value) and "\n" not in str(caught.value)


def test_a_missing_package_is_named():
    with RemoteEnv(EnvSpec("gym:gym_fakes:Needy-v0")) as env:
        message = "gym_fakes:Needy-v0 failed in construction: .*'a_package_that_does_not_exist'"
        with pytest.raises(WorkerError, match=message):
            env.wait_ready()


@pytest.mark.parametrize("name", ["Unseen", "Undrawn", "Unrendered"])
def test_vectors_need_no_rendering(name):
    env = vectors(f"gym:gym_fakes:{name}-v0")
    env.reset(seed=0)
    assert env.step(np.zeros(2, np.float32))[0]["vector"].tolist() == [2]


@pytest.mark.parametrize(
    "driver, error", [("", ""), ("x11", "; unset SDL_VIDEODRIVER, which is x11\n")]
)
def test_pygames_driver(run_python, driver, error):
    code = """
import sys
from clion_tf.envs import EnvError, EnvSpec
from clion_tf.envs.make_env import make
try:
    make(EnvSpec("gym:CartPole-v1"))
except EnvError as error:
    sys.stderr.write(f"{error}\\n")
"""
    names = {"DISPLAY": "", "WAYLAND_DISPLAY": "", "XDG_RUNTIME_DIR": ""}
    result = run_python("-c", code, SDL_VIDEODRIVER=driver, **names)
    assert result.stderr.endswith(error) and bool(result.stderr) == bool(error)


def test_no_display_is_needed(run_python):
    code = """
from clion_tf.envs import EnvSpec
from clion_tf.envs.make_env import make
env = make(EnvSpec("gym:CartPole-v1"))
assert env.reset(seed=0)[0]["image"].std() > 5
"""
    result = run_python("-c", code, DISPLAY="", WAYLAND_DISPLAY="", XDG_RUNTIME_DIR="")
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
