"""Bounds on the error of imagined returns, and the rollout length that minimises them.

CLION section 3.3 and appendix A.1, after Janner et al., "When to Trust Your Model" (2019).
Derived, with what is inconsistent in print, in docs/theory_derivation.md.

Arguments are numbers or arrays that broadcast; results are float64. Errors are total variations
TV(p, q) = 1/2 integral |p - q|, in [0, 1]. `k` counts agent steps, `discount` is that of one agent
step, in (0, 1), `reward_max` the largest |reward| of one. Bounds are in units of return. Functions
raise ValueError, one line, outside their domain.
"""

import numpy as np
from numpy.typing import ArrayLike

# Returns.


def returns_error_bound(
    k: ArrayLike, policy_error: ArrayLike, model_error: ArrayLike,
    discount: ArrayLike, reward_max: ArrayLike,
) -> np.ndarray:  # fmt: skip
    """Eq. 10: how much k-branched model rollouts can overrate the return (L1 + L2).

        2 r_max [gamma^(k+1) eps_pi / (1-gamma)^2 + gamma^k eps_pi / (1-gamma) + k eps' / (1-gamma)]

    Args:
      k: steps after the branch, 0 or more.
      policy_error: eps_pi; model_error: eps'_m.
    """
    k, discount = number("k", k, 0.0), _discount(discount)
    policy = number("policy_error", policy_error, 0.0, 1.0)
    model = number("model_error", model_error, 0.0, 1.0)
    left = 1 - discount
    errors = discount ** (k + 1) * policy / left + discount**k * policy + k * model
    return 2 * number("reward_max", reward_max, 0.0) * errors / left


def largest_returns_error(discount: ArrayLike, reward_max: ArrayLike) -> np.ndarray:
    """2 r_max / (1 - gamma): no two returns are further apart, so larger bounds are vacuous."""
    return 2 * number("reward_max", reward_max, 0.0) / (1 - _discount(discount))


# Rollout length.


def best_rollout_length(
    policy_error: ArrayLike, model_error: ArrayLike, discount: ArrayLike
) -> np.ndarray:
    """k* of eq. 14: the smallest k that minimises eq. 10 or 13.

        k* = max(0, ceil(ln(eps' / eps_pi) / ln gamma)),  positive exactly when eps' < eps_pi

    Where gamma^k* eps_pi = eps', k* + 1 is as good. eps', `model_error`, is eps'_m or eps'_w.

    Returns:
      whole numbers as float64, infinite where model_error is 0 and policy_error is not.
    """
    policy, model, discount = np.broadcast_arrays(
        number("policy_error", policy_error, 0.0, 1.0),
        number("model_error", model_error, 0.0),
        _discount(discount),
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        # Differences of logarithms, as a quotient of errors can overflow.
        k = np.ceil((np.log(model) - np.log(policy)) / np.log(discount))
    k = np.where(model >= policy, 0.0, np.maximum(k, 1.0))
    # Rounding can put a tie on either side: k* is the first with gamma^k eps_pi <= eps'.
    k = k - ((k > 0) & (discount ** np.maximum(k - 1, 0) * policy <= model))
    return k + (discount**k * policy > model)


# Errors, from samples.


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

    The share of real scores [N, K] up to the threshold, less that of fake ones [N, J], or the
    reverse. Each half's threshold and direction are chosen on the other half, so that chance alone
    gives no gap. N is in time; fake ones count by weight within their row, and None is uniform.
    """
    if len(real) < 2:
        return 0.0
    grid = np.linspace(0.0, 1.0, 2001)
    halves = np.array_split(np.arange(len(real)), 2)
    differences = [
        _share(real, None, half, grid)
        - (grid if fake is None else _share(fake, weight, half, grid))
        for half in halves
    ]
    gaps = []
    for fitted, tested in (differences, differences[::-1]):
        best = np.abs(fitted).argmax()
        gaps.append(np.sign(fitted[best]) * tested[best])
    return max(0.0, float(np.mean(gaps)))


def _share(
    score: np.ndarray, weight: np.ndarray | None, rows: np.ndarray, grid: np.ndarray
) -> np.ndarray:
    """Share of scores [N, K] in some of the rows up to each threshold; each row counts the same."""
    score = score[rows]
    weight = np.ones_like(score) if weight is None else weight[rows]
    weight = weight / weight.sum(1, keepdims=True)
    places = np.searchsorted(grid, score).ravel()
    return np.bincount(places, weight.ravel(), grid.size + 1).cumsum()[: grid.size] / len(rows)


# Domains.


def _discount(discount: ArrayLike) -> np.ndarray:
    discount = number("discount", discount)
    if not np.all((discount > 0) & (discount < 1)):
        raise ValueError(f"discount must be in (0, 1), not {discount}")
    return discount


def number(name: str, value: ArrayLike, low: float = -np.inf, high: float = np.inf) -> np.ndarray:
    """Float64, finite and in [low, high]."""
    array = np.asarray(value, np.float64)
    if not np.all(np.isfinite(array) & (array >= low) & (array <= high)):
        text = " ".join(str(array).split())
        raise ValueError(f"{name} must be finite and in [{low:g}, {high:g}], not {text}")
    return array
