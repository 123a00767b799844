"""Learning curves as figures: a panel for each task and rotation, a line for each method.

Uses matplotlib's objects without pyplot, so nothing global is changed and no display is needed.
"""

import io
import itertools
import math
import pathlib
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator

from clion_tf.analysis.curves import method_names
from clion_tf.analysis.curves.curve import PUBLISHED, Curve
from clion_tf.analysis.curves.return_statistics import summary
from clion_tf.analysis.curves.score_tables import short
from clion_tf.analysis.curves.series import Panel, Series, cut_at, panels, rank, setups, smoothed
from clion_tf.command import UsageError
from clion_tf.files import atomic_write

LAYOUTS = ("tasks", "ablation")
SPREADS = ("std", "range")
INTERVAL = "interval"  # A further spread: of the mean, 95 %.
SUFFIXES = (".png", ".pdf", ".svg")
ABLATION_TASKS = ("walker_walk", "walker_run", "hopper_stand")  # Fig. 7's panels.
FEW_RUNS = 5  # Up to so many runs are drawn as thin lines as well.
FEW_SERIES = 3  # In a panel with more of them there is no room for single runs.
FEW_POINTS = 12  # Up to so many points are marked.

# Okabe and Ito's colours, which colour-blind readers can tell apart; the same for a method always.
COLORS = {
    method_names.CLION: "#d55e00",
    method_names.DREAMER: "#0072b2",
    method_names.DOUBLED: "#56b4e9",
    method_names.CONSTRAINTS: "#009e73",
    method_names.EVALUATOR: "#e69f00",
    method_names.NO_EVALUATOR: "#cc79a7",
    method_names.DRQ: "#4d4d4d",
}
OTHER_COLORS = ("#332288", "#999933", "#882255", "#44aa99", "#661100", "#6699cc", "#aa4499")

STYLE = {
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "pdf.fonttype": 42,  # Fonts as journals want them.
    "svg.hashsalt": "clion_tf",
}


def learning_curves(
    curves: Iterable[Curve],
    layout: str = "tasks",
    metric: str = "test",
    steps: int | None = None,
    smooth: int = 0,
    spread: str = "std",
) -> Figure:
    """Mean and spread of returns over runs against environment steps.

    Runs of one series with evaluations at different steps are interpolated linearly on all their
    steps, each inside its own range. Where some runs have ended the mean of the others is pale.
    Tasks with published curves only are left out where there are runs of other tasks.

    Args:
      layout: `tasks`: all methods; `ablation`: fig. 7, its methods and tasks in the paper's order.
      metric: of the curves, for the axis only.
      steps: where the axis ends; None: where the longest of our runs ends.
      smooth: environment steps over which each run's returns are averaged, backwards.
      spread: `std` or `range` (smallest and largest), drawn for two runs or more.

    Raises:
      UsageError: if there is nothing to draw.
    """
    curves = list(curves)
    end = steps or _end(curves)
    curves = cut_at([smoothed(curve, smooth) for curve in curves], end)
    found = _shown(panels(curves))
    if layout == "ablation":
        found = _ablation(found)
    if not found:
        raise UsageError(f"no curve to draw up to {end:,.0f} steps (layout {layout})")
    columns = 2 if len(found) == 4 else min(3, len(found))
    places = {panel: divmod(i, columns) for i, panel in enumerate(found)}
    ylabel = f"{'evaluation' if metric == 'test' else 'training'} return"
    caption = _caption(found.values(), smooth, spread)
    return draw_panels(found, places, ylabel, spread, "run", caption, end)


def save(figure: Figure, path: str | pathlib.Path, dpi: int = 200) -> None:
    """Writes PNG, PDF or SVG, by the suffix; the file appears whole or not at all."""
    content = io.BytesIO()
    kind = pathlib.Path(path).suffix.lower().removeprefix(".")
    # Without the time of writing, so that equal figures are equal files.
    dates = {"pdf": {"CreationDate": None}, "svg": {"Date": None}}
    with matplotlib.rc_context(STYLE):
        figure.savefig(content, format=kind, dpi=dpi, metadata=dates.get(kind))
    with atomic_write(path) as file:
        file.write(content.getvalue())


def _end(curves: Sequence[Curve]) -> float:
    """The last step of our runs, or of all curves if there is none: others may be much longer."""
    ours = [curve for curve in curves if curve.kind != PUBLISHED]
    return max((float(curve.xs[-1]) for curve in ours or curves), default=0.0)


def _ablation(found: Mapping[Panel, list[Series]]) -> dict[Panel, list[Series]]:
    """The series of fig. 7, its three tasks first."""
    kept = {
        panel: [s for s in series if s.method in method_names.ABLATION and not s.published]
        for panel, series in found.items()
    }
    order = (*ABLATION_TASKS, "")
    tasks = {panel: panel.task if panel.task in ABLATION_TASKS else "" for panel in kept}
    return {
        panel: kept[panel]
        for panel in sorted(kept, key=lambda p: order.index(tasks[p]))
        if kept[panel]
    }


def _shown(found: Mapping[Panel, list[Series]]) -> Mapping[Panel, list[Series]]:
    """Without the tasks for which there are only published curves, if there are others."""
    ours = {p: s for p, s in found.items() if any(not one.published for one in s)}
    return ours or found


def draw_panels(
    found: Mapping[Any, Sequence[Series]],
    places: Mapping[Any, tuple[int, int]],
    ylabel: str,
    spread: str,
    unit: str,
    caption: str,
    end: float | None = None,
) -> Figure:
    """A panel for each key, which has a `title` and an `xlabel`; a line for each series.

    Args:
      places: (row, column) of each panel.
      spread: of `SPREADS`, or `INTERVAL`: of the mean, whose bands may leave the panel.
      unit: what a curve of a series is, for the legend.
      caption: above the legend.
      end: of the axis, environment steps; None: not of steps.
    """
    rows, columns = (1 + max(place) for place in zip(*places.values(), strict=True))
    every = [series for panel in found.values() for series in panel]
    colors = colors_of(every)
    at = {place: panel for panel, place in places.items()}
    with matplotlib.rc_context(STYLE):
        width = 5.2 if columns == 1 else 3.2 * columns
        figure = Figure(figsize=(width, 2.5 * rows + 0.6), layout="constrained")
        for (row, column), ax in np.ndenumerate(figure.subplots(rows, columns, squeeze=False)):
            if (row, column) not in at:
                ax.remove()
                continue
            panel, below = at[row, column], at.get((row + 1, column))
            ax.set_title(panel.title)
            _panel(ax, found[panel], colors, end, spread)
            if (row, column - 1) not in at:
                ax.set_ylabel(ylabel)
            if below is None or below.xlabel != panel.xlabel:
                ax.set_xlabel(panel.xlabel)
        labels = {s.label: s for s in sorted(every, key=rank)}
        texts = [f"{label} ({_counts(every, label, unit)})" for label in labels]
        _legend(figure, list(labels.values()), texts, colors, caption)
    return figure


def _panel(
    ax: Axes, series: Sequence[Series], colors: Mapping, end: float | None, spread: str
) -> None:
    thin = thin_series(series)
    for one in reversed(series):  # The first are drawn on top.
        if one in thin:
            for curve in one.curves:
                ax.plot(curve.xs, curve.ys, color=colors[one.label], linewidth=0.5, alpha=0.4)
        _series(ax, one, colors[one.label], spread)
    every = np.concatenate([curve.ys for one in series for curve in one.curves])
    # Returns are rarely negative; bands of a standard deviation often are.
    bottom, top = min(0.0, every.min()), every.max()
    ax.set_ylim(bottom, top + 0.1 * (top - bottom) or 1.0 if spread == INTERVAL else None)
    ax.set_xlim(0, 1.015 * end if end else None)
    if end:
        ax.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 2.5, 5, 10]))
        ax.xaxis.set_major_formatter(FuncFormatter(lambda x, _: short(x)))


def thin_series(panel: Sequence[Series]) -> list[Series]:
    """Series whose single runs can be drawn without covering the panel."""
    ours = [series for series in panel if not series.published]
    few = len(ours) <= FEW_SERIES
    return [series for series in ours if few and 1 < len(series.curves) <= FEW_RUNS]


def _series(ax: Axes, series: Series, color: str, spread: str) -> None:
    xs, ys = series.grid()
    count = np.isfinite(ys).sum(0)
    mean = np.nansum(ys, 0) / count
    style = {"color": color, "linestyle": "--" if series.published else "-"}
    style["marker"] = "o" if len(xs) <= FEW_POINTS else ""
    style |= {"markersize": 3, "linewidth": 1.1 if series.published else 1.8}
    strength = 0.55 if series.published else 1.0
    if len(ys) > 1:
        low, high = _band(ys, mean, spread)
        alpha = 0.08 if series.published else 0.15
        ax.fill_between(xs, low, high, where=count > 1, color=color, alpha=alpha, linewidth=0)
    style["clip_on"] = spread != INTERVAL  # No half markers at 0.
    if count.min() < len(ys):
        ax.plot(xs, mean, alpha=strength * 0.45, **style)
    ax.plot(xs, np.where(count == len(ys), mean, np.nan), alpha=strength, **style)


def _band(ys: np.ndarray, mean: np.ndarray, spread: str) -> tuple[np.ndarray, np.ndarray]:
    """(low, high) of returns [runs, N]; where only one run is, both are its return."""
    count = np.isfinite(ys).sum(0)
    if spread == "range":
        return np.nanmin(ys, 0), np.nanmax(ys, 0)
    if spread == INTERVAL:  # All runs are at all points.
        found = [summary(column) for column in ys.T]
        return np.array([one.low for one in found]), np.array([one.high for one in found])
    std = np.sqrt(np.nansum((ys - mean) ** 2, 0) / np.maximum(count - 1, 1))
    return mean - std, mean + std


def _legend(
    figure: Figure, every: Sequence[Series], texts: Sequence[str], colors: Mapping, caption: str
) -> None:
    """Below the panels, so that it covers no curve; its title says what lines and bands are.

    every: what is to be named, each once; texts: their names.
    """
    handles = [
        Line2D(
            [], [], color=colors[s.label], linewidth=1.4 if s.published else 2,
            linestyle="--" if s.published else "-", alpha=0.55 if s.published else 1,
        )
        for s in every
    ]  # fmt: skip
    # Inches of the widest entry, at this font size.
    room = int(figure.get_figwidth() / (0.6 + 0.078 * max(map(len, texts))))
    caption = textwrap.fill(caption, int(figure.get_figwidth() / 0.066))
    columns = min(max(room, 1), 3, len(texts))
    rows = math.ceil(len(texts) / columns) + caption.count("\n")
    figure.set_figheight(figure.get_figheight() + 0.19 * rows)  # Not at the panels' cost.
    legend = figure.legend(
        handles, texts, loc="outside lower center", ncols=columns, title=caption,
        title_fontsize=7.5, fontsize=8.5,
    )  # fmt: skip
    legend.get_title().set(color="#555555", multialignment="center")


def _counts(every: Iterable[Series], label: str, unit: str) -> str:
    """How many runs a line stands for."""
    counts = sorted({len(s.curves) for s in every if s.label == label})
    text = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]}–{counts[-1]}"
    return f"{text} {unit}{'s' * (counts != [1])}"


def _caption(found: Iterable[Sequence[Series]], smooth: int, spread: str) -> str:
    found = list(found)
    every = [series for panel in found for series in panel]
    parts = []
    if any(len(s.curves) > 1 for s in every):
        band = "± 1 standard deviation" if spread == "std" else "smallest to largest"
        parts.append(f"lines: mean over runs; bands: {band}")
    if any(map(thin_series, found)):
        parts.append("thin: single runs")
    if any(len({curve.xs[-1] for curve in s.curves}) > 1 for s in every):
        parts.append("pale: some runs have ended")
    if smooth:
        parts.append(f"each run averaged over {short(smooth)} steps")
    sizes = setups(curve for s in every for curve in s.curves)
    if len(sizes) == 1 and sizes != ["paper sizes"]:
        parts.append(sizes[0])
    return "; ".join(parts)


def colors_of(series: Iterable[Series]) -> dict[str, str]:
    """A colour for each label: the method's own for the paper's, else one of the others."""
    chosen: dict[str, str] = {}
    others = itertools.cycle(OTHER_COLORS)
    taken = set()
    for one in sorted({s.label: s for s in series}.values(), key=rank):
        own = COLORS.get(one.method)
        # A second of our series of the same method must look different; a published one is dashed.
        if own and (own, one.published) not in taken:
            chosen[one.label] = own
        else:
            chosen[one.label] = next(others)
        taken.add((chosen[one.label], one.published))
    return chosen
