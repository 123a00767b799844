"""Two replicas make the updates that one makes, up to round-off."""

import json

import numpy as np
import pytest
import tensorflow as tf
from forked import Process
from places import ROOT
from small_agents import seeded, without_graphs

from clion_tf import run
from clion_tf.console import REFUSED
from clion_tf.learning import replica_sums
from clion_tf.logdir import checkpoints


def two_devices(*words, eagerly=False):
    """(exit code, stdout, stderr) of tests/two_devices.py, in a process of its own."""
    process = Process("two_devices", words, eagerly, optimised=False)
    out, errors = process.communicate(timeout=900)
    return process.returncode, out, errors


def cases(result):
    code, out, errors = result
    assert code == 0, errors
    return {line.pop("case"): line for line in map(json.loads, out.splitlines())}


WORDS = [
    f"--flagfile={ROOT}/flags/debug.flags", f"--flagfile={ROOT}/flags/dreamer.flags",
    "--task=env_fakes:counting", "--time_limit=60", "--prefill=60", "--train_every=60",
    "--train_steps=2", "--pretrain=2", "--batch_length=3", "--horizon=2", "--batch_size=4",
    "--eval_every=9999", "--video=none", "--nolog_images", "--log_every=60", "--action_repeat=10",
]  # fmt: skip


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two runs in a process: (its end, their folder). Graphs are the next test's."""
    folder = tmp_path_factory.mktemp("replicas")
    words = [*WORDS, "--strategy=mirrored"]
    run = ["run", *words, f"--logdir={folder}/run", "--steps=120"]
    refused = ["run", *words, f"--logdir={folder}/new", "--steps=180", "--batch_size=5"]
    return two_devices(*run, *refused, eagerly=True), folder


def test_two_replicas_are_one():
    found = cases(two_devices("clion"))["clion"]
    assert found["metrics"] < 1e-4 and found["state"] < 1e-4
    assert found["poisoned"] == [True, True]
    assert found["restored"]


@pytest.mark.slow
def test_two_replicas_are_one_with_every_option():
    names = ("ratio", "weight_gradient", "pcont", "discrete", "dreamer", "clipped", "bf16", "16")
    every = cases(two_devices(*names))
    assert list(every) == list(names)
    for name, found in every.items():
        # In 16 bits each replica's gradients are rounded by themselves, and Adam's first steps of a
        # weight near zero are of the size of the weight.
        metrics, state = (0.02, 0.5) if name in ("bf16", "16") else (1e-4, 1e-4)
        assert found["metrics"] < metrics and found["state"] < state, (name, found)


def test_a_run_of_two_replicas_is_continued_by_one(runs, capfd):
    result, folder = runs
    assert cases(result)[f"{folder}/run"] == {"code": 0}, result[2]
    assert "learner on CPU, precision 32, XLA off, 2 replicas" in result[2]
    with without_graphs():
        assert run.main([*WORDS, f"--logdir={folder}/run", "--steps=180"]) == 0
    assert "resuming at 120 environment steps" in capfd.readouterr().err
    _, counters = checkpoints.load(folder / "run" / "checkpoints" / "000000180.npz")
    assert (counters.steps, counters.updates, counters.skipped) == (180, 4, 0)


def test_a_batch_that_cannot_be_shared_is_refused_before_anything_is_made(runs):
    result, folder = runs
    assert cases(result)[f"{folder}/new"] == {"code": REFUSED}
    assert not (folder / "new").exists()
    line = result[2].splitlines()[-1]
    assert line.endswith("--batch_size=5: not divisible by the 2 replicas (--strategy=mirrored)")


def test_without_a_strategy_nothing_is_added():
    x = tf.constant([1.0, 2.0])
    assert replica_sums.count() == 1 and replica_sums.rank() == 0
    for function in (
        replica_sums.total,
        replica_sums.mean,
        replica_sums.mean_without_gradient,
        replica_sums.largest,
    ):
        assert function(x) is x


class OneOf:
    """As if `count` replicas made an update, and this were number `rank`."""

    def __init__(self, monkeypatch, rank, count):
        monkeypatch.setattr(replica_sums, "count", lambda: count)
        monkeypatch.setattr(replica_sums, "rank", lambda: rank)


@pytest.mark.parametrize("rank", [0, 2])
def test_a_replicas_noise_is_its_rows_of_the_whole(rank, monkeypatch):
    OneOf(monkeypatch, rank, 3)
    mine, rows = replica_sums.ReplicaNoise(seeded(), copies=1), slice(2 * rank, 2 * rank + 2)
    whole = seeded().normal("posterior", [6, 5, 4]).numpy()
    np.testing.assert_array_equal(mine.normal("posterior", [2, 5, 4]), whole[rows])
    whole = seeded().uniform("overshoot", [5, 6, 3, 4]).numpy()
    np.testing.assert_array_equal(mine.uniform("overshoot", [5, 2, 3, 4]), whole[:, rows])
    # Originals, then copies: a replica's rows of either.
    whole = seeded().gumbel("imagined_action", [5, 12, 4]).numpy()
    expected = np.concatenate([whole[:, :6][:, rows], whole[:, 6:][:, rows]], 1)
    np.testing.assert_array_equal(mine.gumbel("imagined_action", [5, 4, 4]), expected)


def test_noise_of_an_unknown_layout_is_an_error(monkeypatch):
    OneOf(monkeypatch, 0, 2)
    with pytest.raises(KeyError, match="elsewhere"):
        replica_sums.ReplicaNoise(seeded(), 0).normal("elsewhere", [2, 3])
