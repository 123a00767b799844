"""Bounds on the error of imagined returns, and the rollout length that minimises them.

CLION section 3.3 and appendix A.1, after Janner et al., "When to Trust Your Model" (2019).
Derived, with what is inconsistent in print, in docs/theory_derivation.md.

Arguments are numbers or arrays that broadcast; results are float64. Errors are total variations
TV(p, q) = 1/2 integral |p - q|, in [0, 1]. `k` counts agent steps, 0 or more; `discount` is that of
one, in (0, 1), and `reward_max` the largest |reward| of one. Bounds are in units of return.
"""

import numpy as np
from numpy.typing import ArrayLike

GRID = np.linspace(0.0, 1.0, 2001)  # Of thresholds.


def returns_error_bound(
    k: ArrayLike, policy_error: ArrayLike, model_error: ArrayLike,
    discount: ArrayLike, reward_max: ArrayLike,
) -> np.ndarray:  # fmt: skip
    """Eq. 10: how much k-branched model rollouts can overrate the return (L1 + L2).

        2 r_max [gamma^(k+1) eps_pi / (1-gamma)^2 + gamma^k eps_pi / (1-gamma) + k eps' / (1-gamma)]

    `k` steps follow the branch; `policy_error` is eps_pi, `model_error` eps'_m.
    """
    k, policy, model, discount = map(np.asarray, (k, policy_error, model_error, discount))
    left = 1 - discount
    errors = discount ** (k + 1) * policy / left + discount**k * policy + k * model
    return 2 * reward_max * errors / left


def largest_returns_error(discount: ArrayLike, reward_max: ArrayLike) -> np.ndarray:
    """2 r_max / (1 - gamma): no two returns are further apart, so larger bounds are vacuous."""
    return 2 * reward_max / (1 - discount)


def best_rollout_length(
    policy_error: ArrayLike, model_error: ArrayLike, discount: ArrayLike
) -> np.ndarray:
    """k* of eq. 14: the smallest k that minimises eq. 10 or 13.

        k* = max(0, ceil(ln(eps' / eps_pi) / ln gamma)),  positive exactly when eps' < eps_pi

    Where gamma^k* eps_pi = eps', k* + 1 is as good. eps' is `model_error`: eps'_m, or eps'_w, which
    may be above 1. Returns whole numbers as float64; infinity where eps' is 0 and eps_pi is not.
    """
    policy, model, discount = np.broadcast_arrays(policy_error, model_error, discount)
    with np.errstate(divide="ignore", invalid="ignore"):
        # Differences of logarithms, as a quotient of errors can overflow.
        k = np.ceil((np.log(model) - np.log(policy)) / np.log(discount))
    k = np.where(model >= policy, 0.0, np.maximum(k, 1.0))
    # Rounding can put a tie on either side: k* is the first with gamma^k eps_pi <= eps'.
    k = k - ((k > 0) & (discount ** np.maximum(k - 1, 0) * policy <= model))
    return k + (discount**k * policy > model)


def sampled_total_variation(log_ratio: ArrayLike) -> np.ndarray:
    """TV(p, q) = E_p[max(0, 1 - q / p)] from log q / p at samples of p, [K, ...] -> [...]."""
    return -np.expm1(np.minimum(log_ratio, 0.0)).mean(0)


def pinsker(kl: ArrayLike) -> np.ndarray:
    """min(1, sqrt(KL / 2)), which TV is at most; KL in nats."""
    return np.minimum(1.0, np.sqrt(np.maximum(kl, 0.0) / 2))


def threshold_gap(
    real: np.ndarray, fake: np.ndarray | None = None, weight: np.ndarray | None = None
) -> float:
    """How well one threshold tells real from fake scores: a lower bound of a TV, in [0, 1].

    The share of real scores [N, K] up to the threshold minus that of fake scores [N, J], or the
    reverse. Rows are in time order; each half's threshold and sign come from the other half, so
    that chance gives no gap. Fakes have `weight` [N, J] in their row; fake=None: uniform on [0, 1].
    """
    if len(real) < 2:
        return 0.0
    differences = []
    for half in np.array_split(np.arange(len(real)), 2):
        others = GRID if fake is None else _share(fake[half], weight[half])
        differences.append(_share(real[half], np.ones_like(real[half])) - others)
    gaps = []
    for fitted, tested in (differences, differences[::-1]):
        best = np.abs(fitted).argmax()
        gaps.append(np.sign(fitted[best]) * tested[best])
    return max(0.0, float(np.mean(gaps)))


def _share(score: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Share of scores [N, K] up to each of GRID; each row counts the same."""
    weight = weight / weight.sum(1, keepdims=True)
    places = np.searchsorted(GRID, score).ravel()
    return np.bincount(places, weight.ravel(), GRID.size + 1).cumsum()[: GRID.size] / len(score)
