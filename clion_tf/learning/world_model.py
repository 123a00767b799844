"""The world model's loss: eq. 1, and the constraints of eq. 2 where they are on."""

import dataclasses
from typing import Any

import tensorflow as tf
from tensorflow_probability import distributions as tfd

from clion_tf.config import Config
from clion_tf.learning import replica_sums
from clion_tf.learning.augmentation import memory_unit, noisy_memory
from clion_tf.learning.constraints import Constraint, decoding_constraint, embedding_constraint
from clion_tf.learning.noise import Noise
from clion_tf.learning.preprocessing import BATCH, Tensors, expect, preprocess
from clion_tf.models import Models
from clion_tf.models.decoder import UnitNormal
from clion_tf.models.rssm import State


@dataclasses.dataclass(frozen=True)
class WorldModelLoss:
    """The world model on a batch [B, L]; scalars are float32, log-probabilities in nats.

    `terms` are the scalars that the loss sums, scales included: the negative log-probabilities
    `reward` and, if the model predicts them, `image`, `vector` and `pcont`; `kl`; and where eq. 2's
    constraints are on, `embedding` and `decoding`.
    """

    loss: tf.Tensor  # A scalar, minimised: the sum of `terms`.
    terms: Tensors
    kl: tf.Tensor  # Mean KL of posterior and prior before the free nats, over all replicas.
    clipped_kl: tf.Tensor  # At least the free nats.
    image_embed: tf.Tensor | None  # e [B, L, E] of the images in the compute type, if any are seen.
    post: State  # [B, L, ...]
    prior: State  # [B, L, ...]; its `stoch` is its mean.
    feat: tf.Tensor  # [s, h] of the posterior, [B, L, S + D] in the compute type.
    decoded: dict[str, UnitNormal]  # q(o | h, s), `image` and `vector`: [B, L].
    reward: tfd.Normal  # q(r | s, h), [B, L] over numbers.
    pcont: tfd.Bernoulli | None  # The discount head's, [B, L]; None without one.
    embedding: Constraint | None  # Eq. 2's; None where they are off.
    decoding: Constraint | None


def _disturbed(config: Config, eps: tf.Tensor, noise: Noise) -> dict[str, Any]:
    """Options of `RSSM.observe` that add noise to the memory in training (ours); {} if off.

        h_(t-1)  ->  h_(t-1) + sigma * noise  -a_t->  h_t, then the posterior of s_t given o_t

    So the model learns to correct its state from the image when its memory is wrong. The noise of
    `analysis.memory_noise`, on an acting agent's memory, is of the same kind.
    """
    if config.sigma_inference == 0:
        return {}

    def disturb(state: State, deter_noise: tf.Tensor) -> State:
        unit = memory_unit(state["deter"], config.sigma_units)
        return noisy_memory(state, deter_noise, config.sigma_inference * unit)

    shape = [*eps.shape[:2], config.deter_size]
    return {"disturb": disturb, "disturbances": [noise.normal("inference", shape)]}


def loss(models: Models, config: Config, data: Tensors, noise: Noise) -> WorldModelLoss:
    """-(log q(o | h, s) + log q(r | s, h)) + max(KL[p || q], free nats) + constraints (eq. 2).

        o_0      o_1      o_2
         |        |        |         a_t led to o_t; a_0 and r_0 of an episode are zeros
        z_0 -a1- z_1 -a2- z_2

    All are means over batch and time, times their scales; a discount head adds its own loss. The
    KL is clipped after its mean (Dreamer). `data` is a BATCH with an image, a vector or both.
    """
    there = {"action", "reward", *models.observes, *data}
    if models.pcont is not None:
        there.add("discount")
    expect("batch", data, {key: shape for key, shape in BATCH.items() if key in there})
    observed = preprocess(data)
    embed = models.encode(observed)
    image_embed = embed[..., : models.encoder.size] if "image" in observed else None
    eps = noise.normal("posterior", [*data["action"].shape[:2], models.rssm.stoch_size])
    post, prior = models.rssm.observe(embed, data["action"], eps, **_disturbed(config, eps, noise))
    feat = models.rssm.get_feat(post)
    decoded, reward = models.decode(feat), models.reward(feat)
    log_prob = {key: dist.log_prob(observed[key]) for key, dist in decoded.items()}
    log_prob["reward"] = reward.log_prob(data["reward"])
    terms = {key: -tf.reduce_mean(value) for key, value in log_prob.items()}
    pcont = embedding = decoding = None
    if models.pcont is not None:
        pcont = models.pcont(feat)
        target = config.discount * data["discount"]
        terms["pcont"] = -config.pcont_scale * tf.reduce_mean(pcont.log_prob(target))
    kl = tfd.kl_divergence(models.rssm.get_dist(post), models.rssm.get_dist(prior))
    kl = replica_sums.mean(tf.reduce_mean(kl))
    clipped_kl = tf.maximum(kl, config.free_nats)
    terms["kl"] = config.kl_scale * clipped_kl
    if config.beta1 > 0 and "image" in observed:  # It is about rotated images.
        embedding = embedding_constraint(models, config, data, image_embed, noise)
        terms["embedding"] = config.beta1 * embedding.loss
    if config.beta2 > 0:
        target = decoded if config.decoding_target == "reconstruction" else observed
        decoding = decoding_constraint(models, config, post, target, noise)
        terms["decoding"] = config.beta2 * decoding.loss
    return WorldModelLoss(
        loss=tf.add_n(list(terms.values())), terms=terms, kl=kl, clipped_kl=clipped_kl,
        image_embed=image_embed, post=post, prior=prior, feat=feat, decoded=decoded, reward=reward,
        pcont=pcont, embedding=embedding, decoding=decoding,
    )  # fmt: skip
