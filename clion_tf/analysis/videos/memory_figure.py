"""Fig. 3 of the paper: what the world model reconstructs from augmented memory."""

import pathlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from clion_tf.files import atomic_write
from clion_tf.pictures.picture_rows import comparison

SUFFIXES = (".png", ".pdf", ".svg")

_CELL = 1.0  # Inches of a picture's side.
_LEFT, _TOP, _TITLE, _BOTTOM = 1.15, 0.1, 0.5, 0.35  # Inches around them; a title is a block's.


class Block(NamedTuple):
    """One agent's part: float [columns, 64, 64, 3] twice, in [-0.5, 0.5]."""

    title: str
    truth: np.ndarray
    decoded: np.ndarray


def draw(
    blocks: Sequence[Block], steps: Sequence[int], state: str = "(h', s)", dpi: int = 128
) -> Figure:
    """Rows input, reconstruction and error (grey: none) of each block; columns over time.

    Args:
      steps: each column's environment step.
      state: what was decoded, for the label.
    """
    columns = len(steps)
    width = _LEFT + columns * _CELL + 0.1
    height = _TOP + len(blocks) * (_TITLE + 3 * _CELL) + _BOTTOM
    figure = Figure((width, height), dpi=dpi)
    FigureCanvasAgg(figure)
    top = height - _TOP
    for block in blocks:
        left = _LEFT / width
        figure.text(left, (top - 0.33) / height, block.title, size=11, va="baseline")
        top -= _TITLE
        rows = comparison(block.truth, block.decoded)
        for row, label in enumerate(("input", f"reconstruction\nfrom ${state}$", "error")):
            bottom = top - (row + 1) * _CELL
            axes = figure.add_axes([left, bottom / height, columns * _CELL / width, _CELL / height])
            _row(axes, rows[:, row], label)
        top -= 3 * _CELL
    axes.set_xticks(np.arange(columns) + 0.5, [str(step) for step in steps], size=9)
    figure.text(left - 0.07 / width, (top - 0.05) / height, "step", size=9, ha="right", va="top")
    return figure


def _row(axes, pictures: np.ndarray, label: str) -> None:
    """Pictures uint8 [columns, H, W, 3] side by side, with white lines between."""
    columns = len(pictures)
    joined = np.concatenate(list(pictures), axis=1)
    axes.imshow(joined, extent=(0, columns, 0, 1), interpolation="nearest", aspect="auto")
    for border in range(1, columns):
        axes.axvline(border, color="white", linewidth=1.5)
    axes.set_ylabel(label, rotation=0, ha="right", va="center", size=10)
    axes.set(xticks=[], yticks=[])
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set(color="white", linewidth=1.5)


def save(figure: Figure, path: pathlib.Path) -> None:
    """Writes the figure in its suffix's format, whole or not at all."""
    with atomic_write(path) as file:
        figure.savefig(  # Tight, so that a title longer than its pictures is not cut.
            file, format=path.suffix[1:].lower(), bbox_inches="tight", pad_inches=0.1
        )
