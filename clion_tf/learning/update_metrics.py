"""What an update reports, as `group/name`; names that Dreamer has too are Dreamer's."""

from collections.abc import Mapping

import tensorflow as tf

from clion_tf.learning import replica_sums
from clion_tf.learning.optimizer import Optimizer
from clion_tf.learning.weighting import effective_sample_size
from clion_tf.models.rssm import RSSM

Tensors = dict[str, tf.Tensor]


def training(
    out: Tensors, norms: Tensors, optimizers: Mapping[str, Optimizer], taken: tf.Tensor
) -> Tensors:
    """Scalars of one update.

    `..._clipped` is 1 where the gradient was clipped, so that a mean over updates is their share.

    Args:
      out: every quantity that the losses computed.
      norms: by loss, the gradient's global norm before clipping.
      optimizers: by loss.
      taken: whether the optimisers stepped.
    """
    result = {**model(out), **behaviour(out), **evaluator(out)}
    result["model/skipped"] = 1.0 - tf.cast(taken, tf.float32)
    for name in norms:
        group = name if name in ("model", "evaluator") else "behaviour"
        result[f"{group}/{name}_grad_norm"] = norms[name]
        result[f"{group}/{name}_clipped"] = optimizers[name].clips(norms[name])
        result[f"{group}/{name}_loss_scale"] = optimizers[name].scale
    return {name: tf.cast(value, tf.float32) for name, value in result.items()}


def model(out: Tensors) -> Tensors:
    """The world model's losses; those with `_loss` are negative log-probabilities, in nats."""
    result = {
        "model/model_loss": out["model_loss"],
        **{
            f"model/{key}_loss": -out[f"log_prob_{key}"]
            for key in ("image", "vector", "reward")
            if f"log_prob_{key}" in out
        },
        "model/div": out["kl"],
        "model/kl": out["kl_before_free_nats"],
        **{f"model/{name}_ent": _entropy(out, name) for name in ("prior", "post")},
        # eq. 2's embedding constraint could be met by shrinking e: watch it.
        "model/embed_norm": tf.reduce_mean(tf.norm(tf.cast(out["embed"], tf.float32), axis=-1)),
    }
    if "scaled_log_prob_pcont" in out:
        result["model/pcont_loss"] = -out["scaled_log_prob_pcont"]
    for name in ("embedding", "decoding"):
        if f"{name}_constraint" in out:
            result[f"model/{name}_constraint"] = out[f"{name}_constraint"]
            result[f"model/{name}_distance"] = tf.reduce_mean(out[f"{name}_constraint_each"])
    return result


def _entropy(out: Tensors, name: str) -> tf.Tensor:
    dist = RSSM.get_dist({key: out[f"{name}_{key}"] for key in ("mean", "std")})
    return tf.reduce_mean(dist.entropy())


def behaviour(out: Tensors) -> Tensors:
    """Actor and critic, and what they learn from."""
    return {
        "behaviour/actor_loss": out["actor_loss"],
        "behaviour/value_loss": out["value_loss"],
        "behaviour/action_ent": tf.reduce_mean(out["action_entropy"]),
        "behaviour/imagined_reward": tf.reduce_mean(out["imagined_reward"]),
        "behaviour/imagined_value": tf.reduce_mean(out["imagined_value"]),
        "behaviour/lambda_return": tf.reduce_mean(out["lambda_return"]),
    }


def evaluator(out: Tensors) -> Tensors:
    """The evaluator's loss and scores, and the weights that it gives; empty without one."""
    if "evaluator_loss" not in out:
        return {}
    weight = out["weight"]
    originals = out["action_entropy"].shape[0]  # Trajectories come originals first.

    def augmented(part: tf.Tensor) -> tf.Tensor:
        of_augmented = replica_sums.total(tf.reduce_sum(part[:, originals:]))
        return of_augmented / replica_sums.total(tf.reduce_sum(part))

    return {
        "evaluator/evaluator_loss": out["evaluator_loss"],
        **{f"evaluator/{key}": value for key, value in scores(out).items()},
        "evaluator/weight_ess": effective_sample_size(weight),
        "evaluator/weight_max": replica_sums.largest(tf.reduce_max(weight)),
        "evaluator/weight_augmented": augmented(weight),
        # Where eq. 3's noise is still to be seen.
        "evaluator/weight_augmented_first": augmented(weight[:1]),
    }


def scores(out: Tensors) -> Tensors:
    """How well real and predicted transitions are told apart: accuracy at 0.5, mean scores."""
    real, fake = out["real_logit"], out["fake_logit"]
    hits = tf.reduce_mean(tf.cast(real > 0, tf.float32)) + tf.reduce_mean(
        tf.cast(fake < 0, tf.float32)
    )
    return {
        "evaluator_accuracy": hits / 2,
        "evaluator_real": tf.reduce_mean(tf.sigmoid(real)),
        "evaluator_fake": tf.reduce_mean(tf.sigmoid(fake)),
    }
