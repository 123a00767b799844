"""Runs that are killed and continued end exactly as one that never was.

What is killed is a process of its own; what ends by itself runs in this one.
"""

import contextlib
import json
import pathlib
import random
import resource
import signal
import time

import pytest
import small_agents  # noqa: F401 - its graphs.
from forked import Process
from other_processes import ends_within
from places import ROOT

from clion_tf import run
from clion_tf.logdir import checkpoints
from clion_tf.replay.stopwatch import PARTS

TIMING = {"fps", "updates_per_second", "loop_seconds", *(f"{part}_seconds" for part in PARTS)}
WORDS = [
    f"--flagfile={ROOT}/flags/debug.flags", "--task=env_fakes:counting", "--time_limit=60",
    "--prefill=120", "--steps=480", "--train_every=60", "--train_steps=2", "--pretrain=2",
    "--eval_every=240", "--log_every=120", "--video=none", "--nolog_images", "--batch_length=3",
    "--horizon=2", "--seed=5", "--save_every=100",  # Two episodes.
    "--rotation_degrees=5", "--rotation_per=episode", "--blank_frames=0.3",
    "--beta1=0", "--beta2=0",  # Smaller graphs; these have no state.
]  # fmt: skip


def start(folder, *words):
    return Process("clion_tf.run", [*WORDS, f"--logdir={folder}", *words], optimised=False)


def finish(folder, *words):
    """The same to its end, in this process; the exit code."""
    return run.main([*WORDS, f"--logdir={folder}", *words])


def children(pid):
    return [int(p) for p in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def outcome(folder):
    """Digest of weights and optimisers, counters, episodes, metrics without timing."""
    arrays, counters = checkpoints.load(checkpoints.Checkpoints.found_in(folder / "checkpoints")[0])
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    rows = [{k: v for k, v in line.items() if k not in TIMING} for line in lines]
    episodes = {p.name: p.read_bytes() for p in (folder / "episodes").glob("*.npz")}
    counters.metrics_bytes = 0  # The timing fields' digits vary.
    return checkpoints.digest(arrays), counters, episodes, rows


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole") / "run"
    assert finish(folder) == 0
    return outcome(folder)


def wait_for_episode(process, number):
    """Reads the run's lines until it has said that episode `number` ended."""
    lines = []
    for line in process.stderr:
        lines.append(line)
        if sum(" train return " in line for line in lines) == number:
            return
    raise AssertionError(f"the run ended by itself ({process.wait()}): {''.join(lines)}")


def test_killed_at_random_moments_and_continued(whole, tmp_path):
    moments = random.Random(0)
    # Among updates and episodes; for other moments see test_loop.py.
    for episodes, how in ((3, signal.SIGKILL), (2, signal.SIGTERM)):
        process = start(tmp_path / "run")
        wait_for_episode(process, episodes)
        time.sleep(moments.uniform(0, 0.3))
        workers = children(process.pid)
        process.send_signal(how)
        _, errors = process.communicate(timeout=30)
        expected = -9 if how == signal.SIGKILL else 128 + signal.SIGTERM
        assert process.returncode == expected, errors
        assert len(workers) == 2
        assert all(map(ends_within, workers))
    assert finish(tmp_path / "run") == 0
    digest, counters, episodes, rows = outcome(tmp_path / "run")
    assert rows == whole[3]
    assert episodes == whole[2]
    assert (digest, counters) == whole[:2]


@contextlib.contextmanager
def no_file_larger_than(size):
    """Holds for this process and those that it starts."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_files_that_cannot_be_written_or_are_gone(tmp_path, capfd):
    # Seed episodes throughout: a checkpoint after the second, none after the third.
    seeding, folder = "--prefill=600", tmp_path / "run"
    assert finish(folder, seeding, "--steps=120") == 0
    newest = checkpoints.Checkpoints.found_in(folder / "checkpoints")[0]
    before = newest.read_bytes()

    # Stands for a full disk: an episode has room, a checkpoint has not.
    capfd.readouterr()
    with no_file_larger_than(len(before) // 2):
        assert finish(folder, seeding, "--save_every=1") == 1
    errors = capfd.readouterr().err
    assert "Traceback" not in errors
    assert errors.splitlines()[-1].startswith("clion_tf: error: no room to write")
    assert checkpoints.Checkpoints.found_in(newest.parent)[0] == newest
    assert newest.read_bytes() == before
    assert not list(folder.rglob("*.tmp"))
    assert len(list((folder / "episodes").glob("*.npz"))) == 3
    for path in (folder / "episodes").glob("*.npz"):
        path.unlink()
    capfd.readouterr()
    assert finish(folder, seeding) == 2
    line = capfd.readouterr().err.splitlines()[-1]
    assert line.endswith("the checkpoint knows 2 episodes, but none can be read")


def test_another_seed_is_another_run(whole, tmp_path):
    """In its seed episodes and its first weights; for its updates' noise see test_agent.py."""
    same, other = tmp_path / "same", tmp_path / "other"
    for folder, seed in ((same, 5), (other, 6)):
        assert finish(folder, "--steps=120", f"--seed={seed}") == 0
    (digest, _, episodes, rows), (others, _, other_episodes, _) = map(outcome, (same, other))
    assert len(episodes) == 2 and episodes.items() <= whole[2].items()
    assert [row for row in rows if "train/return" in row] == [
        row for row in whole[3][:2] if "train/return" in row
    ]
    assert digest != others and episodes.keys() == other_episodes.keys()
    assert not set(episodes.values()) & set(other_episodes.values())
