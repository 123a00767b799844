"""What a run tells about the errors of `clion_tf.analysis.theory.bounds`.

No estimate here is exactly the quantity in the theory. docs/theory.md says what each one is, and
whether it is a lower or an upper bound.
"""

import logging
import pathlib
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from scipy.special import expit, log_expit, logsumexp
from scipy.stats import chi2
from tensorflow_probability import distributions as tfd
from tqdm import tqdm

from clion_tf.agents.clion import Agent
from clion_tf.analysis.theory import bounds as theory
from clion_tf.command import UsageError
from clion_tf.learning import evaluator
from clion_tf.learning import noise as noises
from clion_tf.learning.noise import Noise
from clion_tf.learning.preprocessing import preprocess
from clion_tf.replay.episode_files import DAMAGE, Episode, files_in, load_episode

SAMPLES = 32  # Of posterior and prior for each transition.
ACTIONS = 999  # Of the policy in each state; no gap above 1 - 1 / 1000 is found.

_log = logging.getLogger(__name__)


class Transitions(NamedTuple):
    """Samples at the T - 1 transitions of an episode, float64.

    `real_rank`, `fake_rank`: the probability, under the prior, of being nearer to the prior's mean
    than a sample of the posterior (real) or of the prior (fake; then uniform on [0, 1]).
    """

    log_ratio: np.ndarray  # [K, T-1], log prior - log posterior at samples of the posterior,
    fake_log_ratio: np.ndarray  # and at samples of the prior.
    real_rank: np.ndarray  # [K, T-1]
    fake_rank: np.ndarray  # [K, T-1]
    kl: np.ndarray  # [T-1], KL[posterior || prior] in nats.
    real_logit: np.ndarray | None  # [K, T-1], the evaluator's; None without one.
    fake_logit: np.ndarray | None
    rank: np.ndarray  # [T-1] in [0, 1], the recorded action's density among the policy's own.


class Errors(NamedTuple):
    """Estimates over time; see docs/theory.md. None where an evaluator is needed but missing."""

    policy: float
    model: float
    model_pinsker: float
    model_floor: float
    evaluator_gap: float | None = None
    weighted: float | None = None
    weighted_floor: float | None = None
    weighted_integral: float | None = None


class Estimates(NamedTuple):
    """Of a run."""

    replay: Errors  # Over the older episodes; its `policy` is over all of them.
    newest: Errors  # Over the newest episode, for eps'_m and eps'_w.
    episodes: dict[int, Errors]  # By number.
    reward_max: float  # The largest |reward| of an agent step in them, a lower bound of r_max.


def episode_files(folder: pathlib.Path, known: int, wanted: int) -> dict[int, pathlib.Path]:
    """{number: file} of up to `wanted` of the first `known` episodes, spread, with the newest.

    Raises UsageError if there are not two of them.
    """
    found = {index: path for index, _, path in files_in(folder)[0] if index < known}
    if len(found) < 2:
        raise UsageError(f"{folder}: needs two episodes that the checkpoint knows")
    numbers = sorted(found)
    chosen = np.linspace(0, len(numbers) - 1, max(2, min(wanted, len(numbers))))
    return {numbers[i]: found[numbers[i]] for i in chosen.round().astype(int)}


def estimate(agent: Agent, seed: int, files: dict[int, pathlib.Path]) -> Estimates:
    """The estimates of a checkpoint's agent from `episode_files`, damaged ones left out.

    `seed` is that of the samples. Raises UsageError if the newest or all others are damaged.
    """
    found, reward_max = {}, 0.0
    for number, path in tqdm(files.items(), unit="episode", leave=False, disable=None):
        try:
            episode = load_episode(path)
        except (*DAMAGE, PermissionError) as error:
            _log.warning("%s: left out (%s)", path, error)
            continue
        noise = noises.SeededNoise(tf.constant(noises.key(seed, "horizon", number)))
        found[number] = transitions(agent, episode, noise)
        reward_max = max(reward_max, float(np.abs(episode["reward"]).max()))
    newest = max(files)
    if newest not in found or len(found) < 2:
        raise UsageError(f"{files[newest].parent}: the newest episode or all others are damaged")
    ratio = agent.config.weighting == "ratio"
    each = {number: errors(one, ratio) for number, one in found.items()}
    older = [number for number in found if number != newest]
    counts = [found[number].kl.size for number in older]  # The mean is over transitions.
    columns = zip(*(each[number] for number in older), strict=True)
    means = [None if None in c else float(np.average(c, weights=counts)) for c in columns]
    ranks = np.concatenate([one.rank for one in found.values()])
    replay = Errors(*means)._replace(policy=theory.threshold_gap(ranks[:, None]))
    return Estimates(replay, each[newest], each, reward_max)


def transitions(
    agent: Agent, episode: Episode, noise: Noise, samples: int = SAMPLES
) -> Transitions:
    """Posterior, prior, evaluator and policy along an episode of T >= 2 frames.

    z_0 --a_1--> z_1 --a_2--> z_2 ...    a_{t+1}: recorded, as the policy chose it in z_t
    """
    models, rssm = agent.models, agent.models.rssm
    seen = {key: tf.constant(episode[key][None]) for key in agent.observed}
    action = tf.constant(episode["action"][None])
    eps = noise.normal("posterior", [*action.shape[:2], rssm.stoch_size])
    post, prior = rssm.observe(models.encode(preprocess(seen)), action, eps)
    feat, action = rssm.get_feat(post)[0, :-1], action[0, 1:]
    post, prior = ({key: value[0, 1:] for key, value in x.items()} for x in (post, prior))
    shape = [samples, action.shape[0], rssm.stoch_size]
    real = post["mean"] + post["std"] * noise.normal("real", shape)
    fake = prior["mean"] + prior["std"] * noise.normal("fake", shape)
    before, after = rssm.get_dist(prior), rssm.get_dist(post)
    judged = (None, None)
    if models.evaluator is not None:
        judged = (_logit(agent, feat, action, s, post["deter"]) for s in (real, fake))
    return Transitions(
        *(_float64(before.log_prob(s) - after.log_prob(s)) for s in (real, fake)),
        *(chi2.cdf(_distance(sample, prior), rssm.stoch_size) for sample in (real, fake)),
        _float64(tfd.kl_divergence(after, before)),
        *judged,
        rank=action_ranks(agent, feat, action, noise),
    )


def _distance(sample: tf.Tensor, state: dict[str, tf.Tensor]) -> np.ndarray:
    """Squared distance [K, N] of s [K, N, S] from a state's mean, in its standard deviations."""
    sample, mean, std = (_float64(x) for x in (sample, state["mean"], state["std"]))
    return (((sample - mean) / std) ** 2).sum(-1)


def _logit(agent: Agent, feat, action, stoch, deter) -> np.ndarray:
    """The evaluator's of [z_t, a_t, z_{t+1}] for samples of s_{t+1} [K, N, S] -> [K, N]."""
    count = stoch.shape[0]
    feat, action, deter = (tf.repeat(x[None], count, 0) for x in (feat, action, deter))
    after = agent.models.rssm.get_feat({"stoch": stoch, "deter": deter})
    return _float64(agent.models.evaluator(evaluator.transitions(feat, action, after)).logits)


def action_ranks(agent: Agent, feat: tf.Tensor, action: tf.Tensor, noise: Noise) -> np.ndarray:
    """Share [N] of ACTIONS samples of the policy that are less dense than action [N, A].

    In features [N, F]. Ties are broken at random, so the policy's own actions have uniform ranks.
    """
    policy = agent.models.actor(feat)
    standard = noise.of_actions(agent.discrete, "own", [ACTIONS, *action.shape])
    own = _float64(policy.log_prob(policy.sample_from(standard)))
    recorded = _float64(policy.log_prob(action))
    lot = (_float64(noise.uniform("lot", recorded.shape)) + 1) / 2
    less, equal = (own < recorded).sum(0), (own == recorded).sum(0)
    return (less + lot * (equal + 1)) / (ACTIONS + 1)


def _float64(x: tf.Tensor) -> np.ndarray:
    return tf.cast(x, tf.float64).numpy()


def errors(found: Transitions, ratio: bool) -> Errors:
    """The estimates of one episode; weights are D / (1 - D) if `ratio`, else D."""
    basic = Errors(
        policy=theory.threshold_gap(found.rank[:, None]),
        model=float(theory.sampled_total_variation(found.log_ratio).mean()),
        model_pinsker=float(theory.pinsker(found.kl).mean()),
        model_floor=theory.threshold_gap(found.real_rank.T),
    )
    if found.real_logit is None:
        return basic
    gap = (expit(found.real_logit) - expit(found.fake_logit)).mean()
    # log W of eq. 5.
    real, fake = (x if ratio else log_expit(x) for x in (found.real_logit, found.fake_logit))
    log_ratio = found.log_ratio + real  # log of w p_theta / p, but for w's scale.
    # All samples together are samples of the mixture m = (p + p_theta) / 2, so that no tail of
    # w p_theta is missed. `density` is log(p_theta / (2 m)), the log importance weight - log 2.
    density = log_expit(np.concatenate([found.log_ratio, found.fake_log_ratio]))
    every = np.concatenate([real, fake]) + density
    mass, mean = logsumexp(every, 0) - logsumexp(density, 0), logsumexp(every) - logsumexp(density)
    overlap = np.exp(np.minimum(log_ratio - mean, 0.0)).mean(0)
    ranks, weight = np.concatenate([found.real_rank, found.fake_rank]), np.exp(every - mass)
    return basic._replace(
        evaluator_gap=max(0.0, float(gap)),
        weighted=float(theory.sampled_total_variation(log_ratio - mass).mean()),
        weighted_floor=theory.threshold_gap(found.real_rank.T, ranks.T, weight.T),
        weighted_integral=float((np.exp(mass - mean) + 1 - 2 * overlap).mean()),
    )
