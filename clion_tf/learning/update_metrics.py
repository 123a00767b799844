"""What an update reports, as `group/name`; names that Dreamer has too are Dreamer's."""

from collections.abc import Mapping

import tensorflow as tf

from clion_tf.learning import replica_sums
from clion_tf.learning.behaviour import BehaviourLosses
from clion_tf.learning.evaluator import EvaluatorLoss
from clion_tf.learning.optimizer import Optimizer
from clion_tf.learning.weighting import effective_sample_size, share
from clion_tf.learning.world_model import WorldModelLoss
from clion_tf.models.rssm import RSSM

Tensors = dict[str, tf.Tensor]


def model(world: WorldModelLoss) -> Tensors:
    """The world model's losses; of what is decoded negative log-probabilities, in nats."""
    decoded = [key for key in ("image", "vector", "reward", "pcont") if key in world.terms]
    result = {
        "model/model_loss": world.loss,
        **{f"model/{key}_loss": world.terms[key] for key in decoded},
        "model/div": world.clipped_kl,
        "model/kl": world.kl,
        "model/prior_ent": tf.reduce_mean(RSSM.get_dist(world.prior).entropy()),
        "model/post_ent": tf.reduce_mean(RSSM.get_dist(world.post).entropy()),
        # eq. 2's embedding constraint could be met by shrinking e: watch it.
        "model/embed_norm": tf.reduce_mean(tf.norm(tf.cast(world.embed, tf.float32), axis=-1)),
    }
    for name, constraint in (("embedding", world.embedding), ("decoding", world.decoding)):
        if constraint is not None:
            result[f"model/{name}_constraint"] = constraint.loss
            result[f"model/{name}_distance"] = tf.reduce_mean(constraint.distance)
    return result


def behaviour(imagined: BehaviourLosses) -> Tensors:
    """Actor and critic, and what they learn from."""
    return {
        "behaviour/actor_loss": imagined.actor_loss,
        "behaviour/value_loss": imagined.value_loss,
        "behaviour/action_ent": tf.reduce_mean(imagined.entropy),
        "behaviour/imagined_reward": tf.reduce_mean(imagined.reward),
        "behaviour/imagined_value": tf.reduce_mean(imagined.value),
        "behaviour/lambda_return": tf.reduce_mean(imagined.returns),
    }


def evaluator(judged: EvaluatorLoss | None, imagined: BehaviourLosses) -> Tensors:
    """The evaluator's loss and scores, and the weights that it gives; empty without one."""
    if judged is None:
        return {}
    weight, originals = imagined.weight, imagined.originals
    return {
        "evaluator/evaluator_loss": judged.loss,
        **{f"evaluator/{key}": value for key, value in scores(judged).items()},
        "evaluator/weight_ess": effective_sample_size(weight),
        "evaluator/weight_max": replica_sums.largest(tf.reduce_max(weight)),
        "evaluator/weight_augmented": share(weight, originals),
        # Where eq. 3's noise is still to be seen.
        "evaluator/weight_augmented_first": share(weight[:1], originals),
    }


def scores(judged: EvaluatorLoss) -> Tensors:
    """How well real and predicted transitions are told apart: accuracy at 0.5, mean scores."""
    real, fake = judged.real_logit, judged.fake_logit
    hits = [tf.reduce_mean(tf.cast(hit, tf.float32)) for hit in (real > 0, fake < 0)]
    return {
        "evaluator_accuracy": (hits[0] + hits[1]) / 2,
        "evaluator_real": tf.reduce_mean(tf.sigmoid(real)),
        "evaluator_fake": tf.reduce_mean(tf.sigmoid(fake)),
    }


def steps(norms: Tensors, optimizers: Mapping[str, Optimizer], taken: tf.Tensor) -> Tensors:
    """What the optimisers did, from `step_all`.

    `..._clipped` is 1 where the gradient was clipped, so that a mean over updates is their share.
    """
    result = {"model/skipped": 1.0 - tf.cast(taken, tf.float32)}
    for name, norm in norms.items():
        group = name if name in ("model", "evaluator") else "behaviour"
        result[f"{group}/{name}_grad_norm"] = norm
        result[f"{group}/{name}_clipped"] = tf.cast(optimizers[name].clips(norm), tf.float32)
        result[f"{group}/{name}_loss_scale"] = optimizers[name].scale
    return result
