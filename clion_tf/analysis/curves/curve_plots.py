"""Figures: learning curves, return against noise or draws. A line for each method.

Uses matplotlib's objects without pyplot, so nothing global is changed and no display is needed.
"""

import itertools
import logging
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
from clion_tf.analysis.curves.curve import OURS, Curve, Panel, short
from clion_tf.analysis.curves.return_statistics import summary
from clion_tf.analysis.curves.series import Series, all_series, in_common, titles
from clion_tf.command import UsageError
from clion_tf.files import atomic_write

_log = logging.getLogger(__name__)

SPREADS = {"std": "± 1 standard deviation", "range": "smallest to largest"}
INTERVAL = "its 95 % interval (t)"  # A further spread: of the mean.
YLABELS = {"test": "evaluation return", "train": "training return"}
ABLATION_TASKS = ("walker_walk", "walker_run", "hopper_stand")  # Fig. 7's panels.
FEW_RUNS = 5  # A series of at most this many runs also shows each run as a thin line,
FEW_SERIES = 3  # if its panel has at most this many series of ours.
FEW_POINTS = 12  # A curve of at most this many points gets markers.
# Lines of our series, and of published ones.
LINES = (
    {"linestyle": "-", "linewidth": 1.8, "alpha": 1.0},
    {"linestyle": "--", "linewidth": 1.1, "alpha": 0.55},
)

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
    "axes.axisbelow": True,
    "legend.frameon": False,
    "pdf.fonttype": 42,  # Fonts as journals want them.
    "svg.hashsalt": "clion_tf",
}


def learning_curves(
    curves: Sequence[Curve], layout: str = "tasks", metric: str = "test",
    steps: int | None = None, smooth: int = 0, spread: str = "std",
) -> Figure:  # fmt: skip
    """Mean and spread of returns over runs against environment steps, by task and rotation.

    Runs of one series are interpolated as in `Series.grid`; where some have ended the mean of the
    others is pale. Tasks with published curves only are left out beside runs of other tasks.
    `ablation` is fig. 7: its methods and tasks in the paper's order. The axis ends at `steps`, by
    default where the longest of our runs does. Each run's returns are averaged over the `smooth`
    environment steps before. `spread` is one of SPREADS.
    """
    # Those of others may be much longer.
    ours = [c for one in all_series(curves) if not one.published for c in one.curves] or curves
    end = steps or max(float(curve.xs[-1]) for curve in ours)
    shown = [curve.part(smooth, end) for curve in curves]
    found = all_series(curve for curve in shown if curve.xs.size)
    own = {one.panel for one in found if not one.published}
    if layout == "ablation":
        first = {task: number for number, task in enumerate(ABLATION_TASKS)}
        of_fig7 = [s for s in found if s.method in method_names.ABLATION and not s.published]
        if others := dict.fromkeys(s.label for s in found if s not in of_fig7):
            _log.warning("left out, not in fig. 7: %s", ", ".join(others))
        found = of_fig7
        found.sort(key=lambda one: first.get(one.curves[0].task, len(first)))
    elif own:
        found = [one for one in found if one.panel in own]
    if not found:
        raise UsageError(f"no curve to draw up to {end:,.0f} steps (layout {layout})")
    caption = []
    if any(len({curve.xs[-1] for curve in one.curves}) > 1 for one in found):
        caption.append("pale: some runs have ended")
    if smooth:
        caption.append(f"each run averaged over {short(smooth)} steps")
    ours = (curve for one in found for curve in one.curves if curve.kind == OURS)
    caption += filter(None, in_common(curve.setup for curve in ours))
    drawn = list(dict.fromkeys(one.panel for one in found))
    columns = 2 if len(drawn) == 4 else min(3, len(drawn))
    places = {divmod(i, columns): panel for i, panel in enumerate(drawn)}
    return _draw(found, places, YLABELS[metric], SPREADS[spread], "run", caption, end)


def amounts(found: Sequence[Series], metric: str = "test", spread: str = INTERVAL) -> Figure:
    """Mean return over trainings (seeds) at each amount, and its spread.

    A row for each experiment, a panel for each kind of amount. By default the band is the 95 %
    interval of the mean over two trainings or more, by Student's t; it may leave the panel, whose
    axis is theirs. Else `spread` is one of SPREADS' values.
    """
    drawn = dict.fromkeys(one.panel for one in found)
    rows = sorted({panel.order[:-1] for panel in drawn})
    kinds = sorted({panel.order[-1] for panel in drawn})
    places = {(rows.index(p.order[:-1]), kinds.index(p.order[-1])): p for p in drawn}
    every, caption = [curve for one in found for curve in one.curves], []
    # What differs is said by the labels.
    caption += filter(None, in_common(curve.setup for curve in every))
    caption += in_common(", ".join(curve.besides) for curve in every)
    if any(np.isnan(curve.ys).any() for curve in every):
        caption.append("pale: some seeds only")
    return _draw(found, places, YLABELS[metric], spread, "seed", caption)


def save(figure: Figure, path: str | pathlib.Path, **how) -> None:
    """Writes PNG, PDF or SVG, by the suffix, whole or not at all; `how` is for `savefig`."""
    kind = pathlib.Path(path).suffix.lower().removeprefix(".")
    # Without the time of writing, so that equal figures are equal files.
    dates = {"pdf": {"CreationDate": None}, "svg": {"Date": None}}
    with matplotlib.rc_context(STYLE), atomic_write(path) as file:
        figure.savefig(file, format=kind, dpi=200, metadata=dates.get(kind), **how)


def _draw(
    found: Sequence[Series], places: Mapping[tuple[int, int], Panel], ylabel: str, spread: str,
    unit: str, caption: Sequence[str], end: float | None = None,
) -> Figure:  # fmt: skip
    """Panels by (row, column), up to the step `end` if over steps; a `unit` is one curve."""
    rows, columns = (1 + max(ends) for ends in zip(*places, strict=True))
    colors, named, parts, thin = colors_of(found), titles(found, "\n"), [], False
    if any(len(one.curves) > 1 for one in found):
        parts.append(f"lines: mean over {unit}s; bands: {spread}")
    with matplotlib.rc_context(STYLE):
        size = 5.2 if columns == 1 else 3.2 * columns, 2.5 * rows + 0.6
        figure = Figure(figsize=size, layout="constrained")
        grid = figure.add_gridspec(rows, columns)
        for (row, column), panel in sorted(places.items()):
            below = places.get((row + 1, column))
            title = "\n".join(textwrap.fill(line, 38) for line in named[panel].splitlines())
            ax = figure.add_subplot(grid[row, column], title=title)
            thin |= _panel(ax, [one for one in found if one.panel == panel], colors, spread)
            if (row, column - 1) not in places:
                ax.set_ylabel(ylabel)
            if below is None or below.xlabel != panel.xlabel:
                ax.set_xlabel(panel.xlabel)
            if panel.log:
                ticks = sorted({x for one in found if one.panel == panel for x in one.grid()[0]})
                ax.set_xscale("log", base=2)
                ax.set_xticks(ticks, [f"{x:.0f}" for x in ticks])
            else:
                ax.set_xlim(0, 1.015 * end if end else None)
            if end:
                ax.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 2.5, 5, 10]))
                ax.xaxis.set_major_formatter(lambda x, _: short(x))
        parts += [f"thin: single {unit}s"] if thin else []
        _legend(figure, found, colors, unit, "; ".join([*parts, *caption]))
    return figure


def _panel(ax: Axes, series: Sequence[Series], colors: Mapping, spread: str) -> bool:
    """Draws a panel; returns whether single runs are drawn as thin lines."""
    ours, thin = [one for one in series if not one.published], []
    if len(ours) <= FEW_SERIES:
        thin = [one for one in ours if 1 < len(one.curves) <= FEW_RUNS]
    for one in reversed(series):  # The first are drawn on top.
        for curve in one.curves if one in thin else ():
            ax.plot(curve.xs, curve.ys, color=colors[one.label], linewidth=0.5, alpha=0.4)
        _series(ax, one, colors[one.label], spread)
    every = np.concatenate([curve.ys for one in series for curve in one.curves])
    # Returns are rarely negative; bands of a standard deviation often are.
    bottom, top = min(0.0, np.nanmin(every)), np.nanmax(every)
    ax.set_ylim(bottom, top + 0.1 * (top - bottom) or 1.0 if spread == INTERVAL else None)
    return bool(thin)


def _series(ax: Axes, series: Series, color: str, spread: str) -> None:
    """The mean, pale where some runs have ended, and the band where there are several."""
    xs, ys = series.grid()
    ys = np.ma.masked_invalid(ys)
    count, mean = ys.count(0), ys.mean(0)
    style = {"color": color, **LINES[series.published], "markersize": 3}
    style |= {"clip_on": spread != INTERVAL, "marker": "o" if len(xs) <= FEW_POINTS else ""}
    if len(ys) > 1:
        low, high = mean - ys.std(0, ddof=1), mean + ys.std(0, ddof=1)
        if spread == SPREADS["range"]:
            low, high = ys.min(0), ys.max(0)
        elif spread == INTERVAL:
            known = [summary(column.compressed()) for column in ys.T]
            low, high = ([getattr(s, end) or 0.0 for s in known] for end in ("low", "high"))
        alpha = 0.15 * style["alpha"]
        ax.fill_between(xs, low, high, where=count > 1, color=color, alpha=alpha, linewidth=0)
    if count.min() < len(ys):
        ax.plot(xs, mean, **{**style, "alpha": 0.45 * style["alpha"]})
    ax.plot(xs, np.where(count == len(ys), mean, np.nan), **style)


def _legend(
    figure: Figure, every: Sequence[Series], colors: Mapping, unit: str, caption: str
) -> None:
    """Below the panels, so that it covers no curve; its title says what lines and bands are."""
    handles = {}
    for one in sorted(every, key=lambda one: one.rank):
        counts = sorted({len(other.curves) for other in every if other.label == one.label})
        many = "–".join(map(str, dict.fromkeys([counts[0], counts[-1]])))
        text = f"{one.label} ({many} {unit}{'s' * (counts != [1])})"
        handles[text] = Line2D([], [], color=colors[one.label], **LINES[one.published])
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
    others, taken = itertools.cycle(OTHER_COLORS), set()
    for one in sorted({s.label: s for s in series}.values(), key=lambda one: one.rank):
        own = COLORS.get(one.method)
        # A second of our series of the same method must look different; a published one is dashed.
        if own is None or (own, one.published) in taken:
            own = next(others)
        chosen[one.label] = own
        taken.add((own, one.published))
    return chosen
