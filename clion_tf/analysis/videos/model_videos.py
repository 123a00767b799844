"""Videos of what a trained world model sees in episodes that it was not trained on."""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from clion_tf.analysis.videos.filming import Film
from clion_tf.learning import reconstruction
from clion_tf.learning.noise import Noise
from clion_tf.models import Models
from clion_tf.pictures import picture_rows

# The names of the rows at a frame.
Labels = Callable[[int], Sequence[str]]


class Column(NamedTuple):
    """One episode of a video: uint8 [T, 3, 64, 64, 3], rows truth, model, error."""

    rows: np.ndarray
    steps: np.ndarray


def open_loop(models: Models, film: Film, length: int, noise: Noise) -> Column:
    """Sequences of `length` frames, one after the other, predicted after CONTEXT frames each.

    Frames that fill no sequence at an episode's end are left out.
    """
    length = min(length, len(film.steps))
    used = len(film.steps) // length * length
    data = {
        key: value[0, :used].reshape(-1, length, *value.shape[2:])
        for key, value in film.sequence().items()
    }
    seen = {key: value[:, : reconstruction.CONTEXT] for key, value in data.items()}
    post = reconstruction.posterior(models, seen, noise)
    predicted = reconstruction.open_loop(models, post, tf.constant(data["action"]), noise)
    return _column(data, predicted.numpy(), film.steps[:used])


def memory(
    models: Models, film: Film, noise: Noise, sigma: float, resample: bool, sigma2: float
) -> Column:
    """The whole episode, reconstructed from augmented memory."""
    data = film.sequence()
    decoded = reconstruction.images(models, data, noise, sigma, resample, sigma2)
    return _column(data, decoded, film.steps)


def _column(data: dict[str, np.ndarray], model: np.ndarray, steps: np.ndarray) -> Column:
    rows = picture_rows.comparison(reconstruction.observed(data).numpy(), model)
    return Column(rows.reshape(-1, *rows.shape[2:]), steps)


def open_loop_labels(length: int) -> Labels:
    """For columns of `open_loop`."""

    def labels(frame: int) -> Sequence[str]:
        ahead = frame % length - min(reconstruction.CONTEXT, length - 1) + 1
        what = f"prediction, {ahead} ahead" if ahead > 0 else "reconstruction"
        return "truth", what, "error"

    return labels


def memory_labels(sigma: float, resample: bool) -> Labels:
    """For columns of `memory`."""
    state = "(h', s')" if resample else "(h', s)"
    return lambda frame: ("input", f"from {state}, sigma {sigma:g}", "error")


def clips(
    columns: Sequence[Column], labels: Labels, size: int, most: int, length: int = 50
) -> Iterator[np.ndarray]:
    """Columns side by side in pieces of at most `length` frames, uint8 [T, 3 * size, N * size, 3].

    A column that ends before the others keeps its last frame. After `most` frames it ends.
    """
    total = min(most, max(len(column.steps) for column in columns))
    for start in range(0, total, length):
        frames = range(start, min(start + length, total))
        yield np.stack([_frame(columns, frame, labels(frame), size) for frame in frames])


def _frame(columns: Sequence[Column], frame: int, labels: Sequence[str], size: int) -> np.ndarray:
    at = [min(frame, len(column.steps) - 1) for column in columns]
    cells = np.stack([c.rows[i] for c, i in zip(columns, at, strict=True)], axis=1)
    canvas = picture_rows.table(cells, size)
    for number, (column, i) in enumerate(zip(columns, at, strict=True)):
        text = f"step {column.steps[i]}"
        if len(columns) > 1:
            text = f"episode {number + 1}, {text}"
        heading = labels[0] if number == 0 else ""
        picture_rows.write(canvas, f"{heading}\n{text}", number * size, 0, size)
    for row, label in enumerate(labels[1:], start=1):
        picture_rows.write(canvas, label, 0, row * size, size)
    return np.asarray(canvas)
