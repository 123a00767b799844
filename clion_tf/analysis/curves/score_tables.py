"""Tables of scores: the paper's Tables 1 and 2 with its numbers beside ours, a list, or periods.

The score of a run at a step is its last evaluation in (step - window, step], as the paper's
"performance at 105K steps" reads; or, to smooth single evaluations, the mean of those in that span.
A run without an evaluation there has no score: nothing is interpolated or carried on.
"""

import collections
import csv
import io
import itertools
import pathlib
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from clion_tf.analysis.curves import return_statistics
from clion_tf.analysis.curves.curve import Curve, short
from clion_tf.analysis.curves.paper_scores import EXPERIMENTS, SCORES, Experiment
from clion_tf.analysis.curves.series import (
    Series,
    all_series,
    in_common,
    pairs,
    repeats,
    setups,
    titles,
)
from clion_tf.command import UsageError
from clion_tf.files import atomic_write

LAYOUTS = (*EXPERIMENTS, "plain", "periods")
SUFFIXES = (".md", ".csv")
MISSING = "–"
WINDOW = 10_000  # The default time between two evaluations.
Steps = Sequence[int] | None  # Where runs are scored; None: by the layout.
# A line of a CSV file: a method's scores at a step, on one task or on `all`. Missing numbers are
# None; `tasks` and `runs` are those with scores, `iqm` is the interquartile mean.
Cell = collections.namedtuple(
    "Cell",
    "task rotation test_rotation method setup metric step window tasks runs mean std mean_low "
    "mean_high iqm iqm_low iqm_high paper_mean paper_std",
)


class Score(NamedTuple):
    """How a curve is judged at a step; see the module."""

    window: int = WINDOW  # Environment steps before the step that count.
    mean: bool = False  # Take the mean of the evaluations there, not the last one.
    whole: bool = False  # Only of runs whose next evaluation would be after the step.

    def of(self, curve: Curve, step: float) -> float | None:
        """The score, None if there is none."""
        ys, last = curve.ys[(curve.xs > step - self.window) & (curve.xs <= step)], curve.xs[-1]
        # A run that ended long before would be judged by what it was then.
        gap = np.diff(curve.xs).max(initial=0) if self.whole else min(self.window, WINDOW)
        if not ys.size or (last < step and last + gap <= step):
            return None
        return float(ys.mean() if self.mean else ys[-1])


class Table(NamedTuple):
    """Rows of text under a header, notes to print below, and the cells with the numbers."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...]
    cells: tuple[Cell, ...]


def make_table(
    curves: Iterable[Curve], layout: str = "plain", steps: Steps = None,
    score: Score | None = None, against: str | None = None,
) -> Table:  # fmt: skip
    """A table of the curves.

    `table1`, `table2`: a row for each task, with the paper's methods and numbers in its order, at
    its steps or at `steps`. `plain`: a row for each task, rotation, method and step, by default
    the last step that all runs of the row have reached. `periods`: a row for each task, rotation
    and method, with the mean return in each window and over all, up to a step or between two.
    With a method `against`, `plain` and `periods` have differences from it, seed by seed.
    """
    curves, score = list(curves), score or Score()
    if layout in EXPERIMENTS:
        if against:
            raise UsageError(f"--against: not with --layout={layout}")
        return _experiment(curves, EXPERIMENTS[layout], steps, score)
    return (_plain if layout == "plain" else _periods)(curves, steps, score, against)


def fitting(curves: Sequence[Curve]) -> list[Table]:
    """Those of the paper's tables in which a run has a score, and the plain one."""
    if not curves:
        return []
    papers = [make_table(curves, layout) for layout in EXPERIMENTS]
    return [*(table for table in papers if any(c.runs for c in table.cells)), make_table(curves)]


def markdown(table: Table) -> str:
    """The table in Markdown, with title and notes."""
    lines = [table.header, ["---"] * len(table.header), *table.rows]
    # A name may hold anything.
    cells = ([" ".join(cell.split()).replace("|", "\\|") for cell in line] for line in lines)
    text = ["| " + " | ".join(line) + " |" for line in cells]
    notes = [f"- {note}" for note in table.notes]
    return "\n".join([f"**{table.title}**", "", *text, "", *notes]) + "\n"


def save(table: Table, path: pathlib.Path) -> int:
    """Writes Markdown, or by the suffix `.csv` a line a cell; returns the number of lines."""
    text = markdown(table)
    if path.suffix.lower() == ".csv":
        out = io.StringIO()
        csv.writer(out, lineterminator="\n").writerows([Cell._fields, *table.cells])
        text = out.getvalue()
    with atomic_write(path) as file:
        file.write(text.encode())
    return text.count("\n")


def _experiment(curves: list[Curve], experiment: Experiment, steps: Steps, score: Score) -> Table:
    rotations = experiment.rotation, experiment.rotation
    every = [one for one in all_series(curves) if _where(one)[1:] == rotations]
    ours = (_where(one)[0] for one in every if not one.published)
    tasks = list(dict.fromkeys([*experiment.scores, *ours]))
    columns, cells = [("task", *tasks, "all: interquartile mean")], []
    for method, step in experiment.columns(steps):
        labels = dict.fromkeys(one.label for one in every if one.method == method)
        for label in labels or (method,):
            here = {_where(one)[0]: one for one in every if one.label == label}
            runs = [here[task].curves if task in here else () for task in tasks]
            scores = [[score.of(run, step) for run in each] for each in runs]
            column = [
                _cell(
                    (task, *rotations),
                    (label, here[task].setup if task in here else "", _metric(curves), step),
                    score, [found], (task, *rotations, method, step),
                )
                for task, found in zip(tasks, scores, strict=True)
            ]  # fmt: skip
            shared = ", ".join(in_common(one.setup for one in here.values()))
            named = label, shared, _metric(curves), step
            column.append(_cell(("all", None, None), named, score, scores))
            columns.append((f"{label} {short(step)}", *map(_counted, column)))
            cells += column
        columns.append(("paper", *(_texts(cell)[-1] for cell in column)))
    left_out = len(curves) - sum(len(s.curves) for s in every if s.method in experiment.methods)
    header, *lines = zip(*columns, strict=True)
    notes = _notes(curves, score, left_out)
    return Table(experiment.title, header, tuple(lines), notes, tuple(cells))


def _plain(curves: list[Curve], steps: Steps, score: Score, against: str | None) -> Table:
    lines, cells, found = [], [], all_series(curves)
    named = titles(found)
    for one, runs in pairs(found, against):
        for step in steps or [_last([each for both in runs for each in both if each], score)]:
            paper = None if one.published or against else (*_where(one), one.method, step)
            cells.append(_cell_of(one, runs, step, score, paper))
            told = named[one.panel], one.label, short(step), str(cells[-1].runs)
            lines.append((*told, *_texts(cells[-1])))
    header = ("task", "method", "steps", "seeds", "mean ± std", "95 % interval of the mean")
    header += ("interquartile mean", "paper")
    notes = _notes(curves, score, 0)
    return Table(titled("Scores", against), header, tuple(lines), notes, tuple(cells))


def _last(curves: Sequence[Curve], score: Score) -> int:
    """The end of the shortest run; of the longest if all end within one evaluation interval.

    Episodes that end early shift evaluations a little, so seeds may end at different steps.
    """
    ends = [int(curve.xs[-1]) for curve in curves]
    between = max(np.diff(curve.xs).max(initial=0) for curve in curves)
    return max(ends) if max(ends) - min(ends) < min(between, score.window) else min(ends)


def _periods(curves: list[Curve], steps: Steps, score: Score, against: str | None) -> Table:
    steps = steps or [int(max((curve.xs[-1] for curve in curves), default=0))]
    first, last = [0, *steps][-2:]
    if len(steps) > 2 or first >= last:
        raise UsageError("--layout=periods: --steps says where they end, or begin and end")
    periods = list(itertools.pairwise([*range(first, last, score.window), last]))
    spans, lines, cells = [f"{short(a)} to {short(b)}" for a, b in periods], [], []
    found = all_series(curves)
    named = titles(found)
    for one, runs in pairs(found, against):
        scores = [(end, Score(end - begin, True, True)) for begin, end in (*periods, (first, last))]
        row = [_cell_of(one, runs, *at) for at in scores]
        few = {n: f" ({n})" for n in range(len(runs))}  # Of fewer runs than there are.
        means = [f"{c.mean:.0f}{few.get(c.runs, '')}" if c.runs else MISSING for c in row[:-1]]
        lines.append((named[one.panel], one.label, *means, _counted(row[-1]), _texts(row[-1])[1]))
        cells += row
    notes = (
        f"Mean of a run's returns in the period, then of the runs; {MISSING}: no run has one. "
        "All: ± sample standard deviation over seeds. In brackets the number of seeds; of a period "
        "only where some have no return there.",
        *_of_training(curves),
        *repeats(curves),
    )
    header = ("task", "method", *spans, "all, mean ± std", "95 % interval of the mean")
    return Table(titled("Mean returns", against), header, tuple(lines), notes, tuple(cells))


def titled(what: str, against: str | None) -> str:
    """A table's title, where it may hold differences from a method."""
    return f"{what}, difference from {against}, seed by seed" if against else what


def _where(series: Series) -> tuple[str, float, float]:
    one = series.curves[0]
    return one.task, one.rotation, one.test_rotation


def _cell_of(
    one: Series, runs: Sequence[tuple[Curve, Curve | None]], step: int, score: Score,
    paper: tuple | None = None,
) -> Cell:  # fmt: skip
    """Of a series' runs, or of how far each is above another one."""
    label, scores = " minus ".join([one.label, *(b.method for _, b in runs[:1] if b)]), []
    for run, base in runs:
        of_both = [score.of(each, step) for each in (run, base) if each is not None]
        scores.append(None if None in of_both else of_both[0] - sum(of_both[1:]))
    named = label, one.setup, _metric(one.curves), step
    return _cell(_where(one), named, score, [scores], paper)


def _metric(curves: Iterable[Curve]) -> str:
    return ", ".join(sorted({curve.metric for curve in curves}))


def _cell(
    where: tuple, named: tuple, score: Score, scores: Iterable[Iterable[float | None]],
    paper: tuple | None = None,
) -> Cell:  # fmt: skip
    """Of (task, rotations), (label, setup, metric, step), runs' scores by task, a key of SCORES."""
    known = [[score for score in task if score is not None] for task in scores]
    known = [task for task in known if task]
    every = [score for task in known for score in task]
    numbers = [None] * 7
    if every:
        mean = return_statistics.summary(every)
        interval = return_statistics.bootstrap_interval(known) or (None, None)
        middle = return_statistics.interquartile_mean(every), *interval
        numbers = [mean.mean, mean.std, mean.low, mean.high, *middle]
    counts = len(known), len(every)
    return Cell(*where, *named, score.window, *counts, *numbers, *SCORES.get(paper, (None, None)))


def _texts(cell: Cell) -> tuple[str, str, str, str]:
    """Mean and deviation, the mean's interval, the interquartile mean with its own, the paper's."""
    paper = MISSING if cell.paper_mean is None else f"{cell.paper_mean:g} ± {cell.paper_std:g}"
    if not cell.runs:
        return MISSING, MISSING, MISSING, paper
    deviation = "" if cell.std is None else f" ± {cell.std:.1f}"
    interval = MISSING if cell.std is None else f"[{cell.mean_low:.1f}, {cell.mean_high:.1f}]"
    middle = "" if cell.iqm_low is None else f" [{cell.iqm_low:.1f}, {cell.iqm_high:.1f}]"
    return f"{cell.mean:.1f}{deviation}", interval, f"{cell.iqm:.1f}{middle}", paper


def _counted(cell: Cell) -> str:
    """The mean and how many runs, or of all tasks the interquartile mean and how many tasks."""
    mean, _, middle, _ = _texts(cell)
    if not cell.runs:
        return MISSING
    if cell.rotation is None:
        return f"{middle} ({cell.tasks} task{'s' * (cell.tasks != 1)})"
    return f"{mean} ({cell.runs})"


def _notes(curves: list[Curve], score: Score, left_out: int) -> tuple[str, ...]:
    how = "mean of the returns" if score.mean else "last return"
    notes = [
        "Mean ± sample standard deviation over seeds, number of seeds in brackets. In square "
        "brackets 95 % intervals; of interquartile means by stratified bootstrap, where a task has "
        f"{return_statistics.FEWEST} seeds or more.",
        f"Score of a run at a step: {how} in the {score.window:,} environment steps up to it. "
        f"{MISSING}: no run has one.",
        *_of_training(curves),
    ]
    if different := setups(curves):
        notes.append(f"Our runs: {'; '.join(different)}. The paper's numbers: its sizes.")
    if left_out:
        many = "curve is" if left_out == 1 else "curves are"
        notes.append(f"{left_out} {many} left out: of another method or rotation.")
    return (*notes, *repeats(curves))


def _of_training(curves: Iterable[Curve]) -> list[str]:
    told = "Returns are those of training episodes, with exploration noise, not of evaluations."
    return [told] if "train" in _metric(curves) else []
