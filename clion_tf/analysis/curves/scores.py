"""Scores of runs at given environment steps, or over a period.

The score of a run at a step is its last evaluation in (step - window, step], as the paper's
"performance at 105K steps" reads; or, to smooth single evaluations, the mean of those in that span.
A run without an evaluation there has no score: nothing is interpolated or carried on.
"""

import dataclasses
from collections.abc import Callable, Iterable

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
        ys = curve.ys[(curve.xs > step - self.window) & (curve.xs <= step)]
        # A run that ended long before would be judged by what it was then.
        reached = curve.xs[-1] > step - min(self.window, WINDOW)
        if not ys.size or not reached:
            return None
        return float(ys.mean() if self.mean else ys[-1])


def mean_between(curve: Curve, begin: float, end: float) -> float | None:
    """Mean return in (begin, end].

    None of a run that ended before, so that its next return would still have been inside.
    """
    ys = curve.ys[(curve.xs > begin) & (curve.xs <= end)]
    last, gap = curve.xs[-1], np.diff(curve.xs).max(initial=0)
    unfinished = last < end and last + gap <= end
    return None if unfinished or not ys.size else float(ys.mean())


@dataclasses.dataclass(frozen=True)
class Cell:
    """A method's scores at a step, on one task or on several.

    Attributes:
      panel: None for several tasks.
      label, setup: of the series.
      step: environment steps.
      scores: one tuple of runs' scores for each task that has any.
      window: of the score, environment steps.
      paper: (mean, std) as printed, None where nothing is.
    """

    panel: Panel | None
    label: str
    setup: str
    step: int
    scores: tuple[tuple[float, ...], ...]
    window: int
    paper: tuple[float, float] | None = None

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


def scores_of(
    series: Iterable[Series], score: Callable[[Curve], float | None]
) -> tuple[tuple[float, ...], ...]:
    """Scores of one task's runs, as `Cell.scores`: one tuple, or none where no run has a score."""
    found = (score(curve) for one in series for curve in one.curves)
    scores = tuple(value for value in found if value is not None)
    return (scores,) if scores else ()
