"""Return against noise as a figure: a row for each experiment, a panel for each kind of noise."""

from collections.abc import Iterable, Mapping, Sequence

from matplotlib.figure import Figure

from clion_tf.analysis.curves.curve_plots import INTERVAL, draw_panels, thin_series
from clion_tf.analysis.curves.noise_evaluations import KINDS, Panel
from clion_tf.analysis.curves.series import Series


def draw(panels: Mapping[Panel, Sequence[Series]]) -> Figure:
    """Mean return over trainings (seeds) at each amount of noise, and how far it is known.

    A training's return is the mean of its episodes. The band is the 95 % interval of the mean over
    trainings, by Student's t, where there are two or more; it may leave the panel, whose axis is
    that of the trainings themselves.

    Args:
      panels: see `clion_tf.analysis.curves.noise_evaluations.panels`.
    """
    return draw_panels(
        panels, _places(panels), "evaluation return", INTERVAL, "seed", _caption(panels)
    )


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


def _caption(panels: Mapping[Panel, Sequence[Series]]) -> str:
    every = [curve for series in panels.values() for one in series for curve in one.curves]
    low = min(curve.episodes[0] for curve in every)
    high = max(curve.episodes[1] for curve in every)
    parts = [f"a training: mean of {low if low == high else f'{low} to {high}'} episodes"]
    if any(len(one.curves) > 1 for series in panels.values() for one in series):
        parts.append("lines: mean over trainings; bands: its 95 % interval (t, over trainings)")
    if any(map(thin_series, panels.values())):
        parts.append("thin: single trainings")
    # What differs is said by the labels.
    for found in ({c.setup for c in every}, {c.rotation and _trained(c.rotation) for c in every}):
        if len(found) == 1 and any(found):
            parts += found
    return "; ".join(parts)


def _trained(rotation: float) -> str:
    return f"trained at ±{rotation:g}°"
