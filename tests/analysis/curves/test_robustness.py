"""Evaluations under noise: which are averaged, what of it is drawn, plot.py --robustness."""

import json

import numpy as np
import pytest
from plots import MAGIC, legend, plot
from report_pages import Content, report
from runs import make_run, options
from tool_modules import tool as module

from clion_tf.analysis import evaluation
from clion_tf.analysis.curves import curve_plots, noise_evaluations, noise_tables
from clion_tf.command import UsageError

ONE_AT_A_TIME = evaluation.grid([0, 5], [0, 0.1, 1], [0, 0.5], one_at_a_time=True)
PRODUCT = evaluation.grid([0, 5], [0, 0.1, 1], [0, 0.5])


def write(folder, seed=0, method="CLION", cells=ONE_AT_A_TIME, returns=None, **others):
    """A file as evaluate.py writes it; a cell's returns are `returns(cell)`, else seed + noise."""
    if returns is None:
        returns = lambda cell: [seed + 10 * cell.memory_noise + x for x in (-1.0, 1.0)]  # noqa: E731
    content = {
        "task": "walker_walk", "method": method, "setup": "", "seed": seed, "steps": 50_000,
        "options": {}, "action": "densest", "memory_noise_unit": "relative",
        "cells": [{**cell._asdict(), "returns": returns(cell)} for cell in cells],
        **others,
    }  # fmt: skip
    folder.mkdir(exist_ok=True)
    path = folder / f"{method}-{seed}.json"
    path.write_text(json.dumps(content))
    return path


def amounts(line):
    (amounts,) = {tuple(curve.xs.tolist()) for curve in line.curves}
    return amounts


def means(line):
    """Of each seed's returns."""
    return tuple(tuple(curve.ys.tolist()) for curve in line.curves)


def lines(*patterns):
    return noise_evaluations.all_series(noise_evaluations.find(patterns))


def by_kind(*patterns):
    """The one line over each kind of noise."""
    kinds = ("memory_noise", "blank_frames", "rotation_degrees")
    found = {kinds[line.panel.order[-1]]: line for line in lines(*patterns)}
    assert len(found) == len(lines(*patterns))
    return found


def test_a_line_over_each_kind_of_noise(tmp_path):
    write(tmp_path)
    found = by_kind(tmp_path)
    assert list(found) == ["memory_noise", "blank_frames", "rotation_degrees"]
    assert {line.panel.title for line in found.values()} == {"walker_walk"}
    assert amounts(found["memory_noise"]) == (0, 0.1, 1)
    assert means(found["memory_noise"]) == ((0.0, 1.0, 10.0),)
    assert amounts(found["blank_frames"]) == (0, 0.5)
    assert amounts(found["rotation_degrees"]) == (0, 5)
    label = found["memory_noise"].panel.xlabel
    assert label == "noise on memory h (standard deviations of h)"


def test_of_all_combinations_those_that_differ_from_the_first_in_one_thing(tmp_path):
    def returns(cell):
        spoilt = cell.blank_frames and cell.memory_noise
        return [1000.0 if spoilt else cell.memory_noise]

    write(tmp_path, cells=PRODUCT, returns=returns)
    found = by_kind(tmp_path)
    assert means(found["memory_noise"]) == ((0.0, 0.1, 1.0),)
    assert max(map(max, (means(line)[0] for line in found.values()))) == 1.0


def test_mean_and_interval_are_over_trainings(tmp_path):
    for seed in (0, 1, 5):
        write(tmp_path, seed)
    line = lines(tmp_path)[0]
    assert means(line) == ((0.0, 1.0, 10.0), (1.0, 2.0, 11.0), (5.0, 6.0, 15.0))
    # Of 0, 1, 5 with 2 degrees of freedom, t = 4.3027; episodes are 1 apart from each mean.
    half = 4.302653 * np.std([0, 1, 5], ddof=1) / np.sqrt(3)
    corners = curve_plots.amounts([line]).axes[0].collections[0].get_paths()[0].vertices
    at = corners[corners[:, 0] == 0][:, 1]
    assert (at.min(), at.max()) == pytest.approx((2 - half, 2 + half))


def test_trainings_that_differ_are_never_averaged(tmp_path):
    different = [
        {"method": "Dreamer"}, {"setup": "cpu sizes"}, {"options": {"rotation_degrees": 5.0}},
        {"steps": 100_000}, {"action": "mean"}, {"setup": "cpu sizes, blank_frames=0.5"},
    ]  # fmt: skip
    for i, others in enumerate([{}, *different]):
        write(tmp_path / str(i), **others)
    found = lines(tmp_path / "*")
    found = [line for line in found if line.panel == found[0].panel]
    assert [len(means(line)) for line in found] == [1] * 7
    assert len({line.label for line in found}) == 7
    five = "CLION, paper sizes, trained at ±5°, 50,000 steps, eval_action=densest"
    assert five in {x.label for x in found}


def test_a_caption_says_what_all_have_in_common(tmp_path):
    write(tmp_path / "a")
    write(tmp_path / "b", options={"rotation_degrees": 5.0})
    both = curve_plots.amounts(lines(tmp_path / "?")).legends[0].get_title().get_text()
    assert both.endswith("50,000 steps; eval_action=densest") and "±" not in both
    one = curve_plots.amounts(lines(tmp_path / "b")).legends[0].get_title().get_text()
    assert one.endswith("trained at ±5°; 50,000 steps; eval_action=densest")


def test_conditions_besides_and_units_have_panels_of_their_own(tmp_path):
    blank = evaluation.grid([0], [0, 1], [0.5])
    write(tmp_path / "a", 0, cells=evaluation.grid([0], [0, 1], [0]))
    write(tmp_path / "b", 1, cells=blank)
    write(tmp_path / "c", 2, cells=blank, memory_noise_unit="absolute")
    found = lines(tmp_path / "?")
    titles = [(line.panel.title, line.panel.xlabel.split("(")[1]) for line in found]
    assert titles == [
        ("walker_walk", "standard deviations of h)"),
        ("walker_walk, blank frames 0.5", "absolute)"),
        ("walker_walk, blank frames 0.5", "standard deviations of h)"),
    ]
    # A panel each, also of those that differ in the unit only.
    assert len(curve_plots.amounts(found).axes) == 3


def test_amounts_that_a_seed_lacks_are_pale(tmp_path):
    write(tmp_path, 0)
    write(tmp_path, 1, cells=evaluation.grid([0], [0, 1], [0]))
    found = by_kind(tmp_path)
    memory = found["memory_noise"]
    assert amounts(memory) == (0, 0.1, 1)
    np.testing.assert_array_equal(means(memory), [[0, 1, 10], [1, np.nan, 11]])
    figure = curve_plots.amounts([memory])
    assert "pale: some seeds only" in figure.legends[0].get_title().get_text()
    assert len(means(found["rotation_degrees"])) == 1


def test_one_training_counts_once(tmp_path):
    write(tmp_path / "a")
    write(tmp_path / "b")
    with pytest.raises(
        UsageError, match=r"a/CLION-0.json and .* are of one training \(CLION, seed 0"
    ):
        lines(tmp_path / "?")
    # The same file by two names is one file, and two kinds of noise may be in two files.
    assert len(noise_evaluations.find([tmp_path / "a", tmp_path / "a" / "CLION-0.json"])) == 1
    write(tmp_path / "a", cells=evaluation.grid([0], [0, 1], [0]))
    write(tmp_path / "b", cells=evaluation.grid([0, 5], [0], [0]))
    assert len(lines(tmp_path / "?")) == 2


BROKEN = {
    "{": "not a file of tools/evaluate.py",
    "[]": "not a file of tools/evaluate.py --json",
    '{"task": "a"}': "no 'options'",
    '{"task": "dmc_walker_walk", "method": "dreamer", "seed": "0", "xs": [1], "ys": [2]}':
        "no 'options'",
}  # fmt: skip


@pytest.mark.parametrize("text", BROKEN)
def test_other_files(tmp_path, text):
    path = tmp_path / "x.json"
    path.write_text(text)
    with pytest.raises(UsageError, match=BROKEN[text]) as error:
        noise_evaluations.find([path])
    assert "\n" not in str(error.value)
    with pytest.raises(UsageError, match=r"no file of tools/evaluate\.py there"):
        noise_evaluations.find([tmp_path])
    write(tmp_path)  # In a folder, others may lie beside.
    assert len(noise_evaluations.find([tmp_path])) == 1


@pytest.mark.parametrize("returns", [[], [float("nan")], ["x"], None])
def test_cells_without_numbers(tmp_path, returns):
    path = write(tmp_path, returns=lambda cell: returns)
    with pytest.raises(UsageError, match=r"not a file of tools/evaluate\.py --json"):
        noise_evaluations.load(path)


def test_figure(tmp_path):
    for seed in range(3):
        write(tmp_path, seed)
        write(tmp_path, seed + 1, "Dreamer", returns=lambda cell: [-5.0, 3.0])
    write(tmp_path, 0, "DrQ", cells=evaluation.grid([0, 5], [0], [0]))
    found = lines(tmp_path)
    figure = curve_plots.amounts(found)
    assert legend(figure) == ["CLION (3 seeds)", "Dreamer (3 seeds)", "DrQ (1 seed)"]
    xlabels = dict.fromkeys(line.panel.xlabel for line in found)
    assert [ax.get_xlabel() for ax in figure.axes] == list(xlabels)
    ax, _, rotation = figure.axes
    color = curve_plots.COLORS["CLION"]
    [mean] = [x for x in ax.lines if x.get_color() == color and x.get_linewidth() > 1]
    assert mean.get_xydata().tolist() == [[0, 1], [0.1, 2], [1, 11]]
    thin = [line for line in ax.lines if line.get_linewidth() < 1]
    assert len(thin) == 6
    bands = {tuple(band.get_facecolor()[0][:3]): band for band in ax.collections}
    assert len(bands) == 2 and len(rotation.collections) == 2  # None of DrQ's one seed.
    corners = ax.collections[-1].get_paths()[0].vertices
    at = corners[corners[:, 0] == 1][:, 1]
    half = 4.302653 / np.sqrt(3)
    assert (at.min(), at.max()) == pytest.approx((11 - half, 11 + half))
    low, high = ax.get_ylim()
    assert low == -1 and high >= 12
    caption = figure.legends[0].get_title().get_text()
    assert "mean over seeds" in caption and "95 % interval" in caption


def test_figure_of_several_experiments(tmp_path):
    write(tmp_path / "a", options={"rotation_degrees": 5.0})
    write(tmp_path / "b", task="hopper_stand", cells=evaluation.grid([0], [0, 1], [0]),
          options={"rotation_degrees": 5.0})  # fmt: skip
    figure = curve_plots.amounts(lines(tmp_path / "?"))
    titles = [ax.get_title() for ax in figure.axes]
    assert titles == ["hopper_stand", "walker_walk", "walker_walk", "walker_walk"]
    assert [bool(ax.get_ylabel()) for ax in figure.axes] == [True, True, False, False]
    assert "trained at ±5°" in figure.legends[0].get_title().get_text()


def test_table_of_changes(tmp_path, capsys):
    for seed in (0, 1):
        write(tmp_path, seed)  # The return is the seed; noise of x adds 10 x.
        factor = 20 + 10 * seed
        worse = lambda cell, f=factor: [50.0 - f * cell.memory_noise]  # noqa: E731
        write(tmp_path, seed, "Dreamer", returns=worse)
    write(tmp_path, 0, "DrQ", cells=evaluation.grid([0, 5], [0], [0]))
    result = noise_tables.changes(lines(tmp_path))
    assert result.header == ("task", "noise", "CLION (2)", "Dreamer (2)", "DrQ (1)")
    # Of 0 and 1, and of 20 and 30: t of one degree of freedom, 12.706, times the deviation / √2.
    assert [row[1:] for row in result.rows] == [
        ("none: return", "0.5 [-5.9, 6.9]", "50.0 [50.0, 50.0]", "0.0"),
        ("memory noise 0.1", "1.0 [1.0, 1.0]", "-2.5 [-8.9, 3.9]", "–"),
        ("memory noise 1", "10.0 [10.0, 10.0]", "-25.0 [-88.5, 38.5]", "–"),
        ("blank frames 0.5", "0.0 [0.0, 0.0]", "0.0 [0.0, 0.0]", "–"),
        ("±5° rotation", "0.0 [0.0, 0.0]", "0.0 [0.0, 0.0]", "0.0"),
    ]
    beside = noise_tables.changes(lines(tmp_path), "Dreamer")
    assert beside.header[2:] == ("CLION (2)", "DrQ (1)")
    assert beside.rows[0][2:] == ("-49.5 [-55.9, -43.1]", "-50.0")
    assert beside.rows[2][2:] == ("35.0 [-28.5, 98.5]", "–")
    assert module("table").main(["--robustness", str(tmp_path)]) == 0
    assert "| walker_walk | memory noise 1 | 10.0 [10.0, 10.0] |" in capsys.readouterr().out


def test_table_of_a_first_cell_with_noise_and_of_seeds_that_lack_an_amount(tmp_path):
    write(tmp_path, 0, cells=evaluation.grid([5], [1, 0, 2], [0]))
    write(tmp_path, 1, cells=evaluation.grid([5], [1, 0], [0]))
    result = noise_tables.changes(lines(tmp_path))
    assert [row[1:] for row in result.rows] == [
        ("memory noise 1, ±5° rotation: return", "10.5 [4.1, 16.9]"),
        ("memory noise 0", "-10.0 [-10.0, -10.0]"),
        ("memory noise 2", "10.0 (1)"),
    ]


def test_table_counts_the_trainings_of_each_cell(tmp_path):
    memory = evaluation.grid([0], [0, 1], [0])
    write(tmp_path, 0, cells=memory, returns=lambda cell: [100.0])
    write(tmp_path, 1, returns=lambda cell: [200.0 - cell.memory_noise])
    write(tmp_path / "hopper", 0, cells=memory, task="hopper_stand")
    result = noise_tables.changes(lines(tmp_path, tmp_path / "hopper"))
    cells = {row[:2]: row[2] for row in result.rows}
    assert result.header[2] == "CLION (2)"
    assert cells["walker_walk", "none: return"].startswith("150.0 [")
    assert cells["walker_walk", "blank frames 0.5"] == "0.0 (1)"
    assert cells["hopper_stand", "none: return"] == "0.0 (1)"


def test_differences_are_of_equal_checkpoints(tmp_path):
    for folder, steps, lower in (("a", 10_000, 1.0), ("b", 30_000, 100.0)):
        write(tmp_path / folder, 0, steps=steps, returns=lambda cell: [200.0])
        write(tmp_path / folder, 0, "Dreamer", steps=steps, returns=lambda cell, x=lower: [200 - x])
    found = noise_tables.changes(lines(tmp_path / "?"), "Dreamer")
    assert found.header[2:] == ("CLION, 10,000 steps (1)", "CLION, 30,000 steps (1)")
    assert found.rows[0][2:] == ("1.0", "100.0")


@pytest.mark.parametrize("ended", [{"steps": 50_000}, {}])
def test_checkpoints_that_were_due_at_one_step_are_averaged(tmp_path, ended):
    """Where episodes end early each seed's last checkpoint comes a little later than the step."""
    for seed, steps in enumerate((50_003, 50_090, 50_000)):
        write(tmp_path, seed, steps=steps, options=ended)
    assert [len(line.curves) for line in lines(tmp_path)] == [3, 3, 3]


def test_table_tells_units_apart(tmp_path):
    write(tmp_path / "a")
    write(tmp_path / "b", memory_noise_unit="absolute")
    rows = [row[1] for row in noise_tables.changes(lines(tmp_path / "?")).rows]
    assert "memory noise 1" in rows and "memory noise 1 (absolute)" in rows


@pytest.mark.parametrize(
    "words", [("--logdirs", "x"), ("--layout=periods",), ("--out=a.csv",), ("--metric=train",)]
)
def test_table_refuses_what_is_of_learning_curves(tmp_path, monkeypatch, capsys, words):
    write(tmp_path / "scores")
    monkeypatch.chdir(tmp_path)
    assert module("table").main(["--robustness", "scores", *words]) == 2
    assert "--robustness goes with --against and --out=FILE.md alone" in capsys.readouterr().err


def test_tool_writes_a_figure(tmp_path, capsys):
    write(tmp_path / "scores", 0)
    write(tmp_path / "scores", 1)
    out = tmp_path / "robustness.png"
    assert plot("--robustness", tmp_path / "scores" / "*.json", "--out", out) == 0
    assert out.read_bytes().startswith(MAGIC[".png"])
    assert capsys.readouterr().out == f"{out}: 2 evaluations\n"


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--robustness", "scores"], "say what to write"),
        (["--robustness", "scores", "--out", "a.png", "--curves", "x.json"], "goes with --out"),
        (["--robustness", "scores", "--out", "a.png", "--save", "folder"], "goes with --out"),
        (["--robustness", "scores", "--out", "a.png", "--smooth", "5"], "goes with --out"),
        (["--robustness", "scores", "--out", "a.gif"], "must end in .png"),
        (["--robustness", "missing*", "--out", "a.png"], "no file of tools/evaluate.py there"),
        (["--robustness", "missing.json", "--out", "a.png"], "no file of tools/evaluate.py there"),
        (["--robustness", "one", "--out", "a.png"], "at two amounts or more"),
    ],
)
def test_refusals(tmp_path, monkeypatch, capsys, arguments, message):
    write(tmp_path / "scores")
    write(tmp_path / "one", cells=[evaluation.Conditions()])
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.iterdir())
    code = plot(*arguments)
    error = capsys.readouterr().err.splitlines()[-1]
    assert code == 2 and error.startswith("plot: error: ") and message in error
    assert sorted(tmp_path.iterdir()) == before


def test_report_shows_the_figure_of_files_in_logdirs_and_of_named_ones(tmp_path):
    run = make_run(tmp_path / "run", {1000: 1.0}, {}, options())
    out = tmp_path / "report.html"

    def shown(*words):
        assert report("--logdirs", run, *words, "--media=none", "--out", out) == 0
        page = Content(out.read_text())
        return "Return against noise" in page.text, page.text

    assert not shown()[0]
    write(tmp_path / "scores", 1)
    assert shown("--robustness", tmp_path / "scores")[0]
    write(run, 0)
    (run / "other.json").write_text("{}")
    assert shown()[0]
    # One of a single condition says so instead of a figure.
    write(run, 0, cells=[evaluation.Conditions()])
    found, text = shown()
    assert found and "no kind of noise was evaluated at two amounts or more" in text
