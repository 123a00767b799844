"""tools/plot.py and its figures."""

import json

import numpy as np
import pytest
from plots import MAGIC, legend, plot, tool
from runs import make_run, options

from clion_tf.analysis.curves import curve_plots, learning_curves, method_names
from clion_tf.command import UsageError

FLAGFILES = {
    method_names.CONSTRAINTS: "ablation_constraints",
    method_names.EVALUATOR: "ablation_evaluator",
    method_names.NO_EVALUATOR: "ablation_no_evaluator",
    method_names.CLION: "clion",
    method_names.DOUBLED: "doubled_dreamer",
    method_names.DREAMER: "dreamer",
}


@pytest.fixture
def logdirs(tmp_path):
    """CLION twice and Dreamer once, without rotation."""
    root = tmp_path / "logdir"
    make_run(root / "a", {0: 0.0, 10_000: 100.0}, {1000: 1.0}, options("clion"))
    make_run(root / "b", {0: 20.0, 10_000: 300.0, 20_000: 400.0}, {}, options("clion", seed=1))
    make_run(root / "c", {0: 5.0, 10_000: 50.0}, {}, options("dreamer"))
    return root


@pytest.fixture
def peers(tmp_path):
    path = tmp_path / "peers.json"
    other = {"method": "dreamer", "seed": 0, "xs": [0, 15_000, 5e6], "ys": [1, 2, 900]}
    tasks = ("dmc_walker_walk", "dmc_cup_catch")
    path.write_text(json.dumps([{"task": task} | other for task in tasks]))
    return path


def lines(ax, color):
    """Lines in a method's colour that are means, full and pale."""
    found = [line for line in ax.lines if line.get_color() == color and line.get_linewidth() > 1]
    return [(line.get_xdata().tolist(), np.array(line.get_ydata())) for line in found]


def test_figure_shows_mean_and_spread(logdirs):
    figure = curve_plots.learning_curves(learning_curves.find([logdirs]))
    (ax,) = figure.axes
    assert ax.get_title() == "walker_walk"
    assert legend(figure) == ["CLION (2 runs)", "Dreamer (1 run)"]
    pale, full = lines(ax, curve_plots.COLORS[method_names.CLION])
    assert pale[0] == full[0] == [0, 10_000, 20_000]
    np.testing.assert_array_equal(pale[1], [10, 200, 400])
    np.testing.assert_array_equal(full[1], [10, 200, np.nan])  # There one run has ended.
    (band,) = ax.collections
    std = np.sqrt(2) * 100
    corners = band.get_paths()[0].vertices
    at = corners[corners[:, 0] == 10_000][:, 1]
    assert (at.min(), at.max()) == pytest.approx((200 - std, 200 + std))
    title = figure.legends[0].get_title().get_text()
    assert "± 1 standard deviation" in title and "pale" in title and "sizes" not in title


def test_range_instead_of_deviation(logdirs):
    figure = curve_plots.learning_curves(learning_curves.find([logdirs]), spread="range")
    corners = figure.axes[0].collections[0].get_paths()[0].vertices
    at = corners[corners[:, 0] == 10_000][:, 1]
    assert (at.min(), at.max()) == (100, 300)
    assert "smallest to largest" in figure.legends[0].get_title().get_text()


def test_published_curves_are_dashed_and_do_not_set_the_axis(logdirs, peers):
    figure = curve_plots.learning_curves(learning_curves.find([logdirs, peers]))
    (ax,) = figure.axes  # No panel for a task that has published curves only.
    dashed = [line for line in ax.lines if line.get_linestyle() == "--"]
    assert dashed and all(line.get_linewidth() < 1.5 for line in dashed)
    assert legend(figure)[-1] == "Dreamer (published) (1 run)"
    assert 20_000 <= ax.get_xlim()[1] < 21_000


def test_published_curves_alone(peers):
    figure = curve_plots.learning_curves(learning_curves.find([peers]))
    assert [ax.get_title() for ax in figure.axes] == ["cup_catch", "walker_walk"]
    assert figure.axes[0].get_xlim()[1] >= 5e6


def test_rotation_has_its_own_panel(logdirs):
    make_run(logdirs / "r", {0: 1.0}, {}, options("table1_rotation"))
    figure = curve_plots.learning_curves(learning_curves.find([logdirs]))
    titles = [ax.get_title() for ax in figure.axes]
    assert titles == ["walker_walk", "walker_walk, ±5° rotation"]


def test_ablation_is_in_the_papers_order(tmp_path):
    for task in ("hopper_stand", "cheetah_run", "walker_walk", "walker_run"):
        for i, files in enumerate([*FLAGFILES.values(), "control_sigma1_0"]):
            config = options("table1_rotation", files, task=task)
            make_run(tmp_path / task / str(i), {5000: i, 9000: i}, {}, config)
    figure = curve_plots.learning_curves(learning_curves.find([tmp_path]), layout="ablation")
    titles = [ax.get_title().split(",")[0] for ax in figure.axes]
    assert titles == ["walker_walk", "walker_run", "hopper_stand", "cheetah_run"]
    assert legend(figure) == [f"{name} (1 run)" for name in FLAGFILES]
    colors = {line.get_color() for line in figure.axes[0].lines}
    assert len(colors) == 6


def test_four_panels_and_seven_fill_a_grid(tmp_path):
    for i in range(7):
        make_run(tmp_path / str(i), {0: 1.0, 5: 2.0}, {}, options(task=f"a_b{i}"))
    found = learning_curves.find([tmp_path])
    assert [len(curve_plots.learning_curves(found[:n]).axes) for n in (1, 4, 7)] == [1, 4, 7]


@pytest.mark.parametrize("suffix", MAGIC)
def test_tool_writes_a_figure(logdirs, tmp_path, suffix, capsys):
    out = tmp_path / f"curves{suffix}"
    assert plot("--logdirs", logdirs / "*", "--out", out) == 0
    assert out.read_bytes().startswith(MAGIC[suffix])
    assert "3 curves" in capsys.readouterr().out


def test_equal_input_gives_an_equal_file(logdirs, tmp_path):
    outs = [tmp_path / "1.svg", tmp_path / "2.svg"]
    assert [plot("--logdirs", logdirs, "--out", out) for out in outs] == [0, 0]
    assert outs[0].read_bytes() == outs[1].read_bytes()


def test_one_point_of_one_run_is_visible(tmp_path):
    make_run(tmp_path / "a", {5000: 7.0}, {}, options())
    (ax,) = curve_plots.learning_curves(learning_curves.find([tmp_path])).axes
    assert all(line.get_marker() == "o" for line in ax.lines)
    assert not ax.collections


def test_negative_returns_are_inside(tmp_path):
    make_run(tmp_path / "a", {0: -7.0, 5000: -3.0}, {}, options())
    low, high = curve_plots.learning_curves(learning_curves.find([tmp_path])).axes[0].get_ylim()
    assert low <= -7 and high >= -3


def test_tool_saves_and_reads_back(logdirs, tmp_path):
    saved = tmp_path / "results"
    assert plot("--logdirs", logdirs, "--save", saved) == 0
    files = sorted(path.name for path in saved.glob("*.json"))
    assert files == [
        "walker_walk-clion-seed0.json", "walker_walk-clion-seed1.json",
        "walker_walk-dreamer-seed0.json",
    ]  # fmt: skip
    content = json.loads((saved / files[0]).read_text())
    assert content["train_ys"] == [1.0] and content["options"]["beta2"] == 0.5
    figures = [tmp_path / "1.svg", tmp_path / "2.svg"]
    assert plot("--logdirs", logdirs, "--out", figures[0]) == 0
    assert plot("--curves", saved / "*.json", "--out", figures[1]) == 0
    assert figures[0].read_bytes() == figures[1].read_bytes()


def test_labels(logdirs, tmp_path):
    found = learning_curves.find([logdirs], labels={str(logdirs / "c"): "Mine (x=1)"})
    assert legend(curve_plots.learning_curves(found))[-1] == "Mine (x=1) (1 run)"
    label = f"{logdirs / 'c'}=Mine (x=1)"
    assert plot("--logdirs", logdirs, "--label", label, "--out", tmp_path / "a.svg") == 0
    assert "Mine (x=1)" in (tmp_path / "a.svg").read_text()


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--out", "a.png"], "say what to read"),
        (["--logdirs", "L"], "say what to write"),
        (["--logdirs", "L", "--out", "a.gif"], "must end in .png"),
        (["--logdirs", "L", "--out", "no/a.png"], "no such folder"),
        (["--logdirs", "L", "--save", "no/where"], "--save=no/where: no such folder"),
        (["--logdirs", "L", "--save", "bad.json"], "--save=bad.json: is no folder"),
        (["--logdirs", "L", "--save", "/proc/x"], "--save=/proc/x: cannot write there"),
        (["--logdirs", "late", "--save", "s", "--steps", "10", "--out", "a.png"], "no curve"),
        (
            ["--logdirs", "L", "--label", "late=x", "--out", "a.png"],
            "no run that was named is there",
        ),
        (["--logdirs", "missing*", "--out", "a.png"], "no such folder or file"),
        (["--logdirs", "L", "--label", "nothing", "--out", "a.png"], "must be DIR=NAME"),
        (["--curves", "bad.json", "--out", "a.png"], "not a curve file"),
        (["--logdirs", "L/c", "--metric", "train", "--out", "a.png"], "no train return"),
        (["--logdirs", "late", "--steps", "10", "--out", "a.png"], "no curve to draw"),
    ],
)
def test_refusals(logdirs, tmp_path, monkeypatch, capsys, arguments, message):
    (tmp_path / "bad.json").write_text("{")
    make_run(tmp_path / "late", {5000: 1.0}, {}, options())
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.iterdir())
    words = [word.replace("L", "logdir", 1) if word[0] == "L" else word for word in arguments]
    assert plot(*words) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("plot: error: ") and message in error
    assert sorted(tmp_path.iterdir()) == before


def test_doubts_are_told(logdirs, tmp_path, capsys):
    make_run(logdirs / "d", {0: 1.0}, {}, options("cpu"))
    make_run(logdirs / "e", {0: 1.0}, {}, options("clion"))
    assert plot("--logdirs", logdirs, "--out", tmp_path / "a.png") == 0
    error = capsys.readouterr().err
    assert "seed 0 counts 2 times" in error
    assert "runs differ in more than the method: cpu sizes; paper sizes" in error


def test_nothing_to_draw_in_ablation(peers):
    with pytest.raises(UsageError, match="layout ablation"):
        curve_plots.learning_curves(learning_curves.find([peers]), layout="ablation")


def test_tool_offers_what_there_is():
    choices = {action.dest: action.choices for action in tool._parser()._actions}
    assert choices["spread"] == tuple(curve_plots.SPREADS)
