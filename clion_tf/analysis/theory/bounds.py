"""Bounds on the error of imagined returns, and the rollout length that minimises them.

CLION section 3.3 and appendix A.1, after Janner et al., "When to Trust Your Model" (2019).
Derived, with what is inconsistent in print, in docs/theory_derivation.md.

Arguments are numbers or arrays that broadcast; results are float64. Errors have no unit: total
variations TV(p, q) = 1/2 integral |p - q|, in [0, 1]. `k` counts agent steps, `discount` is that of
one agent step, in (0, 1), `reward_max` the largest |reward| of one. Bounds are in units of return,
a discounted sum of rewards. Functions raise ValueError, one line, outside their domain.
"""

import numpy as np
from numpy.typing import ArrayLike

# Returns.


def branched_rollout_bound(
    k: ArrayLike, discount: ArrayLike, reward_max: ArrayLike, *,
    model_before: ArrayLike = 0.0, policy_before: ArrayLike = 0.0,
    model_after: ArrayLike = 0.0, policy_after: ArrayLike = 0.0,
) -> np.ndarray:  # fmt: skip
    """Eq. 15: how far the returns of two k-branched rollouts can be apart.

    Both take a state of their own past and roll k steps from there (lemma 3 of
    docs/theory_derivation.md).

    Args:
      k: steps after the branch, whole, 0 or more.
      model_before, policy_before: TV of their dynamics and policies before the branch.
      model_after, policy_after: the same after it.
    """
    k, discount, reward_max = _setting(k, discount, reward_max)
    before = _total_variation("model_before", model_before)
    before = before + _total_variation("policy_before", policy_before)
    after = _total_variation("model_after", model_after)
    after = after + _total_variation("policy_after", policy_after)
    left = 1 - discount
    return 2 * reward_max * (
        discount ** (k + 1) * before / left**2
        + k * after / left
        + discount**k * np.asarray(policy_before) / left
        + np.asarray(policy_after) / left
    )  # fmt: skip


def returns_error_bound(
    k: ArrayLike, policy_error: ArrayLike, model_error: ArrayLike,
    discount: ArrayLike, reward_max: ArrayLike,
) -> np.ndarray:  # fmt: skip
    """Eq. 10: how much k-branched model rollouts can overrate the return (L1 + L2).

    Args:
      policy_error: eps_pi; model_error: eps'_m.
    """
    errors = {"policy_before": policy_error, "model_after": model_error}
    return branched_rollout_bound(k, discount, reward_max, **errors)


def largest_returns_error(discount: ArrayLike, reward_max: ArrayLike) -> np.ndarray:
    """2 r_max / (1 - gamma): no two returns are further apart, so larger bounds are vacuous."""
    _, discount, reward_max = _setting(0, discount, reward_max)
    return 2 * reward_max / (1 - discount)


# Rollout length.


def best_rollout_length(
    policy_error: ArrayLike, model_error: ArrayLike, discount: ArrayLike
) -> np.ndarray:
    """k* of eq. 14: the smallest k that minimises eq. 10 or 13.

        k* = max(0, ceil(ln(eps' / eps_pi) / ln gamma)),  positive exactly when eps' < eps_pi

    Where gamma^k* eps_pi = eps', k* + 1 is as good.

    Args:
      policy_error: eps_pi.
      model_error: eps'_m or eps'_w, 0 or more.

    Returns:
      whole numbers as float64, infinite where model_error is 0 and policy_error is not.
    """
    discount = _discount(discount)
    policy, model, discount = np.broadcast_arrays(
        _total_variation("policy_error", policy_error),
        _number("model_error", model_error, 0.0),
        discount,
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

    The share of real scores up to the threshold, less that of fake ones, or the reverse. Each
    half's threshold and direction are chosen on the other half, so that chance alone gives no gap.

    Args:
      real: [N, K] in [0, 1], N in time.
      fake: [N, J]; None for scores that are uniform on [0, 1].
      weight: [N, J] of the fake ones, as they count within their row.
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


def _setting(k, discount, reward_max) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    k = _number("k", k, 0.0)
    if not np.all(k == np.floor(k)):
        raise ValueError(f"k must be whole, not {k}")
    return k, _discount(discount), _number("reward_max", reward_max, 0.0)


def _discount(discount: ArrayLike) -> np.ndarray:
    discount = _number("discount", discount)
    if not np.all((discount > 0) & (discount < 1)):
        raise ValueError(f"discount must be in (0, 1), not {discount}")
    return discount


def _total_variation(name: str, value: ArrayLike) -> np.ndarray:
    return _number(name, value, 0.0, 1.0)


def _number(name: str, value: ArrayLike, low: float = -np.inf, high: float = np.inf) -> np.ndarray:
    array = np.asarray(value, np.float64)
    if not np.all(np.isfinite(array) & (array >= low) & (array <= high)):
        text = " ".join(str(array).split())
        raise ValueError(f"{name} must be finite and in [{low:g}, {high:g}], not {text}")
    return array
