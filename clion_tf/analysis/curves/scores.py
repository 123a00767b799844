"""Scores of runs at given environment steps.

The score of a run at a step is its last evaluation in (step - window, step], as the paper's
"performance at 105K steps" reads; or, to smooth single evaluations, the mean of those in that span.
A run without an evaluation there has no score: nothing is interpolated or carried on.
"""

import dataclasses
from collections.abc import Iterable

import numpy as np

from clion_tf.analysis.curves.curve import Curve
from clion_tf.analysis.curves.return_statistics import (
    Summary,
    bootstrap_interval,
    interquartile_mean,
    summary,
)
from clion_tf.analysis.curves.series import Panel, Series

WINDOW = 10_000  # The default time between two evaluations.


@dataclasses.dataclass(frozen=True)
class Score:
    """How a curve is judged at a step; see the module.

    Attributes:
      window: environment steps before the step that count.
      mean: take the mean of the evaluations there, not the last one.
    """

    window: int = WINDOW
    mean: bool = False

    def of(self, curve: Curve, step: float) -> float | None:
        """The score, None if there is none."""
        inside = (curve.xs > step - self.window) & (curve.xs <= step)
        ys = curve.ys[inside]
        # A run that ended long before would be judged by what it was then.
        reached = curve.xs[-1] > step - min(self.window, WINDOW)
        if not ys.size or not reached:
            return None
        return float(ys.mean() if self.mean else ys[-1])


@dataclasses.dataclass(frozen=True)
class Cell:
    """A method's scores at a step, on one task or on several.

    Attributes:
      panel: None for several tasks.
      label, method, setup: of the series.
      step: environment steps.
      scores: one tuple of runs' scores for each task that has any.
      paper: (mean, std) as printed, None where nothing is.
      window: of the score, environment steps.
    """

    panel: Panel | None
    label: str
    method: str
    setup: str
    step: int
    scores: tuple[tuple[float, ...], ...]
    paper: tuple[float, float] | None = None
    window: int = WINDOW

    @property
    def all(self) -> tuple[float, ...]:
        """Scores of all tasks."""
        return sum(self.scores, ())

    @property
    def summary(self) -> Summary | None:
        """Of all runs; None without any."""
        return summary(self.all) if self.all else None

    @property
    def interquartile(self) -> tuple[float, tuple[float, float] | None] | None:
        """Interquartile mean and its bootstrap interval; None without any run."""
        if not self.all:
            return None
        return interquartile_mean(self.all), bootstrap_interval(self.scores)


def scores_at(series: Iterable[Series], step: int, score: Score) -> tuple[tuple[float, ...], ...]:
    """Scores of one task's runs, as `Cell.scores`: one tuple, or none where no run has a score."""
    return _without_missing(score.of(curve, step) for one in series for curve in one.curves)


def means_between(series: Iterable[Series], begin: int, end: int) -> tuple[tuple[float, ...], ...]:
    """Mean returns of one task's runs in (begin, end], as `Cell.scores`.

    A run that ended before, so that its next return would still have been inside, has none.
    """
    return _without_missing(_mean(c, begin, end) for one in series for c in one.curves)


def _mean(curve: Curve, begin: int, end: int) -> float | None:
    ys = curve.ys[(curve.xs > begin) & (curve.xs <= end)]
    last, gap = curve.xs[-1], np.diff(curve.xs).max(initial=0)
    unfinished = last < end and last + gap <= end
    return None if unfinished or not ys.size else float(ys.mean())


def _without_missing(values: Iterable[float | None]) -> tuple[tuple[float, ...], ...]:
    scores = tuple(value for value in values if value is not None)
    return (scores,) if scores else ()
