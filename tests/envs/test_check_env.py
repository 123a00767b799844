"""The checker of environments, and its command line."""

import gymnasium
import numpy as np
import pytest
from PIL import Image
from tool_modules import tool

from clion_tf.envs import EnvSpec, env_checker, remote_env
from clion_tf.envs.env_checker import Frame
from clion_tf.pictures import picture_rows

TOOL = tool("check_env")


def run(capsys, *words):
    code = TOOL.main(words)
    return code, *capsys.readouterr()


def test_a_sound_environment(capsys, tmp_path):
    out = tmp_path / "frames.png"
    code, printed, err = run(
        capsys, "--task=env_fakes:counting", "--observe=both", "--time_limit=40", "--episodes=2",
        f"--out={out}",
    )  # fmt: skip
    # Its image is of the size that it is asked for, and noise.
    assert (code, err) == (0, "")
    rows = [" ".join(row.split()) for row in printed.splitlines()]
    assert rows[0] == "env_fakes:counting: action repeat 2, time limit 40, observe both"
    assert rows[1:4] == [
        "image uint8 [64, 64, 3], seen 0 to 255",
        "vector float32 [1], seen 0 to 40",
        "actions 2 continuous in [-1, 1]",
    ]
    assert "0 40 20 820 cut (discount 1)" in rows and "1 40 20 820 cut (discount 1)" in rows
    checks = rows[rows.index("checks") + 1 : -1]
    assert len(checks) == 11 and all(row.startswith("ok ") for row in checks)
    assert "ok gymnasium's checker, bare" in checks
    with Image.open(out) as picture:
        assert picture.size == (6 * 200 + 8, 3 * 236 + 8)


@pytest.fixture
def without_gymnasiums(monkeypatch):
    monkeypatch.setattr(env_checker, "_gymnasiums_checker", lambda spec: [])


SAME = ("episode 0 again, in the same worker", "episode 0 again, in another worker")


@pytest.mark.parametrize(
    "kind, failures",
    [
        ("numbers", {
            "rewards are finite":
                "step() gives the reward inf (episode 0, after environment step 2)",
        }),
        ("nan", {
            "observations are finite":
                "step() observes [0] = nan (episode 0, after environment step 2)",
        }),
        ("declared", {
            "observations lie in their space":
                "step() observes [0] = 4, its space has -inf to 3 "
                "(episode 0, after environment step 2)",
        }),
        ("shape", {
            "observations lie in their space":
                "reset() observes 1 number, its space has 2 "
                "(episode 0, after environment step 0)",
        }),
        ("remembering", {SAME[0]: "agent step 1: another reward"}),
        ("process", {SAME[1]: "agent step"}),
        ("unclosable", {"it closes": "failed in close: OSError: device busy (File "}),
        ("raising", {"it runs": "ZeroDivisionError: nothing to divide by (File "}),
        ("ends", {"the ends of actions are taken": "ValueError: action out of range (File "}),
    ],
)  # fmt: skip
def test_broken_promises_are_found(kind, failures, without_gymnasiums):
    repeat = 1 if kind in ("numbers", "nan") else 2
    task = f"faulty_envs:make_{kind}"
    spec = EnvSpec(task, observe="vector", action_repeat=repeat, time_limit=24)
    report = env_checker.examine(spec)
    found = {check.name: check.detail for check in report.checks if not check.passed}
    if kind in ("numbers", "nan"):
        # Until it broke its promise it did the same.
        assert {check.name: check.passed for check in report.checks}[SAME[0]]
    assert found.keys() == failures.keys()
    for name, detail in failures.items():
        assert detail in found[name], name


def test_a_close_for_which_training_would_not_wait(monkeypatch):
    monkeypatch.setattr(remote_env, "GRACE", 0.1)
    report = env_checker.examine(EnvSpec("faulty_envs:make_slow", observe="vector", time_limit=24))
    [failed] = [check for check in report.checks if not check.passed]
    assert failed.name == "it closes"
    assert failed.detail.startswith("close() took 0.") and "training waits 0.1 s" in failed.detail


def test_environments_that_are_open_together_have_numbers_of_their_own(tmp_path, monkeypatch):
    monkeypatch.setenv("LOCKS", str(tmp_path))
    report = env_checker.examine(EnvSpec("faulty_envs:locking", observe="vector", time_limit=8))
    assert len(report.checks) == 11 and all(check.passed for check in report.checks)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0", "1"]


def test_gymnasiums_checker_speaks(capsys, monkeypatch):
    monkeypatch.setattr(env_checker, "_checks", lambda *arguments: iter(()))
    code, printed, _ = run(capsys, "--task=faulty_envs:make_shape", "--observe=vector")
    assert code == 1
    assert "FAIL  gymnasium's checker, bare: AssertionError" in printed


def test_an_environment_that_breaks_its_promise_at_once_is_shown_too(capsys, without_gymnasiums):
    code, printed, err = run(capsys, "--task=odd_returns:large", "--observe=vector")
    assert (code, err) == (1, "")
    assert (
        "  vector    float32 [3]\n" in printed
        and "0           0        0        0  broken off" in printed
    )
    assert "FAIL  observations are finite: environment odd_returns:large: reset() obs" in printed


def test_a_checker_that_dies_is_a_failed_check():
    outcome = env_checker._gymnasiums_checker(EnvSpec("env_fakes:dying", observe="vector"))
    error = "the worker of environment env_fakes:dying died with exit code 3"
    assert outcome == [("gymnasium's checker", False, error)]


@pytest.mark.parametrize(
    "words, code, message",
    [
        (["--task=gym:CartPol-v1"], 2, "did you mean CartPole-v1"),
        (["--task=no_such_module:make"], 2, "no module 'no_such_module'"),
        (["--task=env_fakes:float_image"], 1, "must give images uint8"),
        (["--task=env_fakes:broken"], 1, "cannot be made"),
        (["--task=a", "--out=/nowhere/a.png"], 2, "no such folder"),
        (["--task=a", "--out=a.txt"], 2, "must end in .png"),
        (["--task=a", "--out=a.png", "--observe=vector"], 2, "there is no image"),
        (["--task=a", "--rotation_degrees=5", "--observe=vector"], 2, "no image to rotate"),
    ],
)
def test_refusals_are_one_line(capsys, tmp_path, monkeypatch, words, code, message):
    monkeypatch.chdir(tmp_path)
    got, out, err = run(capsys, *words)
    assert (got, out) == (code, "") and err.startswith("check_env: error: ")
    assert message in err and err.count("\n") == 1 and not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "word", ["--action_repeat=0", "--observe=all", "--seed=-1", "--episodes=0"]
)
def test_bad_words(capsys, word):
    with pytest.raises(SystemExit) as end:
        TOOL.main(["--task=a", word])
    assert end.value.code == 2 and word.split("=")[0] in capsys.readouterr().err


def test_extreme_actions():
    assert list(env_checker.extreme_actions(gymnasium.spaces.Discrete(3))) == [0, 1, 2]
    box = gymnasium.spaces.Box(-1.0, 1.0, (2,), np.float32)
    found = [action.tolist() for action in env_checker.extreme_actions(box)]
    assert found == [[-1, -1], [-1, 0], [0, -1], [1, 1], [1, 0], [0, 1]]


def test_long_episodes_keep_few_frames_first_and_last_among_them():
    class Long:
        observation_space = action_space = None

        def reset(self, number):
            self.count = 0
            return self.look()

        def look(self):
            return {"image": np.full((2, 2, 3), self.count % 256, np.uint8)}

        def step(self, action):
            self.count += 1
            return self.look(), 1.0, False, self.count == 999, {"discount": 1.0, "steps": 1}

    env = Long()
    env.observation_space = type("Any", (), {"contains": lambda self, observation: True})()
    played = env_checker.play(env, 0, iter(range(10_000)))
    steps = [frame.step for frame in played.frames]
    assert steps[0] == 0 and steps[-1] == 999 and 30 < len(steps) <= env_checker.MOST_FRAMES
    assert len(set(np.diff(steps[:-1]))) == 1 and len(played.start) == env_checker.COMPARED + 1


def test_sheet_shows_frames_in_order():
    frames = [Frame(np.full((4, 4, 3), shade, np.uint8), shade, 0.0) for shade in range(100)]
    sheet = np.asarray(picture_rows.contact_sheet(frames))
    middle = [sheet[100 + 236 * (i // 6), 108 + 200 * (i % 6), 0] for i in range(18)]
    assert middle[0] == 0 and middle[-1] == 99 and middle == sorted(middle)
    assert picture_rows.contact_sheet(frames[:1]).size == (208, 244)
