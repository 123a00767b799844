"""Small figures, each one panel, so that a page can put them side by side or below each other."""

import dataclasses
import io
from collections.abc import Callable, Iterable
from typing import NamedTuple

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator
from PIL import Image

from clion_tf.analysis.curves.curve import short
from clion_tf.analysis.curves.curve_plots import FEW_POINTS, STYLE
from clion_tf.analysis.report.data_uris import uri

# Okabe and Ito's, as in `curve_plots`; here they tell quantities apart, not methods.
FIRST, SECOND, THIRD = "#0072b2", "#d55e00", "#009e73"
LEVEL = {"color": "#888888", "linewidth": 0.8, "linestyle": "--"}  # What to compare with.
SIZE = (3.0, 2.05)  # Inches.
# Of the panel in its figure: laid out by hand, it is drawn in half the time.
PLACE = (0.165, 0.205, 0.805, 0.68)
DPI = 150


@dataclasses.dataclass(frozen=True)
class Picture:
    """An image of the page.

    Attributes:
      uri: with all its content.
      width, height: pixels.
      alt: what can be read instead.
    """

    uri: str
    width: int
    height: int
    alt: str


def panel(title: str, draw: Callable[[Axes], None], xlabel: str = "") -> Picture:
    """A figure of one panel that `draw` fills."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=SIZE)
        ax = figure.add_axes(PLACE)
        ax.set_title(title, fontsize=8.5, x=(0.5 - PLACE[0]) / PLACE[2])
        ax.set_xlabel(xlabel, fontsize=8)
        ax.tick_params(labelsize=8)
        draw(ax)
        if ax.get_legend_handles_labels()[0]:
            ax.legend(fontsize=7.5, handlelength=1.4)
        return png(figure, title)


def png(figure: Figure, alt: str, dpi: int = DPI) -> Picture:
    """The figure as a PNG with a palette, a third of the bytes."""
    content = io.BytesIO()
    with matplotlib.rc_context(STYLE):
        figure.savefig(content, format="png", dpi=dpi, facecolor="white")
    with Image.open(content) as picture:
        small, size = picture.convert("RGB").quantize(128), picture.size
    content = io.BytesIO()
    small.save(content, "PNG", optimize=True)
    return Picture(uri(content.getvalue(), "image/png"), *size, alt)


class Line(NamedTuple):
    """Points xs, ys, float [N] each, NaN for gaps."""

    xs: np.ndarray
    ys: np.ndarray
    color: str
    label: str = ""


def shares(title: str, lines: Iterable[Line], xlabel: str) -> Picture:
    """Lines between 0 and 1 over whole numbers."""

    def draw(ax: Axes) -> None:
        for one in lines:
            line(ax, one)
        ax.set_ylim(0, 1)
        over_whole_numbers(ax)

    return panel(title, draw, xlabel)


def line(ax: Axes, one: Line) -> None:
    """A line whose points are marked while they are few; nothing if none is finite."""
    if np.isfinite(one.ys).any():
        style = {"marker": "o" if len(one.xs) <= FEW_POINTS else "", "markersize": 3}
        ax.plot(one.xs, one.ys, color=one.color, label=one.label, linewidth=1.4, **style)


def over_whole_numbers(ax: Axes) -> None:
    """Whole numbers along the bottom."""
    ax.xaxis.set_major_locator(MaxNLocator(8, integer=True))


def over_steps(ax: Axes) -> None:
    """Environment steps along the bottom, from 0 on."""
    ax.set_xlim(left=0)
    ax.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda x, _: short(x)))


def logarithmic(ax: Axes) -> None:
    """A logarithmic axis with plain numbers at 1, 2 and 5 times the powers of ten."""
    ax.set_yscale("log")
    ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5), numticks=8))
    ax.yaxis.set_minor_locator(NullLocator())
    ax.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:g}"))
