"""What an agent makes of sequences that it was not trained on, in the numbers of docs/tools.md."""

import dataclasses

import keras
import numpy as np
import tensorflow as tf
from scipy import stats

from clion_tf.agents.clion import Agent
from clion_tf.config import Config
from clion_tf.learning import (
    augmentation,
    behaviour,
    evaluator,
    reconstruction,
    update_metrics,
    world_model,
)
from clion_tf.learning import noise as noises
from clion_tf.learning.noise import Noise
from clion_tf.learning.returns import lambda_return
from clion_tf.learning.rotation import rotate
from clion_tf.models.layers import watching

VALUE_SIGMAS = (0.0, 0.1, 0.4)
AHEAD = 15  # Steps, as far as imagination goes by default.
CONTEXT = reconstruction.CONTEXT  # Frames that are seen before.
STEPS = (1, 5, 15)  # Of imagination, whose scores and weights are told apart.

Data = dict[str, tf.Tensor]


def judge(agent: Agent, config: Config, sequences: dict[str, np.ndarray]) -> dict[str, float]:
    """All of them for sequences [N, L, ...]; noise from the run's seed."""
    data = {key: tf.constant(value) for key, value in sequences.items()}
    noise = noises.SeededNoise(tf.constant(noises.key(config.seed, "judge", 0)))
    world = world_model.loss(agent.models, agent.config, data, noise)
    post = world.post
    found = _losses(world, data)
    found["memory_std"] = float(augmentation.memory_unit(post["deter"], "relative"))
    batch = {key: value[: config.batch_size] for key, value in data.items()}
    found |= gradient_shares(agent, batch, noise)
    if "image" in data:
        sigmas = reconstruction.SIGMAS
        errors = reconstruction.errors(agent.models, data, noise, sigmas, post=post)
        found |= {f"decoding_{s:g}": float(e) for s, e in zip(sigmas, errors, strict=True)}
        found |= _rotated(agent, config, data, post, noise)
        found |= _open_loop(agent, data, post, noise)
    found |= _critic(agent, data, post, noise)
    if agent.models.evaluator is not None:
        found |= _evaluator(agent, data, post, noise)
    return found


def gradient_shares(agent: Agent, data: Data, noise: Noise) -> dict[str, float]:
    """How much each term of the world model's loss (eqs. 1 and 2) asks of its weights.

    `gradient_<term>` is the global norm of its gradient in one batch, scales included, before
    clipping; `gradient_cosine` that of the decoding constraint's with the loss's of what is
    observed: 1 if both ask for the same change.
    """
    with watching(agent.models.trained_by()["model"], persistent=True) as tape:
        terms = world_model.loss(agent.models, agent.config, data, noise).terms
    gradients = {}
    for name, loss in terms.items():
        if name != "pcont":
            found = agent.optimizers["model"].gradients(tape, loss)
            gradients[name] = tf.concat([tf.reshape(one, [-1]) for one in found], 0)
    norms = {f"gradient_{name}": float(tf.norm(each)) for name, each in gradients.items()}
    if "decoding" in terms:
        observed = sum(gradients[key] for key in ("image", "vector") if key in gradients)
        cosine = -keras.losses.cosine_similarity(observed, gradients["decoding"])
        norms["gradient_cosine"] = float(cosine)
    return norms


def _losses(world, data: Data) -> dict[str, float]:
    found = {f"{key}_loss": float(world.terms[key]) for key in (*world.decoded, "reward")}
    reward_error = _rms(world.reward.mode() - data["reward"])
    return {**found, "kl": float(world.kl), "reward_error": reward_error}


def _rotated(agent: Agent, config: Config, data: Data, post: Data, noise: Noise) -> dict:
    frames = tf.reshape(data["image"], [-1, *data["image"].shape[2:]])
    degrees = config.constraint_degrees * noise.uniform("rotation", [frames.shape[0]])
    turned = tf.cast(tf.round(rotate(frames, degrees, config.rotation_fill)), tf.uint8)
    turned = {**data, "image": tf.reshape(turned, data["image"].shape)}
    world = world_model.loss(agent.models, agent.config, turned, noise)
    shift = (world.post["mean"] - post["mean"]) / post["std"]
    named = {f"rotated_{key}": value for key, value in _losses(world, data).items()}
    return {**named, "rotation_shift": _rms(shift)}


def _open_loop(agent: Agent, data: Data, post: Data, noise: Noise) -> dict[str, float]:
    models, length = agent.models, data["action"].shape[1]
    context = min(CONTEXT, length - 1)
    last = min(context + AHEAD, length) - 1
    seen = {key: value[:, :context] for key, value in post.items()}
    prior = reconstruction.left_alone(models, seen, data["action"][:, context:], noise)
    feat = models.rssm.get_feat({key: value[:, last - context] for key, value in prior.items()})
    error = models.decoder(feat).squared_distance(reconstruction.observed(data)[:, last])
    reward_error = _rms(models.reward(feat).mode() - data["reward"][:, last])
    return {"open_loop_error": float(tf.reduce_mean(error)), "open_loop_reward_error": reward_error}


def _critic(agent: Agent, data: Data, post: Data, noise: Noise) -> dict[str, float]:
    """Of states that CONTEXT frames lead to, and that at least half of the sequence follows."""
    models, length = agent.models, data["action"].shape[1]
    steps = slice(min(CONTEXT, length // 2), length // 2 + 1)
    value = tf.transpose(models.value(models.rssm.get_feat(post)).mode())
    reward, discount = (tf.transpose(data[key]) for key in ("reward", "discount"))
    # Of lambda 1: nothing but rewards until the last frame.
    discount = agent.config.discount * discount
    returns = lambda_return(reward[:-1], value[:-1], discount[:-1], value[-1], 1.0)[steps]
    returns = tf.reshape(tf.transpose(returns), [-1])
    start = augmentation.flatten({key: value[:, steps] for key, value in post.items()})
    standard = [noise.normal(f"value_{key}", start[key].shape) for key in ("deter", "stoch")]
    found = {"return_std": float(tf.math.reduce_std(returns))}
    for sigma in VALUE_SIGMAS:
        there = augmentation.noised(start, *standard, sigma, agent.config.sigma2)
        predicted = models.value(models.rssm.get_feat(there)).mode()
        found[f"value_error_{sigma:g}"] = _rms(predicted - returns)
    return found


def _evaluator(agent: Agent, data: Data, post: Data, noise: Noise) -> dict[str, float]:
    models, config = agent.models, agent.config
    judged = evaluator.loss(models, config, post, data["action"], noise)
    real, fake = (logit.numpy().ravel() for logit in (judged.real_logit, judged.fake_logit))
    wins = stats.mannwhitneyu(real, fake).statistic / (real.size * fake.size)
    imagined = behaviour.losses(models, config, post, noise)
    weights = update_metrics.weights_by_step(imagined, first=0)
    scores = update_metrics.scores_by_age(judged, config.overshoot_steps)
    by_step = {f"{kind}_score": scores[kind]["by_age"] for kind in ("real", "fake")}
    by_step["augmented_share"] = weights["augmented_share_by_step"]
    return {
        "auc": float(wins),
        "rank_correlation": _ranks(agent, data, post, noise, fake),
        **_augmented_ranks(agent, data, post, noise),
        "accuracy": float(update_metrics.scores(judged)["evaluator_accuracy"]),
        "ess": weights["effective_sample_size"],
        "weight_max": weights["largest"],
        "augmented_share": weights["augmented_share"],
        **{f"{k}_{n}": row[n - 1] for k, row in by_step.items() for n in STEPS if n <= len(row)},
    }


def _ranks(agent: Agent, data: Data, post: Data, noise: Noise, score: np.ndarray) -> float:
    """Do better scores go to what drifted less? Distance of features after the transition."""
    rssm = agent.models.rssm
    found = evaluator.fakes(rssm, agent.config, post, data["action"], noise)
    drift = [_drift(rssm, post, after).ravel() for _, after in found]
    return float(stats.spearmanr(score, -np.concatenate(drift)).statistic)


def _drift(rssm, post: Data, after: tf.Tensor) -> np.ndarray:
    """How far predicted features are from those of the posterior, [B, L-1]."""
    away = tf.cast(after, tf.float32) - tf.cast(rssm.get_feat(post)[:, 1:], tf.float32)
    return tf.norm(away, axis=-1).numpy()


def _augmented_ranks(agent: Agent, data: Data, post: Data, noise: Noise) -> dict[str, float]:
    """Ranks of scores among transitions of one age that began at augmented starts."""
    models, action = agent.models, data["action"]
    # Also of an agent without augmented copies.
    config = dataclasses.replace(agent.config, overshoot_from="augmented", augmentations=1)
    [(before, after)] = evaluator.fakes(models.rssm, config, post, action, noise)
    score = models.evaluator(evaluator.transitions(before, action[:, 1:], after)).logits.numpy()
    errors = {"augmented_rank": _drift(models.rssm, post, after)}
    if "image" in data:
        distance = models.decoder(after).squared_distance(reconstruction.observed(data)[:, 1:])
        errors["augmented_image_rank"] = distance.numpy()
    age = np.arange(score.shape[1]) % min(config.overshoot_steps, score.shape[1])

    def rank(error: np.ndarray) -> float:
        same = [age == a for a in np.unique(age)]
        each = [stats.spearmanr(score[:, s].ravel(), -error[:, s].ravel())[0] for s in same]
        return float(np.mean(each))

    return {name: rank(error) for name, error in errors.items()}


def _rms(x: tf.Tensor) -> float:
    return float(tf.sqrt(tf.reduce_mean(tf.square(tf.cast(x, tf.float32)))))
