"""tools/table.py and its tables."""

import csv
import io

import pytest
from runs import make_run, options
from tool_modules import tool as module

from clion_tf.analysis.curves import (
    learning_curves,
    metrics_files,
    paper_scores,
    score_tables,
)
from clion_tf.analysis.curves.curve import Curve
from clion_tf.analysis.curves.score_tables import Score
from clion_tf.command import UsageError

tool = module("table")


def table(*arguments):
    return tool.main([str(word) for word in arguments])


@pytest.fixture
def logdirs(tmp_path):
    """Three seeds of CLION and one of Dreamer under rotation; one more of CLION without."""
    root = tmp_path / "logdir"
    for seed, value in enumerate((500.0, 550.0, 600.0)):
        config = options("table1_rotation", seed=seed)
        points = {95_000: 1.0, 100_000: value + 50, 105_000: value, 105_001: 2.0}
        make_run(root / f"clion{seed}", points, {}, config)
    config = options("table1_rotation", "dreamer", task="walker_run")
    make_run(root / "dreamer", {105_000: 100.0, 505_000: 400.0}, {}, config)
    make_run(root / "plain", {100_000: 333.0}, {}, options("clion"))
    return root


def column(table_, name):
    index = table_.header.index(name)
    return {row[0]: row[index] for row in table_.rows}


def test_table1(logdirs):
    result = score_tables.make_table(learning_curves.find([logdirs]), "table1")
    assert result.header == (
        "task", "CLION 105K", "paper", "CLION 505K", "paper", "Dreamer 105K", "paper",
        "Dreamer 505K", "paper",
    )  # fmt: skip
    assert [row[0] for row in result.rows[:-1]] == list(paper_scores.TABLE1.scores)
    rows = {row[0]: row[1:] for row in result.rows}
    assert rows["walker_walk"] == (
        "550.0 ± 50.0 (3)", "527.1 ± 166", "–", "914.9 ± 61", "–", "372.5 ± 19", "–", "876.3 ± 48"
    )  # fmt: skip
    assert rows["walker_run"][4] == "100.0 (1)" and rows["walker_run"][6] == "400.0 (1)"
    assert rows["hopper_stand"][0] == "–"
    last = rows["all: interquartile mean"]
    assert last == (
        "550.0 (1 task)", "–", "–", "–",
        "100.0 (1 task)", "–", "400.0 (1 task)", "–",
    )  # fmt: skip
    assert any("1 curve is left out" in note for note in result.notes)


def test_table2_has_the_papers_columns_and_other_peoples_curves(logdirs, tmp_path):
    drq = {"task": "dmc_walker_walk", "method": "drq", "seed": 1, "xs": [500_000], "ys": [900]}
    path = tmp_path / "drq.json"
    path.write_text(str([drq]).replace("'", '"'))
    result = score_tables.make_table(learning_curves.find([logdirs, path]), "table2")
    assert result.header[1:4] == ("DrQ (published) 500K", "paper", "CLION 500K")
    assert column(result, "DrQ (published) 500K")["walker_walk"] == "900.0 (1)"
    assert column(result, "CLION 100K")["walker_walk"] == "333.0 (1)"
    assert result.rows[0][1:3] == ("900.0 (1)", "921 ± 45")
    other = tmp_path / "other.json"
    other.write_text(path.read_text().replace("walker_walk", "acrobot_swingup"))
    alone = score_tables.make_table(learning_curves.find([logdirs, other]), "table2")
    assert "acrobot_swingup" not in column(alone, "paper")  # Neither the paper's nor ours.


def test_every_number_of_the_paper_has_a_place():
    assert len(paper_scores.SCORES) == 6 * 4 + 5 * 6
    assert paper_scores.SCORES["cheetah_run", 5, 5, "Dreamer", 505_000] == (526.3, 241)
    assert paper_scores.SCORES["pendulum_swingup", 0, 0, "DrQ", 100_000] == (86, 83)


def test_other_steps_keep_the_papers_order(logdirs):
    found = learning_curves.find([logdirs])
    result = score_tables.make_table(found, "table1", [10, 105_000])
    names = [name for name in result.header[1:] if name != "paper"]
    assert names == ["CLION 10", "CLION 105K", "Dreamer 10", "Dreamer 105K"]
    assert result.rows[0][2] == "–" and result.rows[0][4] == "527.1 ± 166"
    names = [
        n for n in score_tables.make_table(found, "table2", [10, 20]).header[1:] if n != "paper"
    ]
    assert names == ["DrQ 10", "CLION 10", "Dreamer 10", "DrQ 20", "CLION 20", "Dreamer 20"]


def test_own_tasks_follow_the_papers(logdirs):
    config = options("table1_rotation", task="cup_catch")
    make_run(logdirs / "cup", {105_000: 9.0}, {}, config)
    result = score_tables.make_table(learning_curves.find([logdirs]), "table1")
    assert result.rows[6][:3] == ("cup_catch", "9.0 (1)", "–")
    assert "(2 tasks)" in result.rows[7][1]


def test_different_sizes_get_columns_of_their_own(logdirs):
    make_run(logdirs / "small", {105_000: 9.0}, {}, options("table1_rotation", "cpu"))
    result = score_tables.make_table(learning_curves.find([logdirs]), "table1")
    assert column(result, "CLION, cpu sizes 105K")["walker_walk"] == "9.0 (1)"
    assert column(result, "CLION, paper sizes 105K")["walker_walk"] == "550.0 ± 50.0 (3)"
    assert any("cpu sizes; paper sizes" in note for note in result.notes)


def test_plain_is_at_the_last_common_step(logdirs):
    result = score_tables.make_table(learning_curves.find([logdirs]))
    lines = [(*row[:4], row[7]) for row in result.rows]
    assert lines == [
        ("walker_walk", "CLION", "100K", "1", "630 ± 113"),
        ("walker_run, ±5° rotation", "Dreamer", "505K", "1", "464.2 ± 65"),
        ("walker_walk, ±5° rotation", "CLION", "105.001K", "3", "–"),
    ]


def curve_of(points):
    return Curve("t", "m", "0", *metrics_files.ordered(list(points.items())), source="x")


@pytest.mark.parametrize(
    "score, step, expected",
    [
        (Score(), 30_000, 3.0),  # The last one up to it.
        (Score(), 39_999, 3.0),
        (Score(), 40_000, None),  # None in the window: not guessed from before.
        (Score(), 9_999, None),
        (Score(window=1), 20_000, 2.0),
        (Score(window=1), 20_001, None),
        (Score(window=20_000, mean=True), 30_000, 2.5),
        (Score(window=20_000, mean=True), 45_000, None),  # The run ended long before.
    ],
)
def test_what_counts_at_a_step(score, step, expected):
    assert score.of(curve_of({10_000: 1.0, 20_000: 2.0, 30_000: 3.0}), step) == expected


def test_tool_prints_markdown(logdirs, capsys):
    assert table("--logdirs", logdirs, "--layout=table1") == 0
    out = capsys.readouterr().out
    lines = [line for line in out.splitlines() if line.startswith("|")]
    assert len(lines) == 9 and len({line.count("|") for line in lines}) == 1
    assert lines[1].strip("| -") == ""


def test_a_seed_that_is_there_twice_is_told(logdirs, tmp_path, capsys):
    for name in ("a", "b"):
        make_run(tmp_path / name, {5000: 1.0}, (), options("clion"))
    assert table("--logdirs", tmp_path / "a", tmp_path / "b") == 0
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("table: warning: walker_walk, CLION: seed 0 counts 2 times (")


def test_names_cannot_break_the_table(tmp_path, capsys):
    run = make_run(tmp_path / "a", {5000: 1.0}, (), options("clion"))
    assert table("--logdirs", run, f"--label={run}=mine | or\nyours") == 0
    assert "| mine \\| or yours |" in capsys.readouterr().out


def test_tool_writes_csv(logdirs, tmp_path):
    out = tmp_path / "scores.csv"
    assert table("--logdirs", logdirs, "--layout=table1", "--out", out) == 0
    rows = list(csv.DictReader(io.StringIO(out.read_text())))
    assert len(rows) == 4 * 7
    first = rows[0]
    assert (first["task"], first["method"], first["step"]) == ("walker_walk", "CLION", "105000")
    assert (first["runs"], first["mean"], first["std"]) == ("3", "550.0", "50.0")
    assert float(first["mean_low"]) < 500 and first["iqm"] == "550.0"
    assert (first["paper_mean"], first["paper_std"]) == ("527.1", "166")
    assert (rows[2]["runs"], rows[2]["mean"], rows[2]["iqm"]) == ("0", "", "")
    assert (rows[6]["task"], rows[6]["tasks"], rows[6]["iqm"]) == ("all", "1", "550.0")


def test_tool_writes_markdown(logdirs, tmp_path):
    out = tmp_path / "scores.MD"
    choice = ("--steps=105000", "--score=mean", "--window=5001")  # 100,000 and 105,000.
    assert table("--logdirs", logdirs, *choice, "--out", out) == 0
    text = out.read_text()
    assert "| walker_walk, ±5° rotation | CLION | 105K | 3 | 575.0 ± 50.0 |" in text
    assert "mean of the returns in the 5,001 environment steps" in text


@pytest.fixture
def seeds(tmp_path):
    """Training returns of two seeds, every 1,000 steps; the second ends early."""
    root = tmp_path / "seeds"
    for seed, last in ((0, 10), (1, 6)):
        points = {1000 * i: 10.0 * i + seed for i in range(1, last + 1)}
        make_run(root / str(seed), {1000: 5.0}, points, options("cpu", seed=seed))
    return root


def test_periods(seeds, tmp_path):
    found = learning_curves.find([seeds], "train")
    result = score_tables.make_table(found, "periods", [2000, 10_000], Score(window=3000))
    ends = ("all, mean ± std", "95 % interval of the mean")
    assert result.header[2:] == ("2K to 5K", "5K to 8K", "8K to 10K", *ends)
    # Of seed 0: 30, 40, 50; 60, 70, 80; 90, 100. Of seed 1: 31, 41, 51; 61, and there it ends.
    expected = ("walker_walk", "CLION", "40", "70 (1)", "95 (1)", "65.0 (1)", "–")
    assert result.rows == (expected,)
    whole = score_tables.make_table(found, "periods", [6000], Score(window=10_000))
    assert whole.header[2:] == ("0 to 6K", *ends)
    # Student's t of one degree of freedom, 12.706, times 0.5.
    assert whole.rows[0][2:] == ("36", "35.5 ± 0.7 (2)", "[29.1, 41.9]")
    assert score_tables.make_table(found, "periods", None, Score(window=5000)).header[2:4] == (
        "0 to 5K", "5K to 10K",
    )  # fmt: skip
    out = tmp_path / "periods.csv"
    words = ("--layout=periods", "--metric=train", "--window=3000", "--steps=2000,8000")
    assert table("--logdirs", seeds, *words, "--out", out) == 0
    rows = list(csv.DictReader(io.StringIO(out.read_text())))
    assert [(row["step"], row["window"], row["mean"]) for row in rows] == [
        ("5000", "3000", "40.5"), ("8000", "3000", "70.0"), ("8000", "6000", "55.0"),
    ]  # fmt: skip


@pytest.fixture
def methods(seeds):
    """Beside those, Dreamer: seed 0 is 4 lower everywhere, seed 1 2; it has a seed of its own."""
    for seed, lower in ((0, 4), (1, 2), (7, 9)):
        points = {1000 * i: 10.0 * i + seed - lower for i in range(1, 7)}
        config = options("cpu", "dreamer", seed=seed)
        make_run(seeds / f"dreamer{seed}", {6000: 50.0 + lower}, points, config)
    return seeds


@pytest.mark.parametrize("layout", ["plain", "periods"])
def test_differences_from_a_method_seed_by_seed(methods, layout):
    found = learning_curves.find([methods], "train")
    result = score_tables.make_table(found, layout, [6000], Score(6000, True), against="Dreamer")
    ((_, method, *_), *others) = result.rows
    assert method == "CLION" and not others
    # Of 4 and 2: mean 3, deviation 1.414; t of one degree of freedom, 12.706, times 1.
    assert any(cell.startswith("3.0 ± 1.4") for cell in result.rows[0])
    assert "[-9.7, 15.7]" in result.rows[0]
    assert result.title.endswith("difference from Dreamer, seed by seed")
    assert result.cells[-1].paper_mean is None


def test_differences_are_of_runs_of_the_same_sizes(methods):
    other = options("cpu", "dreamer", action_repeat=4, seed=0)
    make_run(methods / "repeat4", {6000: 1.0}, {6000: 1.0}, other)
    config = options("cpu", evaluator_units=9, seed=0)  # Dreamer has none.
    make_run(methods / "small", {6000: 1.0}, {6000: 66.0}, config)
    found = learning_curves.find([methods], "train")
    result = score_tables.make_table(found, "plain", [6000], against="Dreamer")
    assert [row[1] for row in result.rows] == ["CLION", "CLION, evaluator_units=9"]
    assert next(cell.method for cell in result.cells) == "CLION minus Dreamer"


def test_differences_are_from_the_method_of_the_same_setup(methods):
    other = {"evaluator_units": 9, "seed": 0}
    make_run(methods / "small", {6000: 1.0}, {6000: 66.0}, options("cpu", **other))
    found = learning_curves.find([methods], "train")
    (row,) = score_tables.make_table(found, "plain", [6000], against="CLION").rows
    assert row[1:5] == ("Dreamer", "6K", "2", "-3.0 ± 1.4")  # Not from the one with 9 units.
    make_run(
        methods / "large",
        {6000: 1.0},
        {6000: 6.0},
        options("cpu", **other | {"evaluator_units": 99}),
    )
    without = [
        curve
        for curve in learning_curves.find([methods], "train")
        if curve.method != "CLION" or "units" in curve.setup
    ]
    told = "for Dreamer give one of CLION, evaluator_units=9 or CLION, evaluator_units=99"
    with pytest.raises(UsageError, match=told):
        score_tables.make_table(without, "plain", [6000], against="CLION")


def test_last_evaluations_that_end_with_an_early_episode_are_scored(tmp_path):
    for seed, late in enumerate((3, 90)):
        points = {1000 * i + late: float(i) for i in range(1, 11)}
        make_run(tmp_path / str(seed), points, {}, options("cpu", seed=seed))
    (row,) = score_tables.make_table(learning_curves.find([tmp_path])).rows
    assert row[2:5] == ("10.09K", "2", "10.0 ± 0.0")


@pytest.mark.parametrize("layout", ["plain", "periods", "table1"])
def test_returns_of_training_are_said_to_be_such(logdirs, seeds, tmp_path, layout):
    words = ("--logdirs", seeds, f"--layout={layout}", "--steps=6000")
    told = []
    for metric in ("train", "test"):
        out = tmp_path / f"{metric}.csv"
        assert table(*words, f"--metric={metric}", "--out", out) == 0
        assert {row["metric"] for row in csv.DictReader(io.StringIO(out.read_text()))} == {metric}
        found = learning_curves.find([seeds], metric)
        told.append(
            "training episodes" in " ".join(score_tables.make_table(found, layout, [6000]).notes)
        )
    assert told == [True, False]


def test_a_cell_of_the_papers_tables_has_its_own_tasks_setup(tmp_path):
    for task, repeat in (("walker_walk", 4), ("cartpole_swingup", 8)):
        config = options("cpu", task=task, rotation_degrees=5.0, action_repeat=repeat)
        make_run(tmp_path / task, {105_000: 1.0}, {}, config)
    cells = score_tables.make_table(learning_curves.find([tmp_path]), "table1").cells
    setups = {cell.task: cell.setup for cell in cells if cell.method.startswith("CLION")}
    assert setups["walker_walk"] == "cpu sizes, action_repeat=4"
    assert setups["cartpole_swingup"] == "cpu sizes, action_repeat=8"
    assert setups["all"] == "cpu sizes" and setups["hopper_stand"] == ""


def test_differences_at_the_last_step_that_all_have(methods):
    found = learning_curves.find([methods], "train")  # Seeds up to 10,000 and 6,000; 6,000.
    (row,) = score_tables.make_table(found, against="Dreamer").rows
    assert row[2:5] == ("6K", "2", "3.0 ± 1.4")


def test_differences_that_cannot_be_had(methods, capsys):
    words = ("--logdirs", methods, "--metric=train", "--steps=6000")
    assert table(*words, "--against=DrQ") == 2
    assert "--against=DrQ: no seed of it and of another method in CLION, Dreamer" in (
        capsys.readouterr().err
    )
    assert table(*words, "--layout=table1", "--against=Dreamer") == 2
    assert "--against: not with --layout=table1" in capsys.readouterr().err
    make_run(methods / "again", {6000: 1.0}, {6000: 1.0}, options("cpu", "dreamer", seed=0))
    assert table(*words, "--against=Dreamer") == 2
    assert "give one run of seed 0 of Dreamer: " in capsys.readouterr().err


@pytest.mark.parametrize(
    "begin, end, expected",
    [
        (0, 30_000, 2.0),
        (10_000, 30_000, 2.5),  # What lies where a period begins is of the one before.
        (10_000, 39_999, 2.5),  # The next evaluation would be at 40,000.
        (10_000, 40_000, None),
        (30_000, 35_000, None),
    ],
)
def test_what_counts_in_a_period(begin, end, expected):
    curve = curve_of({10_000: 1.0, 20_000: 2.0, 30_000: 3.0})
    assert Score(end - begin, mean=True, whole=True).of(curve, end) == expected


@pytest.mark.parametrize(
    "arguments, message",
    [
        ([], "say what to read"),
        (["--logdirs", "logdir", "--layout=periods", "--steps=2,2"], "where they end, or begin"),
        (["--logdirs", "logdir", "--layout=periods", "--steps=1,2,3"], "where they end, or begin"),
        (["--logdirs", "missing"], "no such folder or file"),
        (["--logdirs", "logdir", "--out=a.txt"], "must end in .md, .csv"),
        (["--logdirs", "logdir", "--out=no/a.md"], "no such folder"),
        (["--logdirs", "."], "no test return"),
    ],
)
def test_refusals(tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    if message != "no test return":
        make_run(tmp_path / "logdir", {5000: 1.0}, {}, options())
    before = sorted(tmp_path.iterdir())
    assert table(*arguments) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("table: error: ") and message in error
    assert sorted(tmp_path.iterdir()) == before


def test_wrong_numbers_are_refused_by_the_parser(capsys):
    for argument in ("--steps=0", "--steps=a", "--window=0"):
        with pytest.raises(SystemExit) as error:
            table("--logdirs", "x", argument)
        assert error.value.code == 2
