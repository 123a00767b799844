"""Small figures, each one panel, so that a page can put them side by side or below each other."""

import base64
import io
from collections.abc import Mapping
from typing import NamedTuple

import matplotlib
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator
from PIL import Image

from clion_tf.analysis.curves.curve import short
from clion_tf.analysis.curves.curve_plots import FEW_POINTS, STYLE
from clion_tf.analysis.curves.metrics_files import Points

# Okabe and Ito's, as in `curve_plots`; here they tell quantities apart, not methods.
FIRST, SECOND = "#0072b2", "#d55e00"
LEVEL = {"color": "#888888", "linewidth": 0.8, "linestyle": "--"}  # What to compare with.
BANDS = {"5–95 %": ("0.05", "0.95", 0.15), "25–75 %": ("0.25", "0.75", 0.3)}  # And opacity.
STEPS = "environment steps"
SIZE = (3.0, 2.05)  # Inches.
# Of the panel in its figure: laid out by hand, it is drawn in half the time.
PLACE = (0.165, 0.205, 0.805, 0.68)


class FigurePanel(NamedTuple):
    """What is drawn together."""

    title: str  # With the unit.
    lines: dict[str, str]  # {key of the points: what to call it}
    xlabel: str = STEPS
    colors: tuple[str, ...] = (FIRST, SECOND)
    bands: str = ""  # Whose quantiles of BANDS are drawn, the points `bands/quantile`.
    filled: bool = False  # Drawn as a step function, with the area below.
    constant: float = 0.0  # Subtracted, because it is most of the value and no error.
    log: bool = False  # With a logarithmic axis, if all values are positive.
    limits: tuple[float, float | None] | None = None  # Of the axis.
    level: tuple[float, str] | None = None  # A value to compare with, and what to call it.
    at: tuple[float, str] | None = None  # The same for the other axis.


class Picture(NamedTuple):
    """An image of the page."""

    uri: str  # With all its content.
    alt: str  # What can be read instead.


def uri(content: bytes, kind: str) -> str:
    """A data URI of a media type."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def draw(panels: list[FigurePanel], points: Mapping[str, Points]) -> list[Picture]:
    """A figure for each panel of which there are points; NaN leaves a gap."""
    with matplotlib.rc_context(STYLE):
        return [_drawn(panel, points) for panel in panels if panel.lines.keys() & points.keys()]


def _drawn(panel: FigurePanel, points: Mapping[str, Points]) -> Picture:
    figure = Figure(figsize=SIZE)
    ax = figure.add_axes(PLACE)
    ax.set_title(panel.title, fontsize=8.5, x=(0.5 - PLACE[0]) / PLACE[2])
    ax.set_xlabel(panel.xlabel, fontsize=8)
    ax.tick_params(labelsize=8)
    for label, (low, high, alpha) in BANDS.items():
        low, high = (points.get(f"{panel.bands}/{quantile}") for quantile in (low, high))
        if low and high:
            band = {"color": panel.colors[0], "alpha": alpha, "linewidth": 0, "label": label}
            ax.fill_between(*low, high[1], **band)
    for color, (key, label) in zip(panel.colors, panel.lines.items(), strict=False):
        if key not in points:
            continue
        xs, ys = points[key][0], points[key][1] - panel.constant
        style = {"color": color, "label": label, "linewidth": 1.4, "markersize": 3}
        if panel.filled:
            ax.fill_between(xs, ys, step="post", color=color, alpha=0.35, linewidth=0)
            style["drawstyle"] = "steps-post"
        elif len(xs) <= FEW_POINTS:
            style["marker"] = "o"
        ax.plot(xs, ys, **style)
    if panel.log and all((line.get_ydata() > 0).all() for line in ax.lines):
        ax.set_yscale("log")  # With plain numbers at 1, 2 and 5 times the powers of ten.
        ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5), numticks=8))
        ax.yaxis.set_minor_locator(NullLocator())
        ax.yaxis.set_major_formatter("{x:g}")
    for place, compare in ((panel.level, ax.axhline), (panel.at, ax.axvline)):
        if place:
            compare(place[0], label=place[1], **LEVEL)
    if panel.limits:
        ax.set_ylim(*panel.limits)
        if panel.limits[1] is None:  # Room above a flat line.
            ax.set_ylim(top=1.1 * ax.get_ylim()[1])
    if panel.xlabel == STEPS:
        ax.set_xlim(left=0)
        ax.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
        ax.xaxis.set_major_formatter(lambda x, _: short(x))
    else:
        locator = MaxNLocator(8, steps=[1, 2, 5, 10], integer=True, min_n_ticks=3)
        ax.xaxis.set_major_locator(locator)
    if ax.get_legend_handles_labels()[0]:
        ax.legend(fontsize=7.5, handlelength=1.4)
    return png(figure, panel.title)


def png(figure: Figure, alt: str) -> Picture:
    """The figure as a PNG with a palette, a third of the bytes."""
    content, small = io.BytesIO(), io.BytesIO()
    with matplotlib.rc_context(STYLE):
        figure.savefig(content, format="png", dpi=150, facecolor="white")
    with Image.open(content) as picture:
        picture.convert("RGB").quantize(128).save(small, "PNG", optimize=True)
    return Picture(uri(small.getvalue(), "image/png"), alt)
