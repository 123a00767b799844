"""Learning curves: what of a logdir or a file becomes one."""

import dataclasses
import gzip
import json
import pathlib
import re

import numpy as np
import pytest
from runs import make_run, options

from clion_tf.analysis.curves import curve_files, learning_curves, metrics_files
from clion_tf.analysis.curves.curve import ORIGINAL, OURS, PUBLISHED, Curve
from clion_tf.command import UsageError
from clion_tf.config import EARLIER, Config
from clion_tf.logdir import code_versions
from clion_tf.logdir.run_folder import LogdirError

POINTS = {5000: 10.0, 15000: 20.0}


def only(*patterns, **others):
    found = learning_curves.find(patterns, **others)
    assert len(found) == 1
    return found[0]


def test_our_run(tmp_path):
    config = options("table1_rotation", task="dmc_walker_run", seed=3, test_rotation_degrees=2)
    make_run(tmp_path / "a", POINTS, {1000: 5.0}, config)
    curve = only(tmp_path / "a")
    assert (curve.task, curve.method, curve.seed) == ("walker_run", "CLION", "3")
    assert (curve.rotation, curve.test_rotation, curve.kind) == (5, 2, OURS)
    np.testing.assert_array_equal(curve.xs, [5000, 15000])
    np.testing.assert_array_equal(curve.ys, [10, 20])
    np.testing.assert_array_equal(only(tmp_path / "a", metric="train").ys, [5])
    assert curve.options["task"] == "dmc_walker_run" and "logdir" not in curve.options


def test_the_originals_run_is_named_by_its_folders(tmp_path):
    folder = make_run(tmp_path / "dmc_walker_walk" / "dreamer" / "7", POINTS)
    curve = only(tmp_path)
    assert (curve.task, curve.method, curve.seed) == ("walker_walk", "dreamer", "7")
    assert curve.kind == ORIGINAL and curve.options is None
    labelled = only(tmp_path, labels={str(folder.parent): "Original"})
    assert (labelled.method, labelled.seed) == ("Original", "7")


def test_the_originals_run_elsewhere_needs_a_label(tmp_path):
    folder = make_run(tmp_path / "some" / "where" / "else", POINTS)
    with pytest.raises(UsageError, match=r"--label=.*=walker_walk/Dreamer/0"):
        learning_curves.find([folder])
    curve = only(folder, labels={str(folder): "dmc_cup_catch/Dreamer w/o x/2"})
    assert (curve.task, curve.method, curve.seed) == ("cup_catch", "Dreamer w/o x", "2")


def test_label_with_a_slash_is_a_name(tmp_path):
    folder = make_run(tmp_path / "dmc_walker_walk" / "dreamer" / "7", POINTS)
    curve = only(folder, labels={str(folder): "Augmentation w/o EVA"})
    assert (curve.method, curve.seed) == ("Augmentation w/o EVA", "7")


def test_damaged_metrics(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text(
        '{"step": 30, "k": 3.0}\n{"step": 10, "k": null}\n{"step": 20, "k": NaN}\n\n'
        '{"step": 40, "k": Infinity}\n{"step": 50, "k": "x"}\n{"step": 60}\n{"k": 1}\n[1]\n'
        '{"step": 5, "k": 1}{\n{"step": 30, "k": 5.0}\n{"step": 15, "k": 2}\n{"step": 70, "k": 1'
    )
    found = metrics_files.read(path)
    xs, ys = found.points["k"]
    assert (xs.tolist(), ys.tolist(), found.damaged) == ([15, 30], [2, 4], 3)


def test_a_last_line_still_being_written_is_no_error(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1, "k": 3}\n{"step": 2, "k"')
    found = metrics_files.read(path)
    assert found.points["k"][0].tolist() == [1] and not found.damaged
    path.write_text('{"step": 1, "k": 3}\n{"step": 2, "k": 4}')  # Whole but for its newline.
    assert metrics_files.read(path).points["k"][0].tolist() == [1, 2]


def test_find_looks_below_and_takes_each_run_once(tmp_path, caplog):
    runs = [make_run(tmp_path / "x" / "y" / str(i), POINTS, config=Config(seed=i)) for i in (0, 1)]
    make_run(tmp_path / "x" / ".hidden", POINTS, config=Config())
    make_run(tmp_path / "a/b/c/d/e", POINTS, config=Config())  # Too deep.
    (tmp_path / "notes.txt").write_text("")
    found = learning_curves.find([tmp_path / "*", runs[0], tmp_path / "x"])
    assert [curve.seed for curve in found] == ["0", "1"]
    assert f"{tmp_path / 'a'}: no run in it" in caplog.text


def test_a_run_without_returns_is_left_out_with_a_warning(tmp_path, caplog):
    make_run(tmp_path / "a", {}, config=Config())
    make_run(tmp_path / "b", POINTS, config=Config())
    assert only(tmp_path).source.endswith("b")
    assert "no test return in it" in caplog.text
    with pytest.raises(UsageError, match="no test return"):
        learning_curves.find([tmp_path / "a"])


def test_what_is_not_there_is_refused(tmp_path):
    for pattern in ("missing", "missing*"):
        with pytest.raises(UsageError, match="no such folder or file"):
            learning_curves.find([tmp_path / pattern])
    with pytest.raises(UsageError, match="no test return"):
        learning_curves.find([tmp_path])
    (tmp_path / "run.flags").write_text("--no_such_flag=1\n")
    with pytest.raises(LogdirError, match="cannot read the run's options"):
        learning_curves.find([tmp_path])


BAD = {
    "unknown option": lambda run: (run / "run.flags").open("a").write("--of_tomorrow=1\n"),
    "value that cannot be": lambda run: (run / "run.flags").open("a").write("--agent=dqn\n"),
    "bytes": lambda run: (run / "run.flags").write_bytes(b"\xff\xfe\0"),
    "empty": lambda run: (run / "run.flags").write_text(""),
    "cut": lambda run: (run / "run.flags").write_text("--logdir=/x\n--seed=0\n"),
    "no options": lambda run: (run / "run.flags").unlink(),
    "loop": lambda run: ((run / "run.flags").unlink(), (run / "run.flags").symlink_to("run.flags")),
}


@pytest.mark.parametrize("spoil", BAD.values(), ids=BAD)
def test_one_bad_run_among_many_is_left_out_with_its_name(tmp_path, caplog, spoil):
    good = make_run(tmp_path / "logdir" / "a", POINTS, config=Config())
    bad = make_run(tmp_path / "logdir" / "b", POINTS, config=Config(seed=1))
    (tmp_path / "logdir" / "c.json").write_text("{")
    spoil(bad)
    assert only(tmp_path / "logdir").source == str(good)
    assert "left out: " in caplog.text and str(bad) in caplog.text
    caplog.clear()
    assert only(tmp_path / "logdir" / "*").source == str(good)
    assert len(caplog.records) == 2 and "c.json: not a curve file" in caplog.text
    # None is left: an error, which says of the first what is wrong.
    with pytest.raises((UsageError, LogdirError), match=re.escape(str(bad))):
        learning_curves.find([bad, tmp_path / "logdir" / "c.json"])
    with pytest.raises((UsageError, LogdirError), match=re.escape(str(bad))):
        learning_curves.find([bad])


def test_a_folder_that_may_not_be_read_costs_itself_only(tmp_path, caplog, monkeypatch):
    good = make_run(tmp_path / "logdir" / "a", POINTS, config=Config())
    other = make_run(tmp_path / "logdir" / "z", POINTS, config=Config(seed=1))
    (tmp_path / "logdir" / "locked").mkdir()
    inside = pathlib.Path.iterdir

    def iterdir(path):
        if path.name == "locked":
            raise PermissionError(13, "Permission denied", str(path))
        return inside(path)

    monkeypatch.setattr(pathlib.Path, "iterdir", iterdir)
    found = learning_curves.find([tmp_path / "logdir"])
    assert [curve.source for curve in found] == [str(good), str(other)]
    assert "left out: " in caplog.text and "locked" in caplog.text


@pytest.mark.parametrize(
    "line", [b"\xff\x00\x9c", b"[" * 100_000, b'{"step": 1%s}' % (b"0" * 400), b"{}", b'"step"']
)
def test_damaged_lines_cost_themselves_only(tmp_path, caplog, line):
    path = make_run(tmp_path / "a", POINTS, config=Config()) / "metrics.jsonl"
    path.write_bytes(line + b"\n" + path.read_bytes())
    assert only(tmp_path / "a").xs.tolist() == list(POINTS)
    assert "1 damaged lines left out" in caplog.text


def test_what_is_neither_folder_nor_curve_file_is_said(tmp_path, caplog):
    make_run(tmp_path / "a", POINTS, config=Config())
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")
    (tmp_path / "notes.txt").write_text("")
    assert only(tmp_path / "a", tmp_path / "gone", tmp_path / "notes.txt").seed == "0"
    for name in ("gone", "notes.txt"):
        assert f"{tmp_path / name}: neither a folder nor a curve file" in caplog.text


PEERS = [{"task": "dmc_walker_walk", "method": "dreamer", "seed": "0", "xs": [2, 1], "ys": [4, 3]}]


def test_published_curves(tmp_path):
    path = tmp_path / "peers.json"
    path.write_text(json.dumps(PEERS))
    curve = only(path)
    assert (curve.task, curve.kind, curve.rotation) == ("walker_walk", PUBLISHED, 0)
    assert (curve.xs.tolist(), curve.ys.tolist()) == ([1, 2], [3, 4])


@pytest.mark.parametrize(
    "change, message",
    [
        ({"task": None}, "no task"),
        ({"xs": [1]}, "not lists of equal length"),
        ({"ys": "ab"}, "not lists of equal length"),
        ({"ys": ["a", 1]}, "not a curve .*'a'"),
        ({"ys": [10**400, 1]}, "not a curve .*too large"),
        ({"rotation_degrees": "much"}, "not a curve .*'much'"),
    ],
)
def test_wrong_curve_files_are_refused(tmp_path, change, message):
    path = tmp_path / "peers.json"
    path.write_text(json.dumps([PEERS[0], PEERS[0] | change]))
    with pytest.raises(UsageError, match=f"entry 1: .*{message}"):
        curve_files.load(path)


@pytest.mark.parametrize("text", ["", "{", "[]", "3", "[" * 100_000])
def test_what_is_no_curve_file_is_refused(tmp_path, text):
    path = tmp_path / "peers.json"
    path.write_text(text)
    with pytest.raises(UsageError, match=r"peers\.json"):
        curve_files.load(path)


def test_points_that_are_null_are_left_out(tmp_path):
    path = tmp_path / "peers.json"
    path.write_text(json.dumps([PEERS[0] | {"xs": [1, None, 3], "ys": [float("nan"), 2, 3]}]))
    assert only(path).xs.tolist() == [3]


def test_saved_runs_come_back_as_they_were(tmp_path):
    config = options("cpu", "dreamer", "table1_rotation", logdir="/somewhere", seed=2)
    make_run(tmp_path / "a", POINTS, {1000: 5.0}, config)
    code_versions.record(tmp_path / "a", 0, "CPU")
    make_run(tmp_path / "dmc_walker_run" / "dreamer" / "0", POINTS)
    runs = learning_curves.find([tmp_path])
    paths = curve_files.save(tmp_path / "results", runs)
    assert [path.name for path in paths] == [
        "walker_walk-rotation5-dreamer-cpu_sizes-seed2.json", "walker_run-dreamer-seed0.json"
    ]  # fmt: skip
    assert "/somewhere" not in paths[0].read_text()
    version = code_versions.of_run(tmp_path / "a")
    assert version and only(paths[0]).version == version
    for path, before in zip(paths, runs, strict=True):
        after = only(path)
        np.testing.assert_equal(after.points, before.points)
        for field in dataclasses.fields(Curve):
            if field.name not in ("source", "points"):
                same = np.array_equal(getattr(after, field.name), getattr(before, field.name))
                assert same, field.name
    assert only(paths[0], metric="train").ys.tolist() == [5]
    assert curve_files.save(tmp_path / "again", learning_curves.find(paths)) == [
        tmp_path / "again" / path.name for path in paths
    ]


def logged(path):
    return [json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()]


def test_a_file_older_than_an_option_is_named_by_what_held_before_it(tmp_path):
    run = make_run(tmp_path / "run", POINTS, config=Config())
    folder = tmp_path / "results"
    [path] = curve_files.save(folder, learning_curves.read_runs([run]))
    saved = json.loads(path.read_text())
    saved["options"] = {k: v for k, v in saved["options"].items() if k not in EARLIER}
    assert saved["method"] == "CLION" and "decoding_target" in EARLIER
    path.write_text(json.dumps(saved))
    (older,) = curve_files.load(path)
    assert older.method.startswith("CLION (") and "decoding_target=observation" in older.method
    path.write_text(json.dumps(saved | {"method": "a label"}))
    assert [curve.method for curve in curve_files.load(path)] == ["a label"]
    saved["options"]["batch_length"] = 10**9  # Refused by now.
    path.write_text(json.dumps(saved))
    assert [curve.method for curve in curve_files.load(path)] == ["CLION"]


def test_what_a_run_logged_is_kept_beside_its_curve(tmp_path):
    make_run(tmp_path / "a", POINTS, config=Config())
    for step, text in ((10_000, '{"steps": 10000}'), (5000, '{\n "steps": 5000\n}')):
        (tmp_path / "a" / "diagnostics").mkdir(exist_ok=True)
        (tmp_path / "a" / "diagnostics" / f"{step:07d}.json").write_text(text)
    [path] = curve_files.save(tmp_path / "results", learning_curves.find([tmp_path / "a"]))
    metrics = path.with_name(f"{path.stem}.metrics.jsonl.gz")
    lines = (tmp_path / "a" / "metrics.jsonl").read_text().splitlines()
    assert logged(metrics) == [json.loads(line) for line in lines] != []
    diagnostics = logged(path.with_name(f"{path.stem}.diagnostics.jsonl.gz"))
    assert diagnostics == [{"steps": 5000}, {"steps": 10_000}]
    # Saving the saved keeps what is there, and equal logs are equal files.
    before = metrics.read_bytes()
    curve_files.save(tmp_path / "results", learning_curves.find([path]))
    curve_files.save(tmp_path / "results", learning_curves.find([tmp_path / "a"]))
    assert metrics.read_bytes() == before


def test_long_logs_are_thinned_but_for_evaluations(tmp_path, monkeypatch):
    monkeypatch.setattr(curve_files, "LINES", 100)
    for count in (100, 5000):
        train = {step: 1.0 for step in range(count)}
        folder = make_run(tmp_path / str(count), {7: 1.0}, train, config=Config(seed=count))
        [path] = curve_files.save(tmp_path / "results", learning_curves.find([folder]))
        lines = logged(path.with_name(f"{path.stem}.metrics.jsonl.gz"))
        assert [line["step"] for line in lines] == [*range(0, count, -(-(count + 1) // 100)), 7]


def test_many_odd_options_fit_into_a_name(tmp_path):
    odd = {"num_units": 64, "cnn_depth": 8, "horizon": 8, "discount": 0.95, "pretrain": 300}
    odd |= {"model_lr": 0.002, "value_lr": 0.0005, "actor_lr": 0.0002, "free_nats": 2.5}
    odd |= {"train_every": 50, "train_steps": 20, "batch_size": 10, "kl_scale": 0.25}
    odd |= {"deter_size": 50, "hidden_size": 50, "disclam": 0.875, "grad_clip": 12.5}
    for number, last in enumerate((17, 18)):
        config = Config(**odd, stoch_size=last)
        make_run(tmp_path / str(number), POINTS, config=config)
    paths = curve_files.save(tmp_path / "results", learning_curves.find([tmp_path]))
    assert len({path.name for path in paths}) == 2
    assert all(len(path.name) < 120 and path.name.endswith("-seed0.json") for path in paths)
    assert {only(path).setup.rpartition("stoch_size=")[2][:2] for path in paths} == {"17", "18"}


def test_a_folder_of_curve_files_is_read(tmp_path):
    make_run(tmp_path / "a", POINTS, config=Config())
    curve_files.save(tmp_path / "results", learning_curves.find([tmp_path / "a"]))
    found = only(tmp_path / "results")
    assert found.xs.tolist() == list(POINTS) and found.kind == OURS


def test_saving_two_runs_under_one_name_is_refused(tmp_path):
    for name in "ab":
        make_run(tmp_path / name, POINTS, config=Config())
    with pytest.raises(UsageError, match="one seed of one method"):
        curve_files.save(tmp_path / "results", learning_curves.find([tmp_path]))
    assert not (tmp_path / "results").exists()
