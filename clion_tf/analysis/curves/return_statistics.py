"""Means, intervals and robust aggregates of returns over seeds and tasks.

As in rliable: Agarwal et al. 2021, "Deep RL at the Edge of the Statistical Precipice".
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy  # Its parts load when they are used.

LEVEL = 0.95  # Confidence of all intervals.
FEWEST = 5  # Runs of a task below which a percentile bootstrap's intervals are far too narrow.


@dataclasses.dataclass(frozen=True)
class Summary:
    """What several values of one quantity say about its mean; None is what one value cannot say."""

    count: int
    mean: float
    std: float | None = None  # Sample standard deviation (ddof 1).
    low: float | None = None  # 95 % Student-t interval of the mean.
    high: float | None = None


def summary(values: Sequence[float]) -> Summary:
    """Mean, standard deviation and interval of the mean of one value or more."""
    count, mean = len(values), float(np.mean(values))
    if count == 1:
        return Summary(1, mean)
    std = float(np.std(values, ddof=1))
    half = float(scipy.stats.t.ppf((1 + LEVEL) / 2, count - 1)) * std / count**0.5
    return Summary(count, mean, std, mean - half, mean + half)


def interquartile_mean(values: Sequence[float] | np.ndarray, axis: int | None = None) -> Any:
    """Mean of the middle half; what is cut on each side is rounded down, nothing of up to three."""
    return scipy.stats.trim_mean(values, 0.25, axis)


def bootstrap_interval(scores: Sequence[Sequence[float]]) -> tuple[float, float] | None:
    """(low, high): 95 % percentile bootstrap interval of the interquartile mean; always the same.

    Of the runs' scores by task: runs are drawn with replacement within each task (stratified).
    None if a task has fewer runs than FEWEST: of one task's n runs with normal returns the interval
    holds the true mean in 51 % of cases at n = 2, 75 % at 3, 88 % at 4, 91 % at 5, 94 % at 10.
    """
    if min(map(len, scores)) < FEWEST:
        return None

    def of_all(*drawn: np.ndarray, axis: int) -> np.ndarray:
        return interquartile_mean(np.concatenate(drawn, axis=-1), axis=-1)

    found = scipy.stats.bootstrap(
        scores, of_all, n_resamples=10_000, vectorized=True, confidence_level=LEVEL,
        method="percentile", rng=np.random.default_rng(0),
    )  # fmt: skip
    return tuple(map(float, found.confidence_interval))
