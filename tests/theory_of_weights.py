"""What section 3.3 and appendix A.1 say of weights, parts and summed errors, for tests of theory.

`clion_tf.analysis.theory.bounds` has what `clion-horizon` draws; this is the rest of
docs/theory.md, with arguments, results and errors as there.
"""

import numpy as np
from numpy.typing import ArrayLike


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
    k, discount = np.asarray(k, np.float64), np.asarray(discount)
    before = _tv("model_before", model_before) + _tv("policy_before", policy_before)
    after = _tv("model_after", model_after) + _tv("policy_after", policy_after)
    left = 1 - discount
    return 2 * reward_max * (
        discount ** (k + 1) * before / left**2
        + k * after / left
        + discount**k * np.asarray(policy_before) / left
        + np.asarray(policy_after) / left
    )  # fmt: skip


def _tv(name: str, value: ArrayLike) -> np.ndarray:
    return number(name, value, 0.0, 1.0)


def policy_shift_bound(
    k: ArrayLike, policy_error: ArrayLike, discount: ArrayLike, reward_max: ArrayLike
) -> np.ndarray:
    """Eq. 21: the part L1, from the old policy's states instead of the present one's.

    The first two terms of eqs. 10, 13 and 23; they add up to
    2 r_max gamma^k eps_pi / (1 - gamma)^2.

    Args:
      policy_error: eps_pi, TV of the policy that collected the data and the present one.
    """
    return branched_rollout_bound(k, discount, reward_max, policy_before=policy_error)


def model_rollout_bound(
    k: ArrayLike, model_error: ArrayLike, discount: ArrayLike, reward_max: ArrayLike
) -> np.ndarray:
    """Eq. 22: the part L2, from k steps of the model instead of the world.

    Args:
      model_error: eps'_m, TV of the model's and the world's step under the present policy.
    """
    return branched_rollout_bound(k, discount, reward_max, model_after=model_error)


def weighted_returns_error_bound(
    k: ArrayLike, policy_error: ArrayLike, weight_error: ArrayLike, slope: ArrayLike,
    discount: ArrayLike, reward_max: ArrayLike,
) -> np.ndarray:  # fmt: skip
    """Eqs. 13 and 23: eq. 10 for the reweighted model, eps'_w in the place of eps'_m.

    Args:
      policy_error: eps_pi.
      weight_error: eps_w of the data's policy, 0 or more, see `weight_error`; above 1 the bound
        still holds and says nothing.
      slope: d eps'_w / d eps_pi, see `error_under_new_policy`; 0 if weight_error is eps'_w.
    """
    k, discount = number("k", k, 0.0), np.asarray(discount)
    error = error_under_new_policy(weight_error, policy_error, slope)
    shift = policy_shift_bound(k, policy_error, discount, reward_max)
    return shift + 2 * reward_max * k * error / (1 - discount)


def summed_returns_error_bound(
    k: ArrayLike, policy_error: ArrayLike, model_error: ArrayLike,
    discount: ArrayLike, reward_max: ArrayLike,
) -> np.ndarray:  # fmt: skip
    """Eq. 10 with its model term summed over time (ours: docs/theory.md, "How loose it is").

    k is replaced by gamma (1 - gamma^k) / (1 - gamma) <= k. What is left falls with k wherever
    gamma model_error < policy_error, so it has no finite best length.
    """
    k, discount = number("k", k, 0.0), np.asarray(discount)
    shift = discount**k * _tv("policy_error", policy_error)
    rolled = discount * (1 - discount**k) * _tv("model_error", model_error)
    return 2 * reward_max * (shift + rolled) / (1 - discount) ** 2


def error_under_new_policy(
    error: ArrayLike, policy_error: ArrayLike, slope: ArrayLike
) -> np.ndarray:
    """eps'_m = eps_m + eps_pi d eps'_m / d eps_pi (section 3.3), and the same of eps'_w (eq. 13).

    Args:
      error: eps_m or eps_w, on the data's policy, 0 or more.
      slope: how fast it grows as the policy moves away from the data's.

    Raises:
      ValueError: also if the result is negative, which no error is.
    """
    error = number("error", error, 0.0)
    shifted = error + _tv("policy_error", policy_error) * number("slope", slope)
    return number("error + policy_error * slope", shifted, 0.0)


def total_variation(p: ArrayLike, q: ArrayLike) -> np.ndarray:
    """1/2 sum |p - q| of distributions [..., S] -> [...]."""
    return np.abs(_distribution("p", p) - _distribution("q", q)).sum(-1) / 2


def reweighted(model: ArrayLike, weight: ArrayLike) -> np.ndarray:
    """The distribution in proportion to w p_theta, [..., S] (ours: w p_theta adds up to 1 rarely).

    Args:
      model: p_theta(. | s, a), distributions [..., S]; weight: w >= 0, [..., S].
    """
    mass = number("weight", weight, 0.0) * _distribution("model", model)
    total = mass.sum(-1, keepdims=True)
    if not np.all(total > 0):
        raise ValueError("weight: every next state that the model expects has weight 0")
    return mass / total


def weight_error(world: ArrayLike, model: ArrayLike, weight: ArrayLike) -> np.ndarray:
    """eps_w of eqs. 11 and 16: the largest |w - p / p_theta| over next states.

    It bounds eq. 12's integral of |p - w p_theta|, and TV(p, `reweighted`).

    Args:
      world: p(. | s, a), distributions [..., S]; model: p_theta; weight: w >= 0, all [..., S].

    Returns:
      [...]; infinite where the world goes to a state that the model excludes.
    """
    world, model = _distribution("world", world), _distribution("model", model)
    weight = number("weight", weight, 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        # Where neither goes, w does not matter.
        ratio = np.where((world == 0) & (model == 0), weight, world / model)
    return np.abs(weight - ratio).max(-1)


def _distribution(name: str, value: ArrayLike) -> np.ndarray:
    array = number(name, value, 0.0)
    if array.ndim < 1 or not np.allclose(array.sum(-1), 1.0):
        raise ValueError(f"{name} must add up to 1 over its last axis")
    return array


def number(name: str, value: ArrayLike, low: float = -np.inf, high: float = np.inf) -> np.ndarray:
    """Float64, finite and in [low, high]; else ValueError."""
    array = np.asarray(value, np.float64)
    if not np.all(np.isfinite(array) & (array >= low) & (array <= high)):
        raise ValueError(f"{name} must be finite and in [{low:g}, {high:g}], not {array}")
    return array
