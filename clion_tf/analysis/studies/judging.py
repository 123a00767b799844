"""What an agent makes of sequences that it was not trained on, in numbers.

World model: `image_loss`, `vector_loss`, `reward_loss`, `kl` (nats a frame); `rotated_...`: the
same when each frame is rotated by U(-constraint_degrees, ...); `reward_error` and
`rotated_reward_error`: root mean squares.

What the terms of its loss ask for, in one batch of the sequences: `gradient_<term>` and
`gradient_cosine`, see gradient_shares.py.

Memory: `decoding_<sigma>`, squared error of images decoded from h with noise of that standard
deviation (eq. 2), summed over pixels; `memory_std`, the standard deviation of h's units over
frames, the scale that a sigma is to be seen against; `rotation_shift`, how far a rotation moves the
posterior mean of s, in its standard deviations (root mean square).

Imagination: `open_loop_error`, squared error of images predicted AHEAD steps ahead from the actions
alone, and `open_loop_reward_error`.

Critic: `value_error_<sigma>`, root mean square of its value less the discounted rewards that
followed to the sequence's end, where its value stands in for the rest, at starts with noise of that
standard deviation on h and s drawn anew (eq. 3); the spread of those returns is `return_std`.

Evaluator (where there is one): `auc`, the chance that it scores a real transition above an imagined
one (1/2: it cannot tell); `accuracy` at 0.5; `rank_correlation`, Spearman's, of an imagined
transition's score with how near it is to the real one beside it (1: the best order); `ess`, the
weights' effective sample size as a share, `weight_max`, and `augmented_share`, the weight that
augmented trajectories get, `augmented_share_first` that at the first weighted step.

Does weight follow what can be relied on (eq. 3's filter)? Augmented starts rolled open-loop with
the recorded actions: `augmented_rank`, Spearman's of a transition's score with how near its
prediction is to the posterior state that came, among transitions of one age, mean over ages; and
`augmented_image_rank`, the same with the squared error of the decoded image.
"""

import dataclasses
from collections.abc import Mapping

import numpy as np
import tensorflow as tf
from scipy import stats

from clion_tf.agents.clion import Agent
from clion_tf.analysis.studies import gradient_shares
from clion_tf.config import Config
from clion_tf.learning import (
    augmentation,
    behaviour,
    evaluator,
    reconstruction,
    update_metrics,
    weighting,
    world_model,
)
from clion_tf.learning import noise as noises
from clion_tf.learning.noise import Noise
from clion_tf.learning.returns import lambda_return
from clion_tf.learning.rotation import rotate
from clion_tf.learning.world_model import WorldModelLoss

SIGMAS = (0.0, 0.05, 0.1, 0.2, 0.4)
VALUE_SIGMAS = (0.0, 0.1, 0.4)
AHEAD = 15  # Steps, as far as imagination goes by default.
CONTEXT = 5  # Frames that are seen before.

Data = dict[str, tf.Tensor]


def judge(agent: Agent, config: Config, sequences: Mapping[str, np.ndarray]) -> dict[str, float]:
    """All of the above for sequences [N, L, ...]; noise from the run's seed."""
    data = {key: tf.constant(value) for key, value in sequences.items()}
    noise = noises.SeededNoise(tf.constant(noises.key(config.seed, "judge", 0)))
    world = world_model.loss(agent.models, agent.settings, data, noise)
    post = world.post
    found = {**_losses(world, data), "memory_std": _memory_std(post)}
    batch = {key: value[: config.batch_size] for key, value in data.items()}
    found |= gradient_shares.of_terms(agent, batch, noise)
    if "image" in data:
        errors = reconstruction.errors(agent.models, data, noise, SIGMAS, post=post)
        found |= {f"decoding_{s:g}": float(e) for s, e in zip(SIGMAS, errors, strict=True)}
        found |= _rotated(agent, config, data, post, noise)
        found |= _open_loop(agent, data, post, noise)
    found |= _critic(agent, data, post, noise)
    if agent.models.evaluator is not None:
        found |= _evaluator(agent, data, post, noise)
    return found


def _losses(world: WorldModelLoss, data: Data) -> dict[str, float]:
    found = {f"{key}_loss": float(world.terms[key]) for key in (*world.decoded, "reward")}
    reward_error = _rms(world.reward.mode() - data["reward"])
    return {**found, "kl": float(world.kl), "reward_error": reward_error}


def _memory_std(post: Data) -> float:
    deter = tf.cast(post["deter"], tf.float32).numpy().reshape(-1, post["deter"].shape[-1])
    return float(np.sqrt(deter.var(0).mean()))


def _rotated(agent: Agent, config: Config, data: Data, post: Data, noise: Noise) -> dict:
    frames = tf.reshape(data["image"], [-1, *data["image"].shape[2:]])
    degrees = config.constraint_degrees * noise.uniform("rotation", [frames.shape[0]])
    turned = tf.cast(tf.round(rotate(frames, degrees, config.rotation_fill)), tf.uint8)
    turned = {**data, "image": tf.reshape(turned, data["image"].shape)}
    world = world_model.loss(agent.models, agent.settings, turned, noise)
    shift = (world.post["mean"] - post["mean"]) / post["std"]
    named = {f"rotated_{key}": value for key, value in _losses(world, data).items()}
    return {**named, "rotation_shift": _rms(shift)}


def _open_loop(agent: Agent, data: Data, post: Data, noise: Noise) -> dict[str, float]:
    models, length = agent.models, data["action"].shape[1]
    context = min(CONTEXT, length - 1)
    last = min(context + AHEAD, length) - 1
    eps = noise.normal("openloop", [*data["action"][:, context:].shape[:2], models.rssm.stoch])
    start = {key: value[:, context - 1] for key, value in post.items()}
    prior = models.rssm.imagine(data["action"][:, context:], start, eps)
    at = {key: value[:, last - context] for key, value in prior.items()}
    image = reconstruction.decode(models, at) - reconstruction.observed(data)[:, last]
    reward = models.reward(models.rssm.get_feat(at)).mode() - data["reward"][:, last]
    error = tf.reduce_mean(tf.reduce_sum(tf.square(image), [1, 2, 3]))
    return {"open_loop_error": float(error), "open_loop_reward_error": _rms(reward)}


def _critic(agent: Agent, data: Data, post: Data, noise: Noise) -> dict[str, float]:
    """Of states that CONTEXT frames lead to, and that at least half of the sequence follows."""
    models, length = agent.models, data["action"].shape[1]
    steps = slice(min(CONTEXT, length // 2), length // 2 + 1)
    value = tf.transpose(models.value(models.rssm.get_feat(post)).mode())
    reward, discount = (tf.transpose(data[key]) for key in ("reward", "discount"))
    # Of lambda 1: nothing but rewards until the last frame.
    discount = agent.settings.discount * discount
    returns = lambda_return(reward[:-1], value[:-1], discount[:-1], value[-1], 1.0)[steps]
    start = augmentation.flatten({key: value[:, steps] for key, value in post.items()})
    returns = tf.reshape(tf.transpose(returns), [-1])
    count = returns.shape[0]
    found = {"return_std": float(tf.math.reduce_std(returns))}
    for sigma in VALUE_SIGMAS:
        standard = (
            noise.normal(f"value_{key}", [1, count, start[key].shape[-1]])
            for key in ("deter", "stoch")
        )
        both = augmentation.augment(start, 1, *standard, sigma, agent.settings.sigma2)
        there = {key: value[count:] for key, value in both.items()}
        predicted = models.value(models.rssm.get_feat(there)).mode()
        found[f"value_error_{sigma:g}"] = _rms(predicted - returns)
    return found


def _evaluator(agent: Agent, data: Data, post: Data, noise: Noise) -> dict[str, float]:
    models, settings = agent.models, agent.settings
    judged = evaluator.loss(models, settings, post, data["action"], noise)
    real, fake = (logit.numpy().ravel() for logit in (judged.real_logit, judged.fake_logit))
    wins = stats.mannwhitneyu(real, fake).statistic / (real.size * fake.size)
    imagined = behaviour.losses(models, settings, post, noise)
    weight, originals = imagined.weight, imagined.originals
    return {
        "auc": float(wins),
        "accuracy": float(update_metrics.scores(judged)["evaluator_accuracy"]),
        "rank_correlation": _ranks(agent, data, post, noise, fake),
        **_augmented_ranks(agent, data, post, noise),
        "ess": float(weighting.effective_sample_size(weight)),
        "weight_max": float(tf.reduce_max(weight)),
        "augmented_share": float(weighting.share(weight, originals)),
        "augmented_share_first": float(weighting.share(weight[:1], originals)),
    }


def _ranks(agent: Agent, data: Data, post: Data, noise: Noise, score: np.ndarray) -> float:
    """Do better scores go to what drifted less? Distance of features after the transition."""
    rssm = agent.models.rssm
    found = evaluator.fakes(rssm, agent.settings, post, data["action"], noise)
    drift = [_drift(rssm, post, after).ravel() for _, after in found]
    return float(stats.spearmanr(score, -np.concatenate(drift)).statistic)


def _drift(rssm, post: Data, after: tf.Tensor) -> np.ndarray:
    """How far predicted features are from those of the posterior, [B, L-1]."""
    away = tf.cast(after, tf.float32) - tf.cast(rssm.get_feat(post)[:, 1:], tf.float32)
    return tf.norm(away, axis=-1).numpy()


def _augmented_ranks(agent: Agent, data: Data, post: Data, noise: Noise) -> dict[str, float]:
    """Ranks of scores among transitions of one age that began at augmented starts."""
    models, action = agent.models, data["action"]
    settings = dataclasses.replace(agent.settings, fakes_from="augmented")
    [(before, after)] = evaluator.fakes(models.rssm, settings, post, action, noise)
    score = models.evaluator(evaluator.transitions(before, action[:, 1:], after)).logits.numpy()
    errors = {"augmented_rank": _drift(models.rssm, post, after)}
    if "image" in data:
        truth = reconstruction.observed(data)[:, 1:]
        distance = models.decoder(after).squared_distance(truth)
        errors["augmented_image_rank"] = distance.numpy()
    age = np.arange(score.shape[1]) % min(settings.overshoot_steps, score.shape[1])
    return {
        name: float(
            np.mean(
                [
                    stats.spearmanr(score[:, age == a].ravel(), -error[:, age == a].ravel())[0]
                    for a in np.unique(age)
                ]
            )
        )
        for name, error in errors.items()
    }


def _rms(x: tf.Tensor) -> float:
    return float(tf.sqrt(tf.reduce_mean(tf.square(tf.cast(x, tf.float32)))))
