"""Summaries and intervals, against hand computation, SciPy, and numbers that rliable printed."""

import numpy as np
import pytest
from scipy import stats

from clion_tf.analysis.curves.return_statistics import (
    bootstrap_interval,
    interquartile_mean,
    summary,
)

# Three tasks, five runs each. rliable 1.2.0 (with arch 7.2.0 and NumPy 2.2.6) gave for them:
# metrics.aggregate_iqm 503.07777778, and library.get_interval_estimates with 50,000 resamples,
# twice (np.random.seed 0 and 1), the intervals below.
SCORES = [
    [805.0, 285.8, 408.5, 999.2, 434.9],
    [807.9, 53.9, 45.3, 652.4, 974.2],
    [515.3, 383.4, 48.8, 234.5, 897.7],
]
RLIABLE_IQM = 503.07777778
RLIABLE_IQM_INTERVALS = (283.38888889, 715.70166667), (283.38888889, 714.2)


def test_summary_by_hand():
    result = summary([1, 2, 3])
    assert (result.count, result.mean, result.std) == (3, 2.0, 1.0)
    half = 4.302652729911275 / 3**0.5  # The 97.5 % quantile of t with 2 degrees of freedom.
    assert (result.low, result.high) == pytest.approx((2 - half, 2 + half))


def test_interval_is_scipys():
    values = np.random.default_rng(0).normal(500, 90, 10)
    expected = stats.t.interval(0.95, 9, values.mean(), stats.sem(values))
    result = summary(values)
    assert (result.low, result.high) == pytest.approx(expected)


def test_one_value_has_no_spread():
    result = summary([7.0])
    assert (result.count, result.mean) == (1, 7.0)
    assert result.std is result.low is result.high is None


def test_interquartile_mean_by_hand():
    assert interquartile_mean([100, 1, 2, 3]) == 2.5
    assert interquartile_mean([1, 2, 9]) == 4.0
    assert interquartile_mean([[0, 3], [4, 5], [6, 7], [8, 1000]]) == 5.5


def test_interquartile_mean_is_rliables():
    assert interquartile_mean(np.array(SCORES)) == pytest.approx(RLIABLE_IQM, abs=1e-8)


def test_bootstrap_is_rliables():
    """To within a few times by how much its own two answers differ."""
    for theirs in RLIABLE_IQM_INTERVALS:
        assert bootstrap_interval(SCORES) == pytest.approx(theirs, abs=5)


def test_bootstrap_repeats():
    assert bootstrap_interval(SCORES) == bootstrap_interval(SCORES)


def test_bootstrap_keeps_tasks_apart():
    """Resampling over tasks would make the mean of 7 ones and 2 thousands vary."""
    assert bootstrap_interval([[1.0] * 10, [1000.0] * 5]) == pytest.approx((223, 223))


def test_few_runs_of_a_task_give_no_interval():
    """Theirs would hold the true mean too rarely to be called 95 % intervals."""
    assert bootstrap_interval([[1.0, 2.0, 3.0, 4.0, 5.0], [3.0] * 4]) is None
    assert bootstrap_interval([[1.0, 2.0, 3.0, 4.0, 5.0]]) is not None
