"""What an agent makes of sequences that it was not trained on, in the numbers of docs/tools.md."""

import dataclasses

import keras
import numpy as np
import tensorflow as tf
from scipy import stats

from clion_tf.agents.clion import Agent
from clion_tf.config import Config
from clion_tf.learning import behaviour, evaluator, reconstruction, update_metrics, world_model
from clion_tf.learning import noise as noises
from clion_tf.learning.augmentation import augmented_states, flatten, memory_unit
from clion_tf.learning.noise import Noise
from clion_tf.learning.returns import lambda_return
from clion_tf.learning.rotation import rotate
from clion_tf.models.layers import watching

# Noise on h in standard deviations of h, so that agents whose h differ in size can be compared.
AMOUNTS = (0.0, 0.1, 0.3, 1.0)
AHEAD = 15  # Steps of open-loop prediction, the default imagination horizon.
CONTEXT = reconstruction.CONTEXT  # Frames seen before open-loop prediction begins.
STEPS = (1, 5, 15)  # Steps of rollouts and of imagination whose scores and weights are reported.

Data = dict[str, tf.Tensor]


def judge(agent: Agent, sequences: dict[str, np.ndarray]) -> dict[str, float]:
    """All of them for sequences [N, L, ...]; the noise is the same for all agents."""
    data = {key: tf.constant(value) for key, value in sequences.items()}
    noise = noises.SeededNoise(tf.constant(noises.key(0, "judge", 0)))
    world = world_model.loss(agent.models, _as_it_acts(agent.config), data, noise)
    post = world.post
    found, unit = _losses(world, data), float(memory_unit(post["deter"], "relative"))
    found["memory_std"], sigmas = unit, [amount * unit for amount in AMOUNTS]
    batch = {key: value[: agent.config.batch_size] for key, value in data.items()}
    found |= gradient_shares(agent, batch, noise)
    if "image" in data:
        seen, still = reconstruction.true_images(data), reconstruction.decode(agent.models, post)
        for name, target in (("decoding", seen), ("decoding_shift", still)):
            errors = reconstruction.errors(agent.models, data, noise, sigmas, post=post, to=target)
            found |= {f"{name}_{a:g}": float(e) for a, e in zip(AMOUNTS, errors, strict=True)}
        found |= _rotated(agent, data, post, noise)
        found |= _open_loop(agent, data, post, noise)
    found |= _critic(agent, data, post, noise)
    if agent.models.evaluator is not None:
        found |= _evaluator(agent, data, post, noise)
    return found


def _as_it_acts(config: Config) -> Config:
    """Without the noise on inference that is training's alone."""
    return dataclasses.replace(config, sigma_inference=0.0)


def gradient_shares(agent: Agent, data: Data, noise: Noise) -> dict[str, float]:
    """Gradients of the terms of the world model's loss (eqs. 1 and 2, without the discount's).

    `gradient_<term>` is a gradient's global norm on one batch, scales included, before clipping;
    `gradient_cosine` is the cosine between the gradients of the decoding constraint and of the
    loss of images and vectors: 1 if both ask for the same change of the weights.
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


def _rotated(agent: Agent, data: Data, post: Data, noise: Noise) -> dict[str, float]:
    config = agent.config
    frames = tf.reshape(data["image"], [-1, *data["image"].shape[2:]])
    degrees = config.constraint_degrees * noise.uniform("rotation", [frames.shape[0]])
    turned = tf.cast(tf.round(rotate(frames, degrees, config.rotation_fill)), tf.uint8)
    turned = {**data, "image": tf.reshape(turned, data["image"].shape)}
    world = world_model.loss(agent.models, _as_it_acts(agent.config), turned, noise)
    shift = (world.post["mean"] - post["mean"]) / post["std"]
    named = {f"rotated_{key}": value for key, value in _losses(world, data).items()}
    return {**named, "rotation_shift": _rms(shift)}


def _open_loop(agent: Agent, data: Data, post: Data, noise: Noise) -> dict[str, float]:
    """Errors of open-loop predictions from states with noise on h (not on s, unlike eq. 3)."""
    models, length = agent.models, data["action"].shape[1]
    context = min(CONTEXT, length - 1)
    last = min(context + AHEAD, length) - 1
    action = data["action"][:, context:]
    seen = {key: value[:, :context] for key, value in post.items()}
    truth = {"error": reconstruction.true_images(data)[:, last]}
    found = {}
    for amount in AMOUNTS:
        sigma = amount * memory_unit(post["deter"], "relative")
        noisy = reconstruction.augmented_memory(seen, noise, sigma)
        prior = reconstruction.predict_open_loop(models, noisy, action, noise)
        feat = models.rssm.get_feat({key: value[:, last - context] for key, value in prior.items()})
        image = models.decoder(feat)
        truth.setdefault("shift", image.mode())  # The first amount is none.
        for name, target in truth.items():
            distance = tf.reduce_mean(image.squared_distance(target))
            found[f"open_loop_{name}_{amount:g}"] = float(distance)
        reward_error = _rms(models.reward(feat).mode() - data["reward"][:, last])
        found[f"open_loop_reward_error_{amount:g}"] = reward_error
    return found


def _critic(agent: Agent, data: Data, post: Data, noise: Noise) -> dict[str, float]:
    """The critic's errors at frames CONTEXT to L // 2 of sequences [N, L, ...]."""
    models, length = agent.models, data["action"].shape[1]
    # At least one frame is judged, and at least one follows it.
    steps = slice(min(CONTEXT, length // 2, length - 2), min(length // 2 + 1, length - 1))
    value = tf.transpose(models.value(models.rssm.get_feat(post)).mode())
    reward, discount = (tf.transpose(data[key]) for key in ("reward", "discount"))
    # lambda = 1: discounted rewards, then the value of the last frame.
    discount = agent.config.discount * discount
    returns = lambda_return(reward[:-1], value[:-1], discount[:-1], value[-1], 1.0)[steps]
    returns = tf.reshape(tf.transpose(returns), [-1])
    start = flatten({key: value[:, steps] for key, value in post.items()})
    standard = [noise.normal(f"value_{key}", start[key].shape) for key in ("deter", "stoch")]
    found = {"return_std": float(tf.math.reduce_std(returns))}
    for amount in AMOUNTS:
        sigma = amount * memory_unit(post["deter"], "relative")
        there = augmented_states(start, *standard, sigma, agent.config.sigma2)
        predicted = models.value(models.rssm.get_feat(there)).mode()
        found[f"value_error_{amount:g}"] = _rms(predicted - returns)
    return found


def _evaluator(agent: Agent, data: Data, post: Data, noise: Noise) -> dict[str, float]:
    """Of fakes from both kinds of starts, whichever it has learned from."""
    models, action = agent.models, data["action"]
    config = dataclasses.replace(agent.config, overshoot_from="both", augmentations=1)
    both = evaluator.loss(models, config, post, action, noise)
    plain, augmented = tf.split(both.fake_logit, 2)
    (_, drifted), (_, moved) = evaluator.fakes(models.rssm, config, post, action, noise)
    errors, steps = {"augmented_rank": _drift(models.rssm, post, moved)}, config.overshoot_steps
    if "image" in data:
        seen = reconstruction.true_images(data)[:, 1:]
        errors["augmented_image_rank"] = models.decoder(moved).squared_distance(seen)
    judged = dataclasses.replace(both, fake_logit=plain)
    imagined = behaviour.losses(models, agent.config, post, noise)
    weights = update_metrics.weights_by_step(imagined)
    scores = update_metrics.scores_by_age(judged, steps)
    by_step = {f"{kind}_score": (0, scores[kind]["by_age"]) for kind in ("real", "fake")}
    by_step["augmented_share"] = weights["first_step"], weights["augmented_share_by_step"]
    return {
        "auc": _auc(both.real_logit, plain),
        "auc_augmented": _auc(both.real_logit, augmented),
        "rank_correlation": _rank(plain, _drift(models.rssm, post, drifted)),
        **{name: _rank_by_age(augmented, error, steps) for name, error in errors.items()},
        "accuracy": float(update_metrics.scores(judged)["evaluator_accuracy"]),
        "ess": weights["effective_sample_size"],
        "weight_max": weights["largest"],
        "augmented_share": weights["augmented_share"],
        **{
            f"{name}_{step}": number
            for name, (first, row) in by_step.items()
            for step, number in enumerate(row, first + 1)
            if step in STEPS
        },
    }


def _auc(real: tf.Tensor, fake: tf.Tensor) -> float:
    real, fake = real.numpy().ravel(), fake.numpy().ravel()
    return float(stats.mannwhitneyu(real, fake).statistic / (real.size * fake.size))


def _rank(score: tf.Tensor, error: tf.Tensor) -> float:
    """Spearman's correlation of scores and -errors: 1 if higher scores have smaller errors."""
    return float(stats.spearmanr(np.ravel(score), -np.ravel(error)).statistic)


def _drift(rssm, post: Data, after: tf.Tensor) -> tf.Tensor:
    """How far predicted features are from those of the posterior, [B, L-1]."""
    away = tf.cast(after, tf.float32) - tf.cast(rssm.get_feat(post)[:, 1:], tf.float32)
    return tf.norm(away, axis=-1)


def _rank_by_age(score: tf.Tensor, error: tf.Tensor, steps: int) -> float:
    """Mean over ages of `_rank` among transitions of one age, their step in a K-step rollout."""
    ages = range(min(steps, score.shape[1]))
    return float(np.mean([_rank(score[:, age::steps], error[:, age::steps]) for age in ages]))


def _rms(x: tf.Tensor) -> float:
    return float(tf.sqrt(tf.reduce_mean(tf.square(tf.cast(x, tf.float32)))))
