"""Means, intervals and robust aggregates of returns over seeds and tasks.

The aggregates are defined as in rliable (Agarwal et al. 2021, "Deep Reinforcement Learning at the
Edge of the Statistical Precipice"), which is not a dependency.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import scipy  # Its parts load when they are used.

LEVEL = 0.95  # Confidence of all intervals.


@dataclasses.dataclass(frozen=True)
class Summary:
    """What several values of one quantity say about its mean.

    Attributes:
      count: how many values.
      mean: their mean.
      std: sample standard deviation (ddof 1); None for one value.
      low, high: 95 % Student-t interval of the mean; None for one value.
    """

    count: int
    mean: float
    std: float | None
    low: float | None
    high: float | None


def summary(values: Sequence[float]) -> Summary:
    """Mean, standard deviation and interval of the mean.

    Raises:
      ValueError: for no values, or values that are not finite.
    """
    values = _finite(values)
    count, mean = len(values), float(values.mean())
    if count == 1:
        return Summary(1, mean, None, None, None)
    std = float(values.std(ddof=1))
    half = float(scipy.stats.t.ppf((1 + LEVEL) / 2, count - 1)) * std / math.sqrt(count)
    return Summary(count, mean, std, mean - half, mean + half)


def interquartile_mean(values: Sequence[float] | np.ndarray, axis: int | None = None) -> Any:
    """Mean of the middle half of all values, or of those along an axis; a quarter off each side.

    The number cut on each side is rounded down, so up to three values give the plain mean.

    Raises:
      ValueError: for no values, or values that are not finite.
    """
    _finite(values)
    return scipy.stats.trim_mean(values, 0.25, axis)


def bootstrap_interval(
    scores: Sequence[Sequence[float]] | np.ndarray,
    statistic: Callable[..., Any] = interquartile_mean,
    resamples: int = 10_000,
    seed: int = 0,
) -> tuple[float, float] | None:
    """95 % percentile bootstrap interval of a statistic; equal input gives equal output.

    Runs are drawn with replacement within each task (stratified), so every resample has as many
    runs of each task as there are.

    Args:
      scores: one sequence of runs' scores for each task; their lengths may differ.
      statistic: a function of all scores, float64 [..., runs of all tasks], and the axis -1.

    Returns:
      (low, high); None if a task has one run only, as resampling it would show no spread.

    Raises:
      ValueError: for no tasks, a task without scores, or scores that are not finite.
    """
    tasks = [_finite(task) for task in scores]
    if not tasks:
        raise ValueError("no scores")
    if min(map(len, tasks)) < 2:
        return None

    def of_all(*drawn: np.ndarray, axis: int) -> np.ndarray:
        return statistic(np.concatenate(drawn, axis=-1), axis=-1)

    found = scipy.stats.bootstrap(
        tasks, of_all, n_resamples=resamples, vectorized=True, confidence_level=LEVEL,
        method="percentile", rng=np.random.default_rng(seed),
    )  # fmt: skip
    return tuple(map(float, found.confidence_interval))


def _finite(values: Sequence[float] | np.ndarray) -> np.ndarray:
    """float64 [count]."""
    array = np.asarray(values, np.float64).reshape(-1)
    if not array.size:
        raise ValueError("no scores")
    if not np.isfinite(array).all():
        raise ValueError("scores must be finite numbers")
    return array
