"""Figures: learning curves, and return against noise. A line for each method.

Uses matplotlib's objects without pyplot, so nothing global is changed and no display is needed.
"""

import collections
import itertools
import math
import pathlib
import textwrap
from collections.abc import Iterable, Mapping, Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from clion_tf.analysis.curves import method_names
from clion_tf.analysis.curves.curve import Curve, Panel, Series, all_series, part_of, setups, short
from clion_tf.analysis.curves.return_statistics import summary
from clion_tf.command import UsageError
from clion_tf.files import atomic_write

LAYOUTS = ("tasks", "ablation")
SPREADS = {"std": "± 1 standard deviation", "range": "smallest to largest"}
INTERVAL = "its 95 % interval (t, over trainings)"  # A further spread: of the mean.
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
    curves: Sequence[Curve],
    layout: str = "tasks",
    metric: str = "test",
    steps: int | None = None,
    smooth: int = 0,
    spread: str = "std",
) -> Figure:
    """Mean and spread of returns over runs against environment steps, by task and rotation.

    Runs of one series with evaluations at different steps are interpolated linearly on all their
    steps, each inside its own range. Where some runs have ended the mean of the others is pale.
    Tasks with published curves only are left out where there are runs of other tasks.

    Args:
      layout: `tasks`: all methods; `ablation`: fig. 7, its methods and tasks in the paper's order.
      metric: of the curves, for the axis only.
      steps: where the axis ends; None: where the longest of our runs ends.
      smooth: environment steps over which each run's returns are averaged, backwards.
      spread: `std` or `range` (smallest and largest), drawn for two runs or more.
    """
    # Those of others may be much longer.
    ours = [c for one in all_series(curves) if not one.published for c in one.curves] or curves
    end = steps or max(float(curve.xs[-1]) for curve in ours)
    shown = [part_of(curve, smooth, end) for curve in curves]
    found = all_series(curve for curve in shown if curve.xs.size)
    own = {one.panel for one in found if not one.published}
    if layout == "ablation":
        found = _ablation(found)
    elif own:
        found = [one for one in found if one.panel in own]
    if not found:
        raise UsageError(f"no curve to draw up to {end:,.0f} steps (layout {layout})")
    caption = _lines_and_bands(found, "run", SPREADS[spread])
    if any(len({curve.xs[-1] for curve in one.curves}) > 1 for one in found):
        caption.append("pale: some runs have ended")
    if smooth:
        caption.append(f"each run averaged over {short(smooth)} steps")
    sizes = setups(curve for one in found for curve in one.curves)
    if len(sizes) == 1:
        caption += sizes
    drawn = list(dict.fromkeys(one.panel for one in found))
    columns = 2 if len(drawn) == 4 else min(3, len(drawn))
    places = {panel: divmod(i, columns) for i, panel in enumerate(drawn)}
    ylabel = f"{'evaluation' if metric == 'test' else 'training'} return"
    return _draw(found, places, ylabel, spread, "run", caption, end)


def _ablation(found: Iterable[Series]) -> list[Series]:
    """The series of fig. 7, its three tasks first."""
    kept = [s for s in found if s.method in method_names.ABLATION and not s.published]
    first = {task: number for number, task in enumerate(ABLATION_TASKS)}
    return sorted(kept, key=lambda one: first.get(one.curves[0].task, len(first)))


def robustness(found: Sequence[Series]) -> Figure:
    """Mean return over trainings (seeds) at each amount of noise, and how far it is known.

    A row for each experiment, a panel for each kind of noise. A training's return is the mean of
    its episodes. The band is the 95 % interval of the mean over trainings, by Student's t, where
    there are two or more; it may leave the panel, whose axis is that of the trainings themselves.
    """
    drawn = dict.fromkeys(one.panel for one in found)
    rows = sorted({panel.order[:-1] for panel in drawn})
    kinds = sorted({panel.order[-1] for panel in drawn})
    places = {p: (rows.index(p.order[:-1]), kinds.index(p.order[-1])) for p in drawn}
    every = [curve for one in found for curve in one.curves]
    low = min(curve.episodes[0] for curve in every)
    high = max(curve.episodes[1] for curve in every)
    caption = [f"a training: mean of {low if low == high else f'{low} to {high}'} episodes"]
    caption += _lines_and_bands(found, "training", INTERVAL)
    # What differs is said by the labels.
    for words in ({c.setup for c in every}, {c.rotation and c.besides[0] for c in every}):
        if len(words) == 1:
            caption += filter(None, words)
    return _draw(found, places, "evaluation return", INTERVAL, "seed", caption)


def save(figure: Figure, path: str | pathlib.Path, **how) -> None:
    """Writes PNG, PDF or SVG, by the suffix, whole or not at all; `how` is for `savefig`."""
    kind = pathlib.Path(path).suffix.lower().removeprefix(".")
    # Without the time of writing, so that equal figures are equal files.
    dates = {"pdf": {"CreationDate": None}, "svg": {"Date": None}}
    with matplotlib.rc_context(STYLE), atomic_write(path) as file:
        figure.savefig(file, format=kind, dpi=200, metadata=dates.get(kind), **how)


def _draw(
    found: Sequence[Series],
    places: Mapping[Panel, tuple[int, int]],
    ylabel: str,
    spread: str,
    unit: str,
    caption: Sequence[str],
    end: float | None = None,
) -> Figure:
    """Panels at their (row, column), up to the step `end` if over steps; a `unit` is one curve."""
    rows, columns = (1 + max(place) for place in zip(*places.values(), strict=True))
    colors = colors_of(found)
    at = {place: panel for panel, place in places.items()}
    with matplotlib.rc_context(STYLE):
        width = 5.2 if columns == 1 else 3.2 * columns
        figure = Figure(figsize=(width, 2.5 * rows + 0.6), layout="constrained")
        grid = figure.add_gridspec(rows, columns)
        for row, column in sorted(at):
            panel, below = at[row, column], at.get((row + 1, column))
            ax = figure.add_subplot(grid[row, column])
            ax.set_title(panel.title)
            _panel(ax, [one for one in found if one.panel == panel], colors, end, spread)
            if (row, column - 1) not in at:
                ax.set_ylabel(ylabel)
            if below is None or below.xlabel != panel.xlabel:
                ax.set_xlabel(panel.xlabel)
        _legend(figure, found, colors, unit, "; ".join(caption))
    return figure


def _panel(
    ax: Axes, series: Sequence[Series], colors: Mapping, end: float | None, spread: str
) -> None:
    thin = _thin(series)
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
        ax.xaxis.set_major_formatter(lambda x, _: short(x))


def _thin(found: Iterable[Series]) -> list[Series]:
    """Series whose single runs can be drawn without covering their panel."""
    ours = [one for one in found if not one.published]
    beside = collections.Counter(one.panel for one in ours)
    several = [one for one in ours if 1 < len(one.curves) <= FEW_RUNS]
    return [one for one in several if beside[one.panel] <= FEW_SERIES]


def _series(ax: Axes, series: Series, color: str, spread: str) -> None:
    xs, ys = series.grid()
    count = np.isfinite(ys).sum(0)
    mean = np.nansum(ys, 0) / count
    style = {"color": color, "linestyle": "--" if series.published else "-", "markersize": 3}
    style |= {"linewidth": 1.1 if series.published else 1.8, "clip_on": spread != INTERVAL}
    style["marker"] = "o" if len(xs) <= FEW_POINTS else ""
    strength = 0.55 if series.published else 1.0
    if len(ys) > 1:
        low, high = _band(ys, mean, spread)
        alpha = 0.08 if series.published else 0.15
        ax.fill_between(xs, low, high, where=count > 1, color=color, alpha=alpha, linewidth=0)
    if count.min() < len(ys):
        ax.plot(xs, mean, alpha=strength * 0.45, **style)
    ax.plot(xs, np.where(count == len(ys), mean, np.nan), alpha=strength, **style)


def _band(ys: np.ndarray, mean: np.ndarray, spread: str) -> tuple[Sequence, Sequence]:
    """(low, high) of returns [runs, N]; where only one run is, both are its return."""
    if spread == "range":
        return np.nanmin(ys, 0), np.nanmax(ys, 0)
    if spread == INTERVAL:  # All runs are at all points.
        found = [summary(column) for column in ys.T]
        return [one.low for one in found], [one.high for one in found]
    others = np.maximum(np.isfinite(ys).sum(0) - 1, 1)
    std = np.sqrt(np.nansum((ys - mean) ** 2, 0) / others)
    return mean - std, mean + std


def _lines_and_bands(found: Sequence[Series], unit: str, band: str) -> list[str]:
    """Parts of a caption, where there are such lines."""
    parts = []
    if any(len(one.curves) > 1 for one in found):
        parts.append(f"lines: mean over {unit}s; bands: {band}")
    if _thin(found):
        parts.append(f"thin: single {unit}s")
    return parts


def _legend(
    figure: Figure, every: Sequence[Series], colors: Mapping, unit: str, caption: str
) -> None:
    """Below the panels, so that it covers no curve; its title says what lines and bands are."""
    handles = {}
    for one in sorted(every, key=lambda one: one.rank):
        counts = sorted({len(other.curves) for other in every if other.label == one.label})
        many = "–".join(map(str, dict.fromkeys([counts[0], counts[-1]])))
        text = f"{one.label} ({many} {unit}{'s' * (counts != [1])})"
        handles[text] = Line2D(
            [], [], color=colors[one.label], linewidth=1.4 if one.published else 2,
            linestyle="--" if one.published else "-", alpha=0.55 if one.published else 1,
        )  # fmt: skip
    # Inches of the widest entry, at this font size.
    room = int(figure.get_figwidth() / (0.6 + 0.078 * max(map(len, handles))))
    caption = textwrap.fill(caption, int(figure.get_figwidth() / 0.066))
    columns = min(max(room, 1), 3, len(handles))
    rows = math.ceil(len(handles) / columns) + caption.count("\n")
    figure.set_figheight(figure.get_figheight() + 0.19 * rows)  # Not at the panels' cost.
    legend = figure.legend(
        handles.values(), handles, loc="outside lower center", ncols=columns, title=caption,
        title_fontsize=7.5, fontsize=8.5,
    )  # fmt: skip
    legend.get_title().set(color="#555555", multialignment="center")


def colors_of(series: Iterable[Series]) -> dict[str, str]:
    """A colour for each label: the method's own for the paper's, else one of the others."""
    chosen: dict[str, str] = {}
    others = itertools.cycle(OTHER_COLORS)
    taken = set()
    for one in sorted({s.label: s for s in series}.values(), key=lambda one: one.rank):
        own = COLORS.get(one.method)
        # A second of our series of the same method must look different; a published one is dashed.
        free = own and (own, one.published) not in taken
        chosen[one.label] = own if free else next(others)
        taken.add((chosen[one.label], one.published))
    return chosen
