"""The bounds of section 3.3 and appendix A.1: by hand, by properties, and on random finite MDPs."""

import numpy as np
import pytest
import theory_of_weights as weights
from scipy import stats

from clion_tf.analysis.theory import bounds as theory

K = np.arange(40)


def random_errors(count, seed=0):
    """eps_pi, eps', gamma [count]: gammas from nearly 0 to nearly 1, errors over decades."""
    rng = np.random.default_rng(seed)
    gamma = np.concatenate(
        [rng.uniform(0.02, 0.98, count // 2), 1 - 10 ** rng.uniform(-3, -1, count // 2)]
    )
    policy, model = 10 ** rng.uniform(-4, 0, (2, count))
    return policy, model, gamma


# By hand.


def test_eq_15_by_hand():
    # gamma = 1/2, k = 1, r_max = 3: 2 * 3 * (1/4 / (1/4) * (0.1 + 0.2) + 1 / (1/2) * (0.05 + 0.15)
    #                                      + 1/2 / (1/2) * 0.2 + 1 / (1/2) * 0.15)
    #                              = 6 * (0.3 + 0.4 + 0.2 + 0.3) = 7.2
    found = weights.branched_rollout_bound(
        1, 0.5, 3.0, model_before=0.1, policy_before=0.2, model_after=0.05, policy_after=0.15
    )
    assert found == pytest.approx(7.2)


def test_eqs_10_21_and_22_by_hand():
    # gamma = 1/2, k = 2, r_max = 1, eps_pi = 0.1, eps'_m = 0.05:
    # L1 = 2 * (1/8 * 0.1 / (1/4) + 1/4 * 0.1 / (1/2)) = 2 * (0.05 + 0.05) = 0.2
    # L2 = 2 * 2 * 0.05 / (1/2) = 0.4
    assert weights.policy_shift_bound(2, 0.1, 0.5, 1.0) == pytest.approx(0.2)
    assert weights.model_rollout_bound(2, 0.05, 0.5, 1.0) == pytest.approx(0.4)
    assert theory.returns_error_bound(2, 0.1, 0.05, 0.5, 1.0) == pytest.approx(0.6)


def test_eq_13_by_hand():
    # eps'_w = 0.03 + 0.1 * 0.2 = 0.05, the rest as above.
    assert weights.error_under_new_policy(0.03, 0.1, 0.2) == pytest.approx(0.05)
    found = weights.weighted_returns_error_bound(2, 0.1, 0.03, 0.2, 0.5, 1.0)
    assert found == pytest.approx(0.6)


def test_summed_and_largest_by_hand():
    # 2 * (1/4 * 0.1 + 1/2 * 3/4 * 0.05) / (1/4) = 8 * 0.04375
    assert weights.summed_returns_error_bound(2, 0.1, 0.05, 0.5, 1.0) == pytest.approx(0.35)
    assert theory.largest_returns_error(0.5, 3.0) == pytest.approx(12.0)


def test_eq_14_by_hand():
    # gamma^k * 0.4 = 0.4, 0.2, 0.1, 0.05: the first that is at most eps'.
    model = [0.4, 0.39, 0.2, 0.11, 0.1, 0.09, 0.0]
    found = theory.best_rollout_length(0.4, model, 0.5)
    np.testing.assert_array_equal(found, [0, 1, 1, 2, 2, 3, np.inf])


def test_weights_by_hand():
    # p = (1/2, 1/2), p_theta = (0.6, 0.4): ratios 5/6 and 5/4, TV 0.1.
    world, model = [0.5, 0.5], [0.6, 0.4]
    assert weights.total_variation(world, model) == pytest.approx(0.1)
    assert weights.weight_error(world, model, [1.0, 1.0]) == pytest.approx(0.25)
    assert weights.weight_error(world, model, [5 / 6, 5 / 4]) == pytest.approx(0.0, abs=1e-12)
    np.testing.assert_allclose(weights.reweighted(model, [1.0, 3.0]), [1 / 3, 2 / 3])


# Properties.


def test_the_first_two_terms_of_eq_13_are_one():
    policy, _, gamma = random_errors(200)
    k = K[:, None]
    found = weights.policy_shift_bound(k, policy, gamma, 3.0)
    np.testing.assert_allclose(found, 6 * gamma**k * policy / (1 - gamma) ** 2, rtol=1e-12)


def test_eq_10_is_eq_15_without_the_other_errors():
    policy, model, gamma = random_errors(50)
    whole = weights.branched_rollout_bound(7, gamma, 2.0, policy_before=policy, model_after=model)
    np.testing.assert_allclose(theory.returns_error_bound(7, policy, model, gamma, 2.0), whole)


def test_eq_13_reduces_to_eq_10():
    policy, model, gamma = random_errors(50)
    expected = theory.returns_error_bound(K[:, None], policy, model, gamma, 2.0)
    slope = 0.25 * model / policy  # So that eps_w + eps_pi * slope = eps'_m.
    found = weights.weighted_returns_error_bound(
        K[:, None], policy, 0.75 * model, slope, gamma, 2.0
    )
    np.testing.assert_allclose(found, expected)
    assert np.all(expected[1:] < weights.weighted_returns_error_bound(
        K[1:, None], policy, 1.01 * model, 0.0, gamma, 2.0
    ))  # fmt: skip


@pytest.mark.parametrize("k", [0, 1, 15])
@pytest.mark.parametrize("name", ["model_before", "policy_before", "model_after", "policy_after"])
def test_monotone_in_each_error(name, k):
    errors = np.linspace(0, 1, 11)
    bound = weights.branched_rollout_bound(k, 0.9, 1.0, **{name: errors})
    rises = np.diff(bound)
    if (name, k) == ("model_after", 0):
        np.testing.assert_array_equal(rises, 0)  # No step of the model is taken.
    else:
        assert np.all(rises > 0)


def test_the_summed_bound_is_the_smaller_one_and_falls_or_rises_for_ever():
    policy, model, gamma = random_errors(200)
    loose = theory.returns_error_bound(K[:, None], policy, model, gamma, 1.0)
    summed = weights.summed_returns_error_bound(K[:, None], policy, model, gamma, 1.0)
    assert np.all(summed <= loose * (1 + 1e-12))
    assert np.all(summed[2:] < loose[2:])
    falls = gamma * model < policy
    early = np.diff(summed[:5], axis=0)
    assert np.all(early[:, falls] < 0) and np.all(early[:, ~falls] >= 0)


# k*.


def brute_force(policy, model, gamma, longest):
    """The first of the smallest values of eq. 10 over k = 0 ... longest, and all the values."""
    bound = theory.returns_error_bound(np.arange(longest + 1), policy, model, gamma, 1.0)
    return int(np.argmin(bound)), bound


def test_k_star_is_the_minimum_found_by_trying():
    found = []
    for policy, model, gamma in zip(*random_errors(300, seed=1), strict=True):
        k = int(theory.best_rollout_length(policy, model, gamma))
        best, bound = brute_force(policy, model, gamma, k + 50)
        # Two lengths can be equally good to rounding.
        assert k == best or bound[k] == pytest.approx(bound[best], rel=1e-13)
        assert (k > 0) == (model < policy)
        found.append(k)
    assert found.count(0) > 50 and max(found) > 1000  # Both kinds were tried.


@pytest.mark.parametrize("gamma", [0.25, 0.5, 0.9, 0.97, 0.99, 0.999])
@pytest.mark.parametrize("k", [1, 2, 3, 10, 70])
def test_of_two_lengths_equally_good_k_star_is_the_shorter(gamma, k):
    policy = 0.5
    model = gamma**k * policy
    bound = theory.returns_error_bound([k, k + 1], policy, model, gamma, 1.0)
    assert bound[0] == pytest.approx(bound[1], rel=1e-12)
    assert theory.best_rollout_length(policy, model, gamma) == k
    assert theory.best_rollout_length(policy, model * (1 + 1e-9), gamma) == k
    assert theory.best_rollout_length(policy, model * (1 - 1e-9), gamma) == k + 1


def test_k_star_at_the_borders():
    k_star = theory.best_rollout_length
    assert k_star(0.5, 0.0, 0.99) == np.inf  # The bound falls for ever.
    assert np.all(np.diff(theory.returns_error_bound(K, 0.5, 0.0, 0.99, 1.0)) < 0)
    assert k_star(0.0, 0.1, 0.99) == 0
    assert k_star(0.0, 0.0, 0.99) == 0  # All are equally good.
    assert np.ptp(theory.returns_error_bound(K, 0.0, 0.0, 0.99, 1.0)) == 0
    assert k_star(0.3, 0.3, 0.99) == 0
    assert k_star(0.5, 3.0, 0.99) == 0  # eps'_w may be above 1.
    # gamma near 0: one step removes the old policy; near 1: ln(1/2) / ln(1 - 1e-6) = 693146.8...
    assert k_star(1.0, 1e-3, 1e-6) == 1
    assert k_star(1.0, 0.5, 1 - 1e-6) == 693147
    assert k_star(1.0, np.nextafter(1.0, 0.0), 1e-3) == 1


def test_k_star_of_arrays_is_that_of_their_numbers():
    policy, model, _ = random_errors(20)
    found = theory.best_rollout_length(policy[:, None], model, 0.9)
    assert found.shape == (20, 20) and found.dtype == np.float64
    assert found[3, 7] == theory.best_rollout_length(policy[3], model[7], 0.9)


# The bounds hold, on MDPs small enough to be solved.

STATES, ACTIONS = 4, 3


def distributions(rng, *shape):
    return rng.dirichlet(np.full(shape[-1], 0.7), size=shape[:-1])


def near(rng, p, amount):
    return (1 - amount) * p + amount * distributions(rng, *p.shape)


def chain(dynamics, policy):
    """P[s, s'] of dynamics [S, A, S] under a policy [S, A]."""
    return np.einsum("sa,sat->st", policy, dynamics)


def branched_return(start, reward, gamma, before, after, k):
    """Exact return of a k-branched rollout: (dynamics, policy) before and after the branch.

    The state at time t >= k has t - k steps before the branch and k after it, at time t < k all
    t after it; the action there is the later policy's, for k = 0 the earlier's.
    """
    first, then = chain(*before), chain(*after)
    policy = after[1] if k else before[1]
    expected = (policy * reward).sum(1)
    total = sum(gamma**t * start @ np.linalg.matrix_power(then, t) @ expected for t in range(k))
    visits = start @ np.linalg.inv(np.eye(len(first)) - gamma * first)
    return total + gamma**k * visits @ np.linalg.matrix_power(then, k) @ expected


def worst(p, q):
    return weights.total_variation(p, q).max()


def random_mdp(rng):
    """start, reward, and (world, model), (old policy, new policy), near each other or not."""
    amount = 10 ** rng.uniform(-3, 0, 2)
    world, old = distributions(rng, STATES, ACTIONS, STATES), distributions(rng, STATES, ACTIONS)
    model, new = near(rng, world, amount[0]), near(rng, old, amount[1])
    reward = rng.uniform(-1, 1, (STATES, ACTIONS))
    reward[0, 0], reward[1, 1] = 1.0, -1.0
    return distributions(rng, STATES), reward, (world, model), (old, new)


def test_eqs_10_and_15_hold_on_random_mdps():
    tightest = 0.0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        start, reward, (world, model), (old, new) = random_mdp(rng)
        gamma = rng.choice([0.3, 0.9, 0.99])
        policy_error, model_error = worst(old, new), worst(world, model)
        true = branched_return(start, reward, gamma, (world, new), (world, new), 0)
        for k in (0, 1, 2, 5, 20):
            imagined = branched_return(start, reward, gamma, (world, old), (model, new), k)
            arguments = (k, policy_error, model_error, gamma, 1.0)
            summed = weights.summed_returns_error_bound(*arguments)
            assert abs(imagined - true) <= summed
            assert summed <= theory.returns_error_bound(*arguments) * (1 + 1e-12)
            tightest = max(tightest, abs(imagined - true) / summed)
            # Everything differs, on both sides of the branch.
            other = branched_return(start, reward, gamma, (model, new), (world, old), k)
            bound = weights.branched_rollout_bound(
                k, gamma, 1.0, model_before=model_error, policy_before=policy_error,
                model_after=model_error, policy_after=policy_error,
            )  # fmt: skip
            assert abs(other - imagined) <= bound
    assert tightest > 0.3


def test_the_bounds_are_reached():
    """States good and bad, rewards 1 and -1, and no way back from bad: every error counts twice."""
    tiny, gamma = 1e-7, 0.9
    stays = np.array([[[1.0, 0.0], [0.0, 1.0]], [[0.0, 1.0], [0.0, 1.0]]])  # Action 1 leaves.
    leaks = np.array([[[1 - tiny, tiny], [0.0, 1.0]], [[0.0, 1.0], [0.0, 1.0]]])
    new, old = np.array([[1.0, 0.0]] * 2), np.array([[1 - tiny, tiny]] * 2)
    start, reward = np.array([1.0, 0.0]), np.array([[1.0] * 2, [-1.0] * 2])
    true = branched_return(start, reward, gamma, (stays, new), (stays, new), 0)
    for k in (1, 2, 15):
        # The model's errors: all of eq. 10's second part, once it is summed over time.
        imagined = branched_return(start, reward, gamma, (stays, new), (leaks, new), k)
        bound = weights.summed_returns_error_bound(k, 0.0, tiny, gamma, 1.0)
        assert true - imagined == pytest.approx(bound, rel=1e-4)
        # The policy's errors: eq. 21 but for one factor gamma.
        imagined = branched_return(start, reward, gamma, (stays, old), (stays, new), k)
        bound = weights.policy_shift_bound(k, tiny, gamma, 1.0)
        assert true - imagined == pytest.approx(gamma * bound, rel=1e-4)


def test_eq_13_holds_for_the_reweighted_model():
    for seed in range(40):
        rng = np.random.default_rng(seed)
        start, reward, (world, model), (old, new) = random_mdp(rng)
        ratio = world / model
        weight = np.maximum(ratio + rng.uniform(-0.3, 0.3, ratio.shape), 0.0)
        error = weights.weight_error(world, model, weight).max()
        better = weights.reweighted(model, weight)
        assert worst(world, better) <= error <= 0.3 + 1e-9
        true = branched_return(start, reward, 0.9, (world, new), (world, new), 0)
        for k in (0, 1, 5):
            imagined = branched_return(start, reward, 0.9, (world, old), (better, new), k)
            bound = weights.weighted_returns_error_bound(k, worst(old, new), error, 0.0, 0.9, 1.0)
            assert abs(imagined - true) <= bound


def test_weights_of_one_give_a_bound_that_is_no_smaller_than_eq_10():
    """Without an evaluator eps_w is at least twice eps_m."""
    rng = np.random.default_rng(0)
    world, model = distributions(rng, 500, STATES), distributions(rng, 500, STATES)
    error = weights.weight_error(world, model, np.ones_like(model))
    assert np.all(error >= 2 * weights.total_variation(world, model) - 1e-12)


# Where the print goes wrong.


def test_the_lemma_fails_with_the_kl_that_it_prints():
    """Eq. 15 needs total variations; small KL divergences are much smaller than those."""
    world = np.full((2, 1, 2), 0.5)
    model = world + np.array([0.01, -0.01])
    policy, start = np.ones((2, 1)), np.array([0.5, 0.5])
    reward = np.array([[1.0], [-1.0]])
    kl = (world * np.log(world / model)).sum(-1).max()
    gamma, k = 0.9, 1
    true = branched_return(start, reward, gamma, (world, policy), (world, policy), k)
    imagined = branched_return(start, reward, gamma, (world, policy), (model, policy), k)
    assert abs(true - imagined) > 10 * weights.model_rollout_bound(k, kl, gamma, 1.0)
    tv = worst(world, model)
    assert tv == pytest.approx(0.01) and tv <= np.sqrt(kl / 2)
    assert abs(true - imagined) <= weights.model_rollout_bound(k, tv, gamma, 1.0)


def test_a_small_weight_error_says_nothing_about_the_model_itself():
    """ "eps_m could be bounded by eps_w" (A.1): with the exact ratio eps_w is 0, eps_m is not."""
    world, model = np.array([0.9, 0.1]), np.array([0.1, 0.9])
    weight = world / model
    assert weights.weight_error(world, model, weight) == pytest.approx(0.0, abs=1e-12)
    assert weights.total_variation(world, model) == pytest.approx(0.8)
    np.testing.assert_allclose(weights.reweighted(model, weight), world)


def test_the_best_evaluator_of_eq_4_can_make_the_model_worse():
    """It is 1 where p > p_theta and 0 elsewhere, which is no density ratio."""
    world, model = np.array([0.5, 0.5]), np.array([0.6, 0.4])
    scores = np.stack(np.meshgrid(*[np.linspace(0, 1, 11)] * 2), -1).reshape(-1, 2)
    best = scores[np.argmax(scores @ (world - model))]
    np.testing.assert_array_equal(best, [0.0, 1.0])
    assert weights.total_variation(world, weights.reweighted(model, best)) == pytest.approx(0.5)
    # The optimum of binary cross-entropy, D = p / (p + p_theta), gives the ratio D / (1 - D).
    d = world / (world + model)
    np.testing.assert_allclose(weights.reweighted(model, d / (1 - d)), world)


def test_weights_of_the_first_state_alone_change_nothing():
    """w(s) as printed: one factor for all next states, which normalising takes away."""
    model = distributions(np.random.default_rng(1), 5, STATES)
    weight = np.array([0.1, 0.5, 1.0, 2.0, 7.0])[:, None] * np.ones(STATES)
    np.testing.assert_allclose(weights.reweighted(model, weight), model)


# Errors from samples.


def test_sampled_total_variation():
    # q / p = 1, 1/2, more than 1, 0: lost are 0, 1/2, 0, 1 of four.
    found = theory.sampled_total_variation(np.array([[0.0], [np.log(0.5)], [5.0], [-np.inf]]))
    np.testing.assert_allclose(found, [0.375])
    # Normals of variance 1 whose means are d apart: TV = 2 Phi(d / 2) - 1.
    x = np.random.default_rng(0).normal(size=(200_000, 1))
    d = np.array([0.1, 1.0, 6.0])
    found = theory.sampled_total_variation(d * x - d**2 / 2)
    np.testing.assert_allclose(found, 2 * stats.norm.cdf(d / 2) - 1, atol=3e-3)
    assert np.all(found <= theory.pinsker(d**2 / 2) + 3e-3)


def test_pinsker_by_hand():
    np.testing.assert_allclose(theory.pinsker([0.0, 0.02, 2.0, 8.0]), [0.0, 0.1, 1.0, 1.0])


def test_threshold_gap_by_hand():
    rng = np.random.default_rng(0)
    low, flat = rng.uniform(0, 0.5, (500, 20)), rng.uniform(size=(500, 20))
    assert theory.threshold_gap(np.zeros((4, 1))) == 1.0
    # All below 1/2, where half of the uniform ones are; the same from above.
    assert theory.threshold_gap(low) == pytest.approx(0.5, abs=0.01)
    assert theory.threshold_gap(1 - low) == pytest.approx(0.5, abs=0.01)
    assert theory.threshold_gap(low, flat, np.ones_like(flat)) == pytest.approx(0.5, abs=0.02)
    # Weights that leave of the uniform ones those below 1/2.
    assert theory.threshold_gap(low, flat, (flat < 0.5) + 1e-9) < 0.02
    assert theory.threshold_gap(np.zeros((1, 1))) == 0.0  # Nothing to choose a threshold on.


def test_threshold_gap_of_chance_is_none():
    """One half's best threshold is no better than others on the other half."""
    rng = np.random.default_rng(0)
    found = [theory.threshold_gap(rng.uniform(size=(40, 1))) for _ in range(300)]
    assert np.mean(found) < 0.05
    in_sample = [stats.kstest(rng.uniform(size=40), "uniform").statistic for _ in range(300)]
    assert np.mean(in_sample) > 0.1
    # What the halves say differently is no gap: all low, then all high.
    assert theory.threshold_gap(np.repeat([0.1, 0.9], 50)[:, None]) == 0.0


# Domains.


def test_outside_the_domain():
    for bad in (
        lambda: weights.error_under_new_policy(0.1, 0.5, -1.0),
        lambda: weights.weighted_returns_error_bound(1, 0.1, np.inf, 0.0, 0.9, 1.0),
        lambda: weights.total_variation([0.5, 0.6], [0.5, 0.5]),
        lambda: weights.total_variation(1.0, 1.0),
        lambda: weights.reweighted([1.0, 0.0], [0.0, 1.0]),
        lambda: weights.weight_error([1.0, 0.0], [0.5, 0.5], [-1.0, 1.0]),
    ):
        with pytest.raises(ValueError):
            bad()


def test_a_model_that_excludes_what_happens():
    assert weights.weight_error([0.5, 0.5, 0.0], [1.0, 0.0, 0.0], [1.0, 1.0, 1.0]) == np.inf
    assert weights.weight_error([1.0, 0.0], [1.0, 0.0], [1.0, 5.0]) == 0
