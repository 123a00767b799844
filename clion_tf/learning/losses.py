"""One update's losses, in the order of Algorithm 1; reads like the paper.

Data is [B, L, ...]: action[t] led to image[t]. Imagination is [H, N, ...], N = (1 + A) * B * L
(with the discount head (1 + A) * B * (L - 1)); with `from_start` it is [H + 1, N, ...].
"""

import contextlib
import dataclasses

import tensorflow as tf
from tensorflow_probability import distributions as tfd

from clion_tf.learning import augmentation, behaviour, constraints, replica_sums, weighting
from clion_tf.learning.imagination import imagine
from clion_tf.learning.noise import Noise
from clion_tf.learning.returns import cumulative_discount, lambda_return
from clion_tf.learning.rotation import rotate
from clion_tf.models import Models
from clion_tf.models.packing import pack, unpack
from clion_tf.models.rssm import RSSM

Tensors = dict[str, tf.Tensor]

AXES = {"image": 3, "vector": 1}  # The last axes, over which one observation's distance goes.


@dataclasses.dataclass(frozen=True)
class Settings:
    """The constants of the losses; the options' names and meanings (see config.py)."""

    free_nats: float = 3.0
    kl_scale: float = 1.0
    pcont_scale: float = 10.0
    beta1: float = 0.0
    beta2: float = 0.0
    delta1: float = 0.0
    delta2: float = 0.0
    constraint_degrees: float = 5.0
    embedding_gradient: str = "both"
    sigma_h: float = 0.0
    decoding_target: str = "observation"
    constraint_norm: str = "squared"
    sigma_units: str = "absolute"
    rotation_fill: str = "edge"
    augmentations: int = 0
    sigma1: float = 0.0
    sigma2: float = -1.0
    evaluator_objective: str = "difference"
    overshoot_steps: int = 15
    overshoot_from: str = "posterior"
    weighting: str = "probability"
    weight_gradient: bool = False
    horizon: int = 15
    from_start: bool = False
    discount: float = 0.99
    disclam: float = 0.95


def preprocess(data: Tensors) -> Tensors:
    """What is observed as the networks take it, float32; other keys are left out.

    Images go from uint8 to [-0.5, 0.5] (Dreamer), packed; vectors stay as they are.
    """
    found = {}
    if "image" in data:
        found["image"] = preprocess_image(data["image"])
    if "vector" in data:
        found["vector"] = tf.cast(data["vector"], tf.float32)
    return found


def preprocess_image(image: tf.Tensor) -> tf.Tensor:
    """uint8 images [..., 64, 64, 3] to float32 in [-0.5, 0.5], packed [..., 32, 32, 12]."""
    return tf.cast(pack(image), tf.float32) / 255.0 - 0.5


def world_model(models: Models, settings: Settings, data: Tensors, noise: Noise) -> Tensors:
    """Losses of the constrained RSSM (eqs. 1 and 2) and what later parts need.

        o_0      o_1      o_2
         |        |        |         a_t led to o_t; a_0 and r_0 of an episode are zeros
        z_0 -a1- z_1 -a2- z_2

    Args:
      data: image uint8 [B, L, 64, 64, 3] or vector [B, L, n] or both, action [B, L, A], reward
        [B, L]; discount [B, L] for the discount head; image_transformed to give eq. 2's o' instead
        of rotating.

    Returns:
      by name; `model_loss` is the sum that is minimised.
    """
    out: Tensors = {}
    observed = preprocess(data)  # Images are packed, as all of the learner's.
    batch, length = data["action"].shape[:2]
    out["embed"] = models.encode(observed)
    post_noise = noise.normal("posterior", [batch, length, models.rssm.stoch])
    post, prior = models.rssm.observe(out["embed"], data["action"], post_noise)
    out |= {f"post_{key}": value for key, value in post.items()}
    out |= {f"prior_{key}": prior[key] for key in ("mean", "std")}
    out["feat"] = models.rssm.get_feat(post)
    dists, reward = models.decode(out["feat"]), models.reward(out["feat"])
    decoded = {key: dist.mode() for key, dist in dists.items()}
    if "image" in decoded:
        out["image_mean"] = unpack(decoded["image"])  # For those who look; the update leaves it.
    out["reward_mean"] = reward.mode()
    for key, dist in dists.items():
        out[f"log_prob_{key}"] = tf.reduce_mean(dist.log_prob(observed[key]))
    out["log_prob_reward"] = tf.reduce_mean(reward.log_prob(data["reward"]))
    log_prob = sum(out[f"log_prob_{key}"] for key in (*decoded, "reward"))
    if models.pcont is not None:
        log_prob += _discount_head(models, settings, data, out)
    kl = tfd.kl_divergence(models.rssm.get_dist(post), models.rssm.get_dist(prior))
    out["kl_before_free_nats"] = replica_sums.mean(tf.reduce_mean(kl))
    # Clipped after the mean over batch and time, as Dreamer's code does.
    out["kl"] = tf.maximum(out["kl_before_free_nats"], settings.free_nats)
    loss = settings.kl_scale * out["kl"] - log_prob
    if settings.beta1 > 0 and "image" in observed:  # It is about rotated images.
        loss += settings.beta1 * _embedding_constraint(models, settings, data, noise, out)
    if settings.beta2 > 0:
        loss += settings.beta2 * _decoding_constraint(
            models, settings, observed, decoded, post, noise, out
        )
    out["model_loss"] = loss
    return out


def _discount_head(models: Models, settings: Settings, data: Tensors, out: Tensors) -> tf.Tensor:
    pcont = models.pcont(out["feat"])
    out["pcont_mean"] = pcont.mean()
    target = settings.discount * data["discount"]
    log_prob = tf.reduce_mean(pcont.log_prob(target))
    out["scaled_log_prob_pcont"] = settings.pcont_scale * log_prob
    return out["scaled_log_prob_pcont"]


def _embedding_constraint(models, settings, data, noise, out) -> tf.Tensor:
    """[|e' - e|^2 - delta1^2]_+ of eq. 2, e of the image; `out` gets the parts."""
    if "image_transformed" in data:
        transformed = preprocess_image(data["image_transformed"])
    else:
        frames = tf.reshape(data["image"], [-1, *data["image"].shape[2:]])
        degrees = settings.constraint_degrees * noise.uniform("rotation", [frames.shape[0]])
        turned = rotate(frames, degrees, settings.rotation_fill) / 255.0 - 0.5
        transformed = pack(turned)
        transformed = tf.reshape(transformed, [*data["image"].shape[:2], *transformed.shape[1:]])
    out["embed_transformed"] = models.encoder(transformed)
    embed = out["embed"]
    if models.vector_encoder is not None:
        embed = embed[..., : models.encoder.size]
    if settings.embedding_gradient == "rotated":
        embed = tf.stop_gradient(embed)  # An option: only e' moves towards e.
    out["embedding_constraint_each"] = constraints.embedding_distance(
        embed, out["embed_transformed"]
    )
    out["embedding_constraint"] = constraints.hinge(
        out["embedding_constraint_each"], settings.delta1, settings.constraint_norm
    )
    return out["embedding_constraint"]


def _decoding_constraint(models, settings, observed, decoded, post, noise, out) -> tf.Tensor:
    """[|o^' - o^|^2 - delta2^2]_+ of eq. 2, o^' decoded from noisy memory; `out` gets the parts.

    o^ is decoded from the memory as it is: an image, a vector or both.
    """
    deter_noise = noise.normal("decoding", post["deter"].shape)
    noisy = constraints.noisy_memory(post, deter_noise, settings.sigma_h, settings.sigma_units)
    dists = models.decode(models.rssm.get_feat(noisy))
    from_noisy_memory = {key: dist.mode() for key, dist in dists.items()}
    if "image" in decoded:
        out["image_from_noisy_memory"] = unpack(from_noisy_memory["image"])
    # The margins lie "between the augmented branch's output and the non-augmented branch's output",
    # so the gradient goes into both, as in the embedding constraint. The other reading compares
    # with what was observed.
    target = decoded if settings.decoding_target == "reconstruction" else observed
    out["decoding_constraint_each"] = sum(
        constraints.decoding_distance(mean, target[key], AXES[key])
        for key, mean in from_noisy_memory.items()
    )
    out["decoding_constraint"] = constraints.hinge(
        out["decoding_constraint_each"], settings.delta2, settings.constraint_norm
    )
    return out["decoding_constraint"]


def behaviour_losses(models: Models, settings: Settings, post: Tensors, noise: Noise) -> Tensors:
    """Imagination from original and augmented starts, weights, actor and critic (eqs. 3, 5 to 9).

        z_0 --a_0--> z_1 --a_1--> z_2 ... --a_{H-1}--> z_H
        from_start:  features z_0 ... z_H, returns and weights of 0 ... H-1
        else:        features z_1 ... z_H, returns and weights of 1 ... H-1, as in Dreamer

    Args:
      post: posterior states [B, L, ...]; no gradient flows back into them.

    Returns:
      by name; `actor_loss` and `value_loss` are minimised.
    """
    out: Tensors = {}
    rssm = models.rssm
    # The world model is trained by its own loss only.
    post = {key: tf.stop_gradient(value) for key, value in post.items()}
    if models.pcont is not None:  # The last state could be terminal.
        post = {key: value[:, :-1] for key, value in post.items()}
    start = augmentation.flatten(post)
    copies, count = settings.augmentations, start["deter"].shape[0]
    start = augmentation.augment(
        start,
        copies,
        noise.normal("augment_deter", [copies, count, rssm.deter]),
        noise.normal("augment_stoch", [copies, count, rssm.stoch]),
        settings.sigma1,
        settings.sigma2,
        settings.sigma_units,
    )
    out["start_stoch"], out["start_deter"] = start["stoch"], start["deter"]
    shape = [settings.horizon, (1 + copies) * count]
    standard = noise.gumbel if models.actor.discrete else noise.normal
    feat, action, entropy = imagine(
        rssm,
        models.actor,
        start,
        standard("imagined_action", [*shape, models.actor.size]),
        noise.normal("imagined_state", [*shape, rssm.stoch]),
    )
    out["imagined_action"] = action
    if settings.from_start:  # Eqs. 5, 8 and 9 sum from t on, the start itself.
        feat = tf.concat([rssm.get_feat(start)[None], feat], 0)
    else:
        action = action[1:]
    out["imagined_feat"] = feat
    out["action_entropy"] = entropy[:count]
    reward = out["imagined_reward"] = models.reward(feat).mode()
    value_dist = models.value(feat)
    value = out["imagined_value"] = value_dist.mode()
    if models.pcont is not None:
        pcont = models.pcont(feat).mean()
    else:
        pcont = settings.discount * tf.ones_like(reward)
    returns = lambda_return(reward[:-1], value[:-1], pcont[:-1], value[-1], settings.disclam)
    discount = cumulative_discount(pcont)
    weight = _weights(models, settings, feat, action, out)
    out["lambda_return"], out["discount"], out["weight"] = returns, discount, weight
    out["actor_loss"] = behaviour.actor_loss(returns, discount, weight)
    out["value_loss"] = behaviour.value_loss(value_dist[:-1], returns, discount, weight)
    return out


def _weights(models: Models, settings: Settings, feat, action, out: Tensors) -> tf.Tensor:
    """w [K, N] of the K transitions z_k --a_k--> z_{k+1} between features [K + 1, N, F] (eq. 5)."""
    if models.evaluator is None:
        return tf.ones([feat.shape[0] - 1, feat.shape[1]])
    rows = weighting.transitions(feat[:-1], action, feat[1:])
    if not settings.weight_gradient:
        rows = tf.stop_gradient(rows)  # The actor is not to please the evaluator.
    logit = out["evaluator_logit"] = models.evaluator(rows).logits
    return weighting.reliability_weights(logit, settings.weighting == "ratio")


def evaluator_losses(
    models: Models, settings: Settings, post: Tensors, action: tf.Tensor, noise: Noise
) -> Tensors:
    """Real transitions against open-loop predictions of the same steps (eq. 4).

    Args:
      post: posterior states [B, L, ...]; no gradient flows back into them.
      action: [B, L, A].

    Returns:
      by name; `evaluator_loss` is minimised. `real_logit` [B, L-1], `fake_logit` the same, or with
      both kinds of starts [2B, L-1], those from posterior states first.
    """
    out: Tensors = {}
    # It judges the model; the model is not to fool it.
    post = {key: tf.stop_gradient(value) for key, value in post.items()}
    feat = models.rssm.get_feat(post)
    real = weighting.transitions(feat[:, :-1], action[:, 1:], feat[:, 1:])
    out["real_logit"] = models.evaluator(tf.stop_gradient(real)).logits
    fake = [
        weighting.transitions(before, action[:, 1:], after)
        for before, after in fakes(models.rssm, settings, post, action, noise)
    ]
    out["fake_logit"] = models.evaluator(tf.stop_gradient(tf.concat(fake, 0))).logits
    out["evaluator_difference"] = weighting.evaluator_difference(
        out["real_logit"], out["fake_logit"]
    )
    out["evaluator_bce"] = weighting.evaluator_bce(out["real_logit"], out["fake_logit"])
    chosen = "evaluator_bce" if settings.evaluator_objective == "bce" else "evaluator_difference"
    out["evaluator_loss"] = out[chosen]
    return out


def fakes(
    rssm: RSSM, settings: Settings, post: Tensors, action: tf.Tensor, noise: Noise
) -> list[tuple[tf.Tensor, tf.Tensor]]:
    """Features [B, L-1, F] before and after each fake transition, for each kind of start.

    Rolls begin at posterior states, or at these moved as augmented starts are (`overshoot_from`);
    with both kinds, the transitions' noise is the same.
    """
    length = action.shape[1]
    steps = min(settings.overshoot_steps, length - 1)
    start = weighting.roll_starts(post, steps)
    shape = [*start["deter"].shape[:2]]
    starts = []
    if settings.overshoot_from in ("posterior", "both"):
        starts.append(start)
    if settings.overshoot_from in ("augmented", "both"):
        moved = augmentation.noised(
            start,
            noise.normal("overshoot_start_deter", [*shape, rssm.deter]),
            noise.normal("overshoot_start_stoch", [*shape, rssm.stoch]),
            settings.sigma1 * constraints.memory_unit(post["deter"], settings.sigma_units),
            settings.sigma2,
        )
        starts.append(moved)
    eps = noise.normal("overshoot", [steps, *shape, rssm.stoch])
    return [weighting.overshoot(rssm, one, action, eps, steps) for one in starts]


@contextlib.contextmanager
def watching(networks, persistent: bool = False):
    """`with watching(networks) as tape`: a tape that sees only these networks' weights."""
    with tf.GradientTape(persistent, watch_accessed_variables=False) as result:
        for network in networks:
            for variable in network.trainable_variables:
                result.watch(variable.value)
        yield result
