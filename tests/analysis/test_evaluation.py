"""Episodes in several worker processes: always the same ones, and no process stays behind."""

import contextlib
import dataclasses
import os
import pathlib
import signal
import threading
import time

import numpy as np
import pytest
from small_agents import tiny_config

from clion_tf.analysis import evaluation
from clion_tf.analysis.curves.return_statistics import summary
from clion_tf.console import Refused
from clion_tf.envs import EnvSpec, WorkerError, remote_env
from clion_tf.envs.wrappers import GREY
from clion_tf.training.training_process import specs


@pytest.fixture(scope="module", autouse=True)
def acting(tmp_path_factory):
    """The file that `once` leaves behind."""
    mark = tmp_path_factory.mktemp("modules") / "mark"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MARK", str(mark))
        yield mark


class Policy:
    """Acts by the episode's number, the step and the frame."""

    def begin(self, episodes):
        self.moment = [*episodes, 0]

    def act(self, observed):
        self.moment[-1] += 1
        [image] = (one["image"] for one in observed)
        random = np.random.default_rng([*self.moment, int(image.sum())])
        return random.uniform(-1, 1, (1, 2)).astype(np.float32)


CONFIG = tiny_config(task="acting:plain", seed=4)


def play(kind="plain", count=3, workers=1, rotation=0.0, blank=0.0, on_ready=repr, **options):
    config = dataclasses.replace(CONFIG, task=f"acting:{kind}", **options)
    spec = evaluation.spec(config, rotation_degrees=rotation, blank_frames=blank)
    return evaluation.play(Policy, config, spec, count, workers, on_ready)


@pytest.fixture(scope="module")
def alone(acting):
    """What one worker plays, by number."""
    return dict(play())


def children():
    """Process ids of this process's living children."""
    found = set()
    for task in pathlib.Path(f"/proc/{os.getpid()}/task").iterdir():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # The thread has ended.
            found |= set((task / "children").read_text().split())
    return found


@pytest.fixture(autouse=True)
def no_process_stays():
    before = children()
    yield
    assert children() <= before


def assert_same(found, expected):
    assert sorted(found) == sorted(expected)
    for number, episode in expected.items():
        for key, values in episode.items():
            np.testing.assert_array_equal(found[number][key], values, err_msg=f"{number} {key}")


def test_any_number_of_workers_plays_the_same_episodes(alone):
    assert_same(dict(play(workers=9)), alone)
    assert [len(alone[number]["reward"]) for number in range(3)] == [7, 7, 7]
    assert len({float(episode["reward"].sum()) for episode in alone.values()}) == 3


def test_a_failure_changes_no_episode(acting, alone):
    found = dict(play("once", workers=2))
    assert acting.exists()
    assert_same(found, alone)


def test_rotations_begin_alike(alone):
    plain, turned = alone[0]["image"][0], dict(play(count=1, rotation=10.0))[0]["image"][0]
    assert not np.array_equal(plain, turned)
    # The same picture turned: of noise, only the middle stays where it is.
    plain, turned = (image[31:33, 31:33].astype(float) for image in (plain, turned))
    assert np.abs(plain - turned).mean() < 30 < np.abs(plain - turned[:, ::-1]).mean()


def test_blank_frames_begin_alike_and_are_what_is_stored(alone):
    found = dict(play(blank=0.5))
    hidden = []
    for number, episode in found.items():
        grey = (episode["image"] == GREY).all((1, 2, 3))
        # Its frames are the same where they are seen: the pictures do not depend on the actions.
        np.testing.assert_array_equal(
            episode["image"][~grey], alone[number]["image"][: len(grey)][~grey]
        )
        hidden += grey.tolist()
    assert 4 < sum(hidden) < len(hidden) - 4
    assert_same(dict(play(blank=0.5, workers=2)), found)


def test_an_environment_that_fails_too_often():
    with pytest.raises(WorkerError, match=r"2 failures within an hour, the last: .*out of order"):
        list(play("always", count=1, env_restarts=1))


@pytest.mark.parametrize(
    "kind, text",
    [
        ("broken", "failed in construction: ValueError: cannot be made"),
        ("no_such", "no_such"),
    ],
)
def test_what_restarting_cannot_help_is_refused_at_once(kind, text):
    with pytest.raises(Refused, match=text) as caught:
        list(play(kind, count=1))
    assert "within an hour" not in str(caught.value)


def test_a_policy_that_fails():
    def make_policy():
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        list(evaluation.play(make_policy, CONFIG, EnvSpec("acting:plain"), 2, 2))


def test_stopping_early_ends_the_workers():
    """The fixture checks that."""
    for number, _ in play(count=50, workers=2):
        assert number in (0, 1)
        break


def interrupt_after(seconds):
    threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGINT)).start()


def test_ctrl_c_ends_the_workers():
    ready = threading.Event()

    def on_ready(found):
        assert found.renderer == "a pencil"
        ready.set()
        interrupt_after(0.2)

    with pytest.raises(KeyboardInterrupt):
        list(play("slow", count=1, on_ready=on_ready))
    assert ready.is_set()


def test_ctrl_c_does_not_wait_for_an_environment_that_hangs(monkeypatch):
    monkeypatch.setattr(remote_env, "GRACE", 0.2)
    began = []

    def on_ready(found):
        began.append(time.monotonic())
        interrupt_after(0.5)

    with pytest.raises(KeyboardInterrupt):
        list(play("hangs", count=1, worker_timeout=3.0, env_restarts=5, on_ready=on_ready))
    assert time.monotonic() - began[0] < 2.5


def test_evaluation_of_a_run(alone):
    conditions = evaluation.Conditions()
    scores = evaluation.evaluate(Policy, CONFIG, conditions, 3, 2)
    assert scores.returns == [float(alone[n]["reward"].sum()) for n in range(3)]
    assert (scores.conditions, scores.lengths) == (conditions, [6, 6, 6])
    assert scores.renderer == "a pencil"


def test_environment_of_an_evaluation():
    config = tiny_config(task="walker_walk", seed=4, action_repeat=4, time_limit=500)
    expected = EnvSpec("walker_walk", 4, evaluation.STREAM, 4, 500, rotation_degrees=5.0)
    assert evaluation.spec(config, rotation_degrees=5.0) == expected
    own = dataclasses.replace(expected, rotation_degrees=config.test_rotation)
    assert evaluation.spec(config) == evaluation.spec(config, rotation_degrees=None) == own
    frames = {"rotation_per": "episode", "rotation_fill": "black", "test_blank_frames": 0.25}
    own = dataclasses.replace(config, test_rotation_degrees=3.0, **frames)
    expected = dataclasses.replace(
        expected, rotation_degrees=3.0, blank_frames=0.25, rotation_per="episode",
        rotation_fill="black",
    )  # fmt: skip
    assert evaluation.spec(own) == expected
    assert evaluation.spec(own, blank_frames=0.0) == dataclasses.replace(expected, blank_frames=0.0)


def test_training_and_testing_have_conditions_of_their_own():
    config = tiny_config(
        rotation_degrees=5.0, test_rotation_degrees=0.0, blank_frames=0.5, test_blank_frames=0.1
    )
    found = [(spec.rotation_degrees, spec.blank_frames) for spec in specs(config)]
    assert found == [(5.0, 0.5), (0.0, 0.1)]


def test_grid_of_conditions():
    every = evaluation.grid([5, 0], [0, 1, 0.3], [0.5])
    assert every == [
        (5, 0, 0.5), (5, 1, 0.5), (5, 0.3, 0.5), (0, 0, 0.5), (0, 1, 0.5), (0, 0.3, 0.5),
    ]  # fmt: skip
    some = evaluation.grid([5, 0, 5], [0, 1, 0], [0.5, 0.5], one_at_a_time=True)
    assert some == [(5, 0, 0.5), (5, 1, 0.5), (0, 0, 0.5)]
    # 10 episodes each of 3 + 2 + 2 + 1 instead of 36.
    lists = [0, 5, 15], [0, 0.1, 0.3, 1], [0, 0.2, 0.5]
    assert [len(evaluation.grid(*lists, one_at_a_time=o)) for o in (True, False)] == [8, 36]


def scores(*returns, **conditions):
    return evaluation.Scores(evaluation.Conditions(**conditions), list(returns), [5] * len(returns))


def test_lines_of_the_table():
    three = scores(100.0, 110.0, 120.0, rotation_degrees=2.5)
    # 2 degrees of freedom: t = 4.3027, times 10 / sqrt(3).
    row = evaluation.row(three, three)
    assert row.split() == "2.5 0 0 3 110.0 10.0 85.2 to 134.8".split()
    # Episode by episode: -20, -30, -10.
    worse = scores(80.0, 80.0, 110.0, memory_noise=0.3, blank_frames=0.25)
    found = evaluation.row(worse, three).split()
    assert found[:5] == ["0", "0.3", "0.25", "3", "90.0"]
    assert found[-4:] == ["-20.0", "(-44.8", "to", "4.8)"]
    one = scores(7.0)
    assert evaluation.row(one, one).split(maxsplit=6) == [
        "0", "0", "0", "1", "7.0", "-", "- (needs two episodes)",
    ]  # fmt: skip
    other = evaluation.row(scores(9.0), one)
    assert other.endswith("  +2.0 (- (needs two episodes))")
    for text in (row, other):  # Below their headings.
        for heading in ("95%", "change"):
            cut = evaluation.HEADER.index(heading)
            assert not text[cut:] or (text[cut - 2 : cut] == "  " and text[cut] != " ")


def test_json_of_the_scores():
    first, second = scores(1.0, 2.0), scores(1.5, 2.123456, blank_frames=0.5)
    found = evaluation.as_dict(second, first)
    assert found["returns"] == [1.5, 2.1235] and found["lengths"] == [5, 5]
    assert (found["rotation_degrees"], found["memory_noise"], found["blank_frames"]) == (0, 0, 0.5)
    expected = dataclasses.asdict(summary([1.5, 2.123456]))
    assert found["summary"] == pytest.approx(expected, abs=1e-4)
    assert found["change"] == pytest.approx(dataclasses.asdict(summary([0.5, 0.123456])), abs=1e-4)
