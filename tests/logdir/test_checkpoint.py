"""Checkpoints: whole or not at all, kept few, used entirely, never unpickled."""

import errno
import json
import os

import numpy as np
import pytest
from loop_fakes import Variable

from clion_tf.logdir.checkpoints import CheckpointError, Checkpoints, Counters, load, restore

ARRAYS = {"weights/a": np.arange(6.0, dtype=np.float32).reshape(2, 3), "weights/b": np.int64(7)}


def test_round_trip_keeps_every_bit(tmp_path):
    counters = Counters(steps=5000, sums={"model/model_loss": 0.1 + 0.2}, sums_count=3, next_log=7)
    path = Checkpoints(tmp_path).save(ARRAYS, counters)
    arrays, loaded = load(path)
    assert loaded == counters
    assert arrays.keys() == ARRAYS.keys()
    for name, value in ARRAYS.items():
        assert arrays[name].dtype == np.asarray(value).dtype and np.array_equal(arrays[name], value)


def test_keeps_the_newest_few(tmp_path):
    checkpoints = Checkpoints(tmp_path, keep=2)
    for steps in (1000, 2000, 10000, 3000):
        checkpoints.save(ARRAYS, Counters(steps=steps))
    assert [p.name for p in checkpoints.paths()] == ["000010000.npz", "000003000.npz"]


def test_the_newest_is_that_of_most_steps(tmp_path):
    """Names grow longer at a billion steps."""
    checkpoints = Checkpoints(tmp_path, keep=2)
    for steps in (999_999_000, 999_999_999, 1_000_000_000, 10_000_000_000):
        checkpoints.save(ARRAYS, Counters(steps=steps))
    assert [p.name for p in checkpoints.paths()] == ["10000000000.npz", "1000000000.npz"]
    assert checkpoints.load_newest()[1].steps == 10_000_000_000


def test_that_of_a_stop_is_one_more_until_the_next_is_due(tmp_path):
    checkpoints = Checkpoints(tmp_path, keep=1)
    checkpoints.save(ARRAYS, Counters(steps=5))
    checkpoints.save(ARRAYS, Counters(steps=5, updates=1), stopped=True)
    assert [p.name for p in checkpoints.paths()] == ["000000005-stopped.npz", "000000005.npz"]
    assert checkpoints.load_newest()[1].updates == 1
    checkpoints.save(ARRAYS, Counters(steps=8))
    assert [p.name for p in checkpoints.paths()] == ["000000008.npz"]


def test_back_to_before_bad_numbers(tmp_path):
    checkpoints = Checkpoints(tmp_path, keep=4)
    assert checkpoints.go_back() is None
    checkpoints.save(ARRAYS, Counters(steps=5, bad_run=3))
    assert checkpoints.go_back() is None and len(checkpoints.paths()) == 1
    for steps, bad_run, stopped in ((7, 0, False), (7, 0, True), (8, 0, True), (9, 2, False)):
        checkpoints.save(ARRAYS, Counters(steps=steps, bad_run=bad_run), stopped)
    checkpoints.save(ARRAYS, Counters(steps=9, bad_run=2), stopped=True)
    arrays, counters = checkpoints.go_back()
    assert counters.steps == 7 and arrays.keys() == ARRAYS.keys()
    assert [p.name for p in checkpoints.paths()] == ["000000007.npz", "000000005.npz"]
    assert checkpoints.load_newest()[1].steps == 7


def test_the_newest_from_before_bad_numbers_outlives_those_that_follow(tmp_path):
    checkpoints = Checkpoints(tmp_path, keep=2)
    for steps, bad_run in ((5, 0), (6, 0), (7, 10), (8, 20), (9, 30)):
        checkpoints.save(ARRAYS, Counters(steps=steps, bad_run=bad_run))
    assert [int(path.stem) for path in checkpoints.paths()] == [9, 8, 6]
    checkpoints.save(ARRAYS, Counters(steps=9, bad_run=30), stopped=True)
    _, counters = checkpoints.go_back()
    assert counters.steps == 6 and [int(path.stem) for path in checkpoints.paths()] == [6]
    for steps, bad_run in ((7, 10), (8, 20), (9, 0), (10, 0)):  # Numbers are good again.
        checkpoints.save(ARRAYS, Counters(steps=steps, bad_run=bad_run))
    assert [int(path.stem) for path in checkpoints.paths()] == [10, 9]


def test_damaged_newest_falls_back(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(ARRAYS, Counters(steps=1))
    newest = checkpoints.save(ARRAYS, Counters(steps=2))
    newest.write_bytes(newest.read_bytes()[:-50])
    assert checkpoints.load_newest()[1].steps == 1
    assert newest.with_name(newest.name + ".bad").exists()


@pytest.mark.parametrize("at, value", [(8, 1), (10, 99)])  # Encrypted; compressed who knows how.
def test_a_damaged_directory_falls_back(tmp_path, at, value):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(ARRAYS, Counters(steps=1))
    newest = checkpoints.save(ARRAYS, Counters(steps=2))
    data = bytearray(newest.read_bytes())
    data[data.index(b"PK\x01\x02") + at] = value
    newest.write_bytes(data)
    assert checkpoints.load_newest()[1].steps == 1


def test_none_without_any(tmp_path):
    assert Checkpoints(tmp_path / "new").load_newest() == ({}, Counters())


@pytest.mark.parametrize("number", [errno.EIO, errno.EACCES, errno.ESTALE])
def test_what_the_disk_does_not_give_is_not_damaged(tmp_path, monkeypatch, number):
    checkpoints = Checkpoints(tmp_path)
    path = checkpoints.save(ARRAYS, Counters(steps=1))

    def fail(*_, **__):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(np, "load", fail)
    with pytest.raises(OSError, match=os.strerror(number)):
        checkpoints.load_newest()
    assert path.exists()


def test_counters_of_another_version_are_not_damage(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(ARRAYS, Counters(steps=1))
    path = tmp_path / "000000002.npz"
    np.savez(path, meta=np.array(json.dumps({"steps": 2, "unheard_of": 1})), **ARRAYS)
    with pytest.raises(CheckpointError, match=r"of another version of clion_tf.*unheard_of"):
        checkpoints.load_newest()
    assert path.exists()


def test_loss_scales_come_and_go_with_the_precision():
    scale = {f"optimizer/model_scale/{name}": np.array(8.0) for name in ("scale", "steps")}
    variables = {name: Variable(np.zeros_like(array)) for name, array in ARRAYS.items()}
    restore(variables, {**ARRAYS, **scale})
    assert np.array_equal(variables["weights/a"].numpy(), ARRAYS["weights/a"])
    variables |= {name: Variable(np.array(3.0)) for name in scale}
    restore(variables, ARRAYS)
    assert variables["optimizer/model_scale/scale"].numpy() == 3.0
    restore(variables, {**ARRAYS, **scale})
    assert variables["optimizer/model_scale/scale"].numpy() == 8.0


def test_nothing_is_unpickled(tmp_path):
    path = tmp_path / "000000001.npz"
    np.savez(path, meta=np.array([{"steps": 1}], object))
    with pytest.raises(CheckpointError):
        load(path)


def test_a_failed_write_leaves_the_old_one(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    path = checkpoints.save(ARRAYS, Counters(steps=1))
    before = path.read_bytes()

    class Broken:
        def __array__(self, dtype=None, copy=None):
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError):
        checkpoints.save({"weights/a": Broken()}, Counters(steps=1))
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize(
    ("variables", "says"),
    [
        ({"weights/a": Variable(np.zeros((2, 3)))}, "weights/b"),
        ({**{n: Variable(v) for n, v in ARRAYS.items()}, "weights/c": Variable(1)}, "weights/c"),
        ({"weights/a": Variable(np.zeros((3, 2))), "weights/b": Variable(0)}, "weights/a"),
    ],
)
def test_restore_must_fit(variables, says):
    before = {name: v.numpy().copy() for name, v in variables.items()}
    with pytest.raises(CheckpointError, match=says):
        restore(variables, ARRAYS)
    assert all(np.array_equal(v.numpy(), before[name]) for name, v in variables.items())
