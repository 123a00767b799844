"""What environments must not return is refused in a line, by training and by the check alike."""

import pickle
import subprocess
import sys

import numpy as np
import pytest
from places import ROOT

from clion_tf.envs import EnvSpec, PromiseError, RemoteEnv, env_checker, step_checks
from clion_tf.envs.make_env import make
from clion_tf.envs.worker import Session, failure

INFO = "(observation, reward, terminated, truncated, info)"
REFUSED = {
    "api_reset": (step_checks.RETURNS, "reset() returns float64 (3,), not (observation, info)"),
    "api_step": (step_checks.RETURNS, f"step() returns a tuple of 4, not {INFO}"),
    "unseen": (
        step_checks.RENDERS,
        "render() must give uint8 (height, width, 3), not None; make it",
    ),
    "shorter": (step_checks.SPACE, "reset() observes 2 numbers, its space has 3"),
    "shorter_step": (step_checks.SPACE, "step() observes 2 numbers, its space has 3"),
    "axes": (step_checks.SPACE, "step() observes shape (3, 1), its space has (3,)"),
    "none": (step_checks.SPACE, "step() observes the keys , its space is Box(-inf, inf, (3,)"),
    "ragged": (step_checks.SPACE, "step() observes a list, its space is Box(-inf, inf, (3,)"),
    "text": (step_checks.SPACE, "step() observes <U1 (3,), its space is Box(-inf, inf, (3,)"),
    "complex": (step_checks.SPACE, "step() observes complex128 (3,), its space is Box("),
    "array": (step_checks.SPACE, "step() observes a Numbers, its space is Box("),
    "nan": (step_checks.FINITE, "step() observes [1] = nan"),
    "inf": (step_checks.FINITE, "step() observes [2] = -inf"),
    "large": (step_checks.FINITE, "reset() observes [1] = 1e+300, too large for losses"),
    "grid": (step_checks.FINITE, "step() observes [1, 0] = nan"),
    "key": (step_checks.SPACE, "step() observes no 'gear', but the keys 'speed'"),
    "no_dict": (step_checks.SPACE, "reset() observes no 'gear', but float64 (2,)"),
    "part": (step_checks.SPACE, "reset() observes 4 numbers as speed, its space has 2"),
    "part_nan": (step_checks.FINITE, "reset() observes speed[1] = nan"),
    "gear": (step_checks.SPACE, "reset() observes 3 as gear, its space is Discrete(3)"),
    "half_gear": (step_checks.SPACE, "reset() observes 1.0 as gear, its space is Discrete(3)"),
    "dice": (step_checks.SPACE, "reset() observes [1, 3], its space is MultiDiscrete([2 3])"),
    "bits": (step_checks.SPACE, "reset() observes [1, 2], its space is MultiBinary(2)"),
    "camera": (
        step_checks.SPACE,
        "reset() observes float64 (8, 8, 3) as camera, not uint8 (8, 8, 3)",
    ),
    "camera_size": (
        step_checks.SPACE,
        "reset() observes uint8 (8, 9, 3) as camera, not uint8 (8, 8,",
    ),
    "reward_none": (step_checks.REWARDS, "step() gives the reward 'good', not a number"),
    "reward_nan": (step_checks.REWARDS, "step() gives the reward nan"),
    "reward_inf": (step_checks.REWARDS, "step() gives the reward inf"),
    "reward_large": (step_checks.REWARDS, "step() gives the reward 1e+39, too large for losses"),
    "reward_sum": (step_checks.REWARDS, "step() gives the reward 1.2e+16, too large for losses"),
    "reward_two": (step_checks.REWARDS, "step() gives the reward float64 (2,), not a number"),
    "reward_complex": (step_checks.REWARDS, "step() gives the reward 1j, not a number"),
    "flag_none": (step_checks.RETURNS, "step() returns terminated None, not True or False"),
    "flag_text": (step_checks.RETURNS, "step() returns truncated 'no', not True or False"),
    "flag_number": (step_checks.RETURNS, "step() returns terminated 0.5, not True or False"),
    "flag_array": (step_checks.RETURNS, "step() returns terminated bool (2,), not True or False"),
}
IMAGES = ("unseen", "camera", "camera_size")


def spec(name, **options):
    observe = "auto" if name in IMAGES else "vector"
    return EnvSpec(f"odd_returns:{name}", size=(8, 8), observe=observe, time_limit=8, **options)


def steps(env, count=2):
    env.reset(seed=0)
    return [env.step(np.zeros(2, np.float32)) for _ in range(count)]


@pytest.mark.parametrize("name", REFUSED)
def test_refused_in_a_line_that_names_the_method(name):
    """As a worker does, but in this process: there are many of them."""
    promise, text = REFUSED[name]
    session = Session(spec(name))
    with pytest.raises(PromiseError) as caught:
        doing = "reset"
        session.reset(0)
        doing = "step"
        session.step(np.zeros(2, np.float32))
    told = pickle.loads(pickle.dumps(failure(caught.value, spec(name), doing)))
    assert (type(told), told.promise) == (PromiseError, promise)
    message = str(told)
    assert message.startswith(f"environment odd_returns:{name}: {text}") and "\n" not in message


def test_a_worker_says_it_and_goes_on():
    with RemoteEnv(spec("shorter_step")) as env:
        for number in range(2):
            env.reset(number)
            with pytest.raises(PromiseError) as caught:
                env.step(np.zeros(2, np.float32))
            assert caught.value.promise == step_checks.SPACE
        assert str(caught.value) == (
            "environment odd_returns:shorter_step: step() observes 2 numbers, its space has 3"
        )


@pytest.mark.parametrize("name", ["shorter", "nan", "large", "reward_sum", "flag_none", "unseen"])
def test_the_check_says_what_training_says(name, monkeypatch):
    monkeypatch.setattr(env_checker, "_gymnasiums_checker", lambda spec: [])
    promise, text = REFUSED[name]
    failed = [check for check in env_checker.examine(spec(name)).checks if not check.passed]
    assert [check.name for check in failed] == [promise]
    assert failed[0].detail.startswith(f"environment odd_returns:{name}: {text}")
    assert failed[0].detail.endswith("(episode 0, after environment step 0)")


@pytest.mark.parametrize(
    "name, reward", [("reward_array", 2.0), ("reward_fraction", 1.0), ("lists", 2.0)]
)
def test_odd_kinds_of_numbers_are_numbers(name, reward):
    assert [step[1] for step in steps(make(spec(name)))] == [reward] * 2


def test_odd_kinds_of_truth_are_truth():
    [step] = steps(make(spec("flags_kinds")), 1)
    assert step[2:] == (True, True, {"steps": 1})


def test_the_largest_numbers_have_squares_of_which_float32_holds_a_sum():
    """Else each update that meets one would be skipped, a few at a time and for ever."""
    largest = np.full(1000, step_checks.LARGEST, np.float32)
    assert np.isfinite(np.square(largest).sum())
    assert step_checks.reward(-step_checks.LARGEST) == -step_checks.LARGEST
    with pytest.raises(PromiseError, match=r"gives the reward -1\.1e\+16, too large for losses"):
        step_checks.reward(-1.1 * step_checks.LARGEST)


def test_numbers_beyond_their_bounds_are_a_remark_once_and_no_more():
    remarks = []
    with RemoteEnv(spec("beyond"), remark=remarks.append) as env:
        for number in range(2):
            env.reset(number)
            for _ in range(2):
                assert env.step(np.zeros(2, np.float32))[0]["vector"].tolist() == [0, 0, 1.5]
    assert remarks == [
        "environment odd_returns:beyond: step() observes [2] = 1.5, its space has -1 to 1"
    ]


def test_the_learner_loads_nothing_of_the_environments():
    """Classes of observation, reward, info and spaces stay in the worker."""
    code = """
import sys
import numpy as np
from clion_tf.envs import EnvSpec, RemoteEnv

with RemoteEnv(EnvSpec("odd_returns:foreign", observe="vector")) as env:
    found = [env.reset(0)["vector"], *env.step(1), env.action_space, env.renderer]
assert [type(part).__module__.split(".")[0] for part in found] == (
    ["numpy", "builtins", "builtins", "builtins", "builtins", "builtins", "gymnasium", "builtins"]
), found
assert found[-3] == {"steps": 2} and type(found[1]["vector"]) is np.ndarray
assert not {"odd_returns", "env_fakes"} & set(sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert (done.returncode, done.stderr) == (0, "")
