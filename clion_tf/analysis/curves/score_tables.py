"""Tables of scores: the paper's Tables 1 and 2 with its numbers beside ours, a list, or periods."""

import csv
import dataclasses
import functools
import io
import itertools
import pathlib
from collections.abc import Iterable, Sequence

from clion_tf.analysis.curves.curve import PUBLISHED, Curve
from clion_tf.analysis.curves.paper_scores import EXPERIMENTS, Experiment
from clion_tf.analysis.curves.scores import Cell, Score, mean_between, scores_of
from clion_tf.analysis.curves.series import Panel, Series, panels, repeated_seeds, setups
from clion_tf.command import UsageError
from clion_tf.files import atomic_write

LAYOUTS = (*EXPERIMENTS, "plain", "periods")
SUFFIXES = (".md", ".csv")
MISSING = "–"
CSV_HEADER = (
    "task", "rotation", "test_rotation", "method", "setup", "step", "window", "tasks", "runs",
    "mean", "std", "mean_low", "mean_high", "iqm", "iqm_low", "iqm_high", "paper_mean", "paper_std",
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Table:
    """Rows of text under a header, notes to print below, and the cells with the numbers."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...]
    cells: tuple[Cell, ...]


def rows(
    curves: Iterable[Curve],
    layout: str = "plain",
    steps: Sequence[int] | None = None,
    score: Score | None = None,
) -> Table:
    """A table of the curves.

    Args:
      layout: `table1` (rotation of 5 degrees) or `table2` (none): a row a task, the paper's methods
        and numbers in its order; `plain`: a row for each task, rotation, method and step;
        `periods`: a row for each task, rotation and method, with the mean of a run's returns in
        each period of the score's window and in all of them, which is its curve's mean height.
      steps: environment steps; by default the paper's, for `plain` the last that all runs of a
        method have reached on a task; for `periods` where they end, or where they begin and end.

    Raises:
      UsageError: for an unknown layout, or steps that `periods` cannot take.
    """
    if layout not in LAYOUTS:
        raise UsageError(f"--layout={layout}: use one of {', '.join(LAYOUTS)}")
    curves, score = list(curves), score or Score()
    if layout == "plain":
        return _plain(curves, steps, score)
    if layout == "periods":
        return _periods(curves, steps, score.window)
    return _experiment(curves, EXPERIMENTS[layout], steps, score)


def fitting(curves: Sequence[Curve]) -> list[Table]:
    """Those of the paper's tables in which a run of ours has a score, and the plain one."""
    if not curves:
        return []
    papers = (rows(curves, layout) for layout in EXPERIMENTS)
    own = any(curve.kind != PUBLISHED for curve in curves)
    filled = (table for table in papers if own and any(cell.scores for cell in table.cells))
    return [*filled, rows(curves)]


def markdown(table: Table) -> str:
    """The table in Markdown, with title and notes."""
    lines = [table.header, tuple("---" for _ in table.header), *table.rows]
    text = ["| " + " | ".join(line) + " |" for line in lines]
    notes = [f"- {note}" for note in table.notes]
    return "\n".join([f"**{table.title}**", "", *text, "", *notes]) + "\n"


def csv_text(table: Table) -> str:
    """The cells as CSV, a line each, numbers in columns of their own; empty where missing."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(CSV_HEADER)
    writer.writerows(map(_csv_row, table.cells))
    return out.getvalue()


def save(table: Table, path: pathlib.Path) -> int:
    """Writes `.csv` or Markdown by the path's suffix, whole or not at all; returns its lines."""
    text = csv_text(table) if path.suffix.lower() == ".csv" else markdown(table)
    with atomic_write(path) as file:
        file.write(text.encode())
    return text.count("\n")


def short(step: float) -> str:
    """`105K` of 105,000."""
    return f"{step / 1e6:g}M" if step >= 1e6 else f"{step / 1e3:g}K" if step >= 1e3 else f"{step:g}"


def _experiment(
    curves: list[Curve], experiment: Experiment, steps: Sequence[int] | None, score: Score
) -> Table:
    rotation = experiment.rotation
    found = {
        panel.task: series
        for panel, series in panels(curves).items()
        if panel.rotation == panel.test_rotation == rotation
    }
    ours = [task for task, series in found.items() if any(not s.published for s in series)]
    tasks = list(dict.fromkeys([*experiment.scores, *ours]))
    names, columns, cells = ["task"], [[*tasks, "all: interquartile mean"]], []
    for method, step in experiment.columns if steps is None else experiment.at(steps):
        for label, setup in _labels(found, method) or [(method, "")]:
            column = []
            for task in tasks:
                series = [s for s in found.get(task, []) if s.label == label]
                paper = experiment.score(task, method, step)
                where = Panel(task, rotation, rotation)
                scores = scores_of(series, functools.partial(score.of, step=step))
                column.append(Cell(where, label, setup, step, scores, score.window, paper))
            together = sum((cell.scores for cell in column), ())
            column.append(Cell(None, label, setup, step, together, score.window))
            names.append(f"{label} {short(step)}")
            columns.append([_ours(cell) for cell in column])
            cells += column
        names.append("paper")
        columns.append([_paper(cell) for cell in column])
    used = {method for method, _ in experiment.columns}
    shown = [s for series in found.values() for s in series if s.method in used]
    left_out = len(curves) - sum(len(series.curves) for series in shown)
    lines = tuple(zip(*columns, strict=True))
    notes = _notes(curves, score, left_out)
    return Table(experiment.title, tuple(names), lines, notes, tuple(cells))


def _plain(curves: list[Curve], steps: Sequence[int] | None, score: Score) -> Table:
    cells = [
        Cell(
            panel, one.label, one.setup, step,
            scores_of([one], functools.partial(score.of, step=step)), score.window,
            None if one.published else _printed(panel, one.method, step),
        )
        for panel, found in panels(curves).items()
        for one in found
        for step in steps or [int(min(curve.xs[-1] for curve in one.curves))]
    ]  # fmt: skip
    header = ("task", "method", "steps", "seeds", "mean ± std", "95 % interval of the mean")
    header += ("interquartile mean", "paper")
    lines = tuple(
        (
            cell.panel.title, cell.label, short(cell.step), str(len(cell.all)), _mean(cell),
            _interval(cell), _iqm(cell), _paper(cell),
        )
        for cell in cells
    )  # fmt: skip
    return Table("Scores", header, lines, _notes(curves, score, 0), tuple(cells))


def _periods(curves: list[Curve], steps: Sequence[int] | None, window: int) -> Table:
    steps = steps or [int(max((curve.xs[-1] for curve in curves), default=0))]
    first, last = [0, *steps][-2:]
    if len(steps) > 2 or first >= last:
        raise UsageError("--layout=periods: --steps says where they end, or begin and end")
    periods = list(itertools.pairwise([*range(first, last, window), last]))
    header = ["task", "method", *(f"{short(a)} to {short(b)}" for a, b in periods)]
    lines, cells = [], []
    for panel, found in panels(curves).items():
        for one in found:
            row = [
                Cell(panel, one.label, one.setup, end, scores_of([one], mean), end - begin)
                for begin, end in [*periods, (first, last)]
                for mean in [functools.partial(mean_between, begin=begin, end=end)]
            ]
            means = (MISSING if c.summary is None else f"{c.summary.mean:.0f}" for c in row[:-1])
            lines.append((panel.title, one.label, *means, _ours(row[-1])))
            cells += row
    notes = (
        f"Mean of a run's returns in the period, then of the runs; {MISSING}: none has got there. "
        "All: ± sample standard deviation over seeds, number of seeds in brackets.",
        *repeated_seeds(curves),
    )
    return Table("Mean returns", (*header, "all, mean ± std"), tuple(lines), notes, tuple(cells))


def _printed(panel: Panel, method: str, step: int) -> tuple[float, float] | None:
    """What the paper has for this."""
    for experiment in EXPERIMENTS.values():
        if panel.rotation == panel.test_rotation == experiment.rotation:
            return experiment.score(panel.task, method, step)
    return None


def _labels(found: dict[str, list[Series]], method: str) -> list[tuple[str, str]]:
    """(label, setup) of the series of this method on any task."""
    every = (s for series in found.values() for s in series if s.method == method)
    return list(dict.fromkeys((s.label, s.setup) for s in every))


def _ours(cell: Cell) -> str:
    if cell.panel is not None:
        return _mean(cell, f" ({len(cell.all)})")
    count = len(cell.scores)
    return _iqm(cell) + (f" ({count} task{'s' * (count != 1)})" if count else "")


def _mean(cell: Cell, suffix: str = "") -> str:
    if cell.summary is None:
        return MISSING
    std = "" if cell.summary.std is None else f" ± {cell.summary.std:.1f}"
    return f"{cell.summary.mean:.1f}{std}{suffix}"


def _interval(cell: Cell) -> str:
    if cell.summary is None or cell.summary.low is None:
        return MISSING
    return f"[{cell.summary.low:.1f}, {cell.summary.high:.1f}]"


def _iqm(cell: Cell) -> str:
    if cell.interquartile is None:
        return MISSING
    value, interval = cell.interquartile
    return f"{value:.1f}" + (f" [{interval[0]:.1f}, {interval[1]:.1f}]" if interval else "")


def _paper(cell: Cell) -> str:
    return MISSING if cell.paper is None else f"{cell.paper[0]:g} ± {cell.paper[1]:g}"


def _notes(curves: list[Curve], score: Score, left_out: int) -> tuple[str, ...]:
    how = "mean of the returns" if score.mean else "last return"
    notes = [
        "Mean ± sample standard deviation over seeds, number of seeds in brackets. In square "
        "brackets 95 % intervals; of interquartile means by stratified bootstrap.",
        f"Score of a run at a step: {how} in the {score.window:,} environment steps up to it. "
        f"{MISSING}: no run has one.",
    ]
    if setups(curves) not in ([], ["paper sizes"]):
        notes.append(f"Our runs: {'; '.join(setups(curves))}. The paper's numbers: its sizes.")
    if left_out:
        many = "curve is" if left_out == 1 else "curves are"
        notes.append(f"{left_out} {many} left out: of another method or rotation.")
    return (*notes, *repeated_seeds(curves))


def _csv_row(cell: Cell) -> list:
    panel, summed, middle = cell.panel, cell.summary, cell.interquartile
    where = [panel.task, panel.rotation, panel.test_rotation] if panel else ["all", "", ""]
    counts = [cell.step, cell.window, len(cell.scores), len(cell.all)]
    numbers = [summed.mean, summed.std, summed.low, summed.high] if summed else [None] * 4
    numbers += [middle[0], *(middle[1] or [None] * 2)] if middle else [None] * 3
    numbers += cell.paper or [None] * 2
    return [*where, cell.label, cell.setup, *counts, *("" if n is None else n for n in numbers)]
