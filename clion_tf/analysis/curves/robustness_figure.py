"""Return against noise as a figure: a row for each experiment, a panel for each kind of noise."""

import itertools
from collections.abc import Iterable, Mapping, Sequence

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from clion_tf.analysis.curves import palette
from clion_tf.analysis.curves.curve_plots import FEW_RUNS, FEW_SERIES, STYLE, legend
from clion_tf.analysis.curves.noise_evaluations import KINDS, Line, Panel
from clion_tf.analysis.curves.series import rank


def draw(panels: Mapping[Panel, Sequence[Line]]) -> Figure:
    """Mean return over trainings (seeds) at each amount of noise, and how far it is known.

    A training's return is the mean of its episodes. The band is the 95 % interval of the mean over
    trainings, by Student's t, where there are two or more; it may leave the panel, whose axis is
    that of the trainings themselves.

    Args:
      panels: see `clion_tf.analysis.curves.noise_evaluations.panels`.
    """
    with matplotlib.rc_context(STYLE):
        return _draw(panels)


def _draw(panels: Mapping[Panel, Sequence[Line]]) -> Figure:
    places = _places(panels)
    rows, columns = (1 + max(place) for place in zip(*places.values(), strict=True))
    size = max(5.2, 3.2 * columns), 2.5 * rows + 0.6
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    every = [line for lines in panels.values() for line in lines]
    colors = palette.colors(every)
    for panel, lines in panels.items():
        _panel(axes[places[panel]], panel, lines, colors)
    for place in itertools.product(range(rows), range(columns)):
        if place not in places.values():
            axes[place].remove()
        elif (place[0], place[1] - 1) not in places.values():
            axes[place].set_ylabel("evaluation return")
    labels = {line.label: line for line in sorted(every, key=rank)}
    texts = [f"{label} ({_seeds(every, label)})" for label in labels]
    legend(figure, list(labels.values()), texts, colors, _caption(panels))
    return figure


def _places(panels: Iterable[Panel]) -> dict[Panel, tuple[int, int]]:
    """(row, column): a column a kind; side by side what has one task and first conditions."""
    panels = list(panels)
    kinds = [kind for kind in KINDS if any(panel.kind == kind for panel in panels)]
    rows: dict[tuple, int] = {}
    places = {}
    for panel in panels:
        # Those of one kind that differ in the unit of noise only stand below each other.
        above = sum(
            (p.task, p.first, p.kind) == (panel.task, panel.first, panel.kind) for p in places
        )
        row = rows.setdefault((panel.task, panel.first, above), len(rows))
        places[panel] = row, kinds.index(panel.kind)
    return places


def _panel(ax: Axes, panel: Panel, lines: Sequence[Line], colors: Mapping[str, str]) -> None:
    ax.set_title(panel.title)
    ax.set_xlabel(panel.xlabel)
    thin = _thin(lines)
    for line in reversed(lines):  # The first are drawn on top.
        color, found = colors[line.label], line.summaries
        if line in thin:
            for values in line.means:
                ax.plot(line.amounts, values, color=color, linewidth=0.5, alpha=0.4)
        if len(line.means) > 1:
            low, high = [s.low for s in found], [s.high for s in found]
            ax.fill_between(line.amounts, low, high, color=color, alpha=0.15, linewidth=0)
        mean = [s.mean for s in found]
        style = {"color": color, "linewidth": 1.8, "marker": "o", "markersize": 3}
        ax.plot(line.amounts, mean, **style, clip_on=False)  # No half markers at 0.
    values = [value for line in lines for row in line.means for value in row]
    bottom, top = min(0.0, *values), max(values)
    ax.set_ylim(bottom, top + 0.1 * (top - bottom) or 1.0)
    ax.set_xlim(left=0)


def _thin(lines: Sequence[Line]) -> list[Line]:
    """Those whose single trainings can be drawn without covering the panel."""
    return [line for line in lines if len(lines) <= FEW_SERIES and 1 < len(line.means) <= FEW_RUNS]


def _seeds(every: Sequence[Line], label: str) -> str:
    """How many trainings a line stands for."""
    counts = sorted({len(line.means) for line in every if line.label == label})
    text = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]}–{counts[-1]}"
    return f"{text} seed{'s' * (counts != [1])}"


def _caption(panels: Mapping[Panel, Sequence[Line]]) -> str:
    every = [line for lines in panels.values() for line in lines]
    low = min(line.episodes[0] for line in every)
    high = max(line.episodes[1] for line in every)
    parts = [f"a training: mean of {low if low == high else f'{low} to {high}'} episodes"]
    if any(len(line.means) > 1 for line in every):
        parts.append("lines: mean over trainings; bands: its 95 % interval (t, over trainings)")
    if any(map(_thin, panels.values())):
        parts.append("thin: single trainings")
    [setup, *others] = {line.setup for line in every}
    if setup and not others:  # Else the labels say it.
        parts.append(setup)
    [rotation, *others] = {line.rotation for line in every}
    if rotation and not others:
        parts.append(f"trained at ±{rotation:g}°")
    return "; ".join(parts)
