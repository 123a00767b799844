"""Metrics of an update, named `group/name`; those that Dreamer has too have Dreamer's names.

Also statistics of the evaluator's scores and weights on held-out data, as numbers for figures.
"""

from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from clion_tf.learning import replica_sums
from clion_tf.learning.behaviour import BehaviourLosses
from clion_tf.learning.evaluator import EvaluatorLoss
from clion_tf.learning.optimizer import Optimizer
from clion_tf.learning.preprocessing import Tensors
from clion_tf.learning.weighting import effective_sample_size, share
from clion_tf.learning.world_model import WorldModelLoss
from clion_tf.models.rssm import RSSM

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
BINS = 20  # Of scores between 0 and 1.


def model(world: WorldModelLoss) -> Tensors:
    """The world model's losses; of image, vector, reward and discount -log-probabilities in nats.

    The discount's is multiplied by `pcont_scale`, as in Dreamer.
    """
    others = ("kl", "embedding", "decoding")  # Reported below, without their scales.
    predicted = {key: term for key, term in world.terms.items() if key not in others}
    result = {
        "model/model_loss": world.loss,
        **{f"model/{key}_loss": term for key, term in predicted.items()},
        "model/div": world.clipped_kl,
        "model/kl": world.kl,
        "model/prior_ent": tf.reduce_mean(RSSM.get_dist(world.prior).entropy()),
        "model/post_ent": tf.reduce_mean(RSSM.get_dist(world.post).entropy()),
    }
    if world.image_embed is not None:  # Eq. 2's constraint could be met by shrinking it: watch it.
        norm = tf.norm(tf.cast(world.image_embed, tf.float32), axis=-1)
        result["model/embed_norm"] = tf.reduce_mean(norm)
    for name, constraint in (("embedding", world.embedding), ("decoding", world.decoding)):
        if constraint is not None:
            result[f"model/{name}_constraint"] = constraint.loss
            result[f"model/{name}_distance"] = tf.reduce_mean(constraint.distance)
    return result


def behaviour(imagined: BehaviourLosses) -> Tensors:
    """Actor and critic, and what they learn from.

    The two losses are over all trajectories; the others are means over original ones. With
    `from_start` rows begin at z_0, one step before Dreamer's.
    """
    own = imagined.originals
    return {
        "behaviour/actor_loss": imagined.actor_loss,
        "behaviour/value_loss": imagined.value_loss,
        "behaviour/action_ent": tf.reduce_mean(imagined.entropy),
        "behaviour/imagined_reward": tf.reduce_mean(imagined.reward[:, :own]),
        "behaviour/imagined_value": tf.reduce_mean(imagined.value[:, :own]),
        "behaviour/lambda_return": tf.reduce_mean(imagined.returns[:, :own]),
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
        # With `from_start` that of z_0, where eq. 3's noise is still to be seen.
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
    """What the optimisers did, from `step_all`; `..._clipped` is 1 where a gradient was clipped."""
    result = {"model/skipped": 1.0 - tf.cast(taken, tf.float32)}
    for name, norm in norms.items():
        group = name if name in ("model", "evaluator") else "behaviour"
        result[f"{group}/{name}_grad_norm"] = norm
        result[f"{group}/{name}_clipped"] = tf.cast(optimizers[name].clips(norm), tf.float32)
        result[f"{group}/{name}_loss_scale"] = optimizers[name].scale
    return result


def weights_by_step(imagined: BehaviourLosses) -> dict:
    """Statistics of the reliability weights [R, N] by imagined step, as plain numbers.

    Returns, for `original` and, if any, `augmented` trajectories: `mean` [R], `quantiles` (each
    [R]), `score` [R], the evaluator's mean; also `first_step`, the imagined step of row 0;
    `effective_sample_size`, `largest`, `augmented_share`, `augmented_share_by_step` [R].
    """
    weight, originals = imagined.weight, imagined.originals
    array, score = weight.numpy().astype(np.float64), _score(imagined.logit)
    result = {
        "first_step": imagined.action.shape[0] - weight.shape[0],
        "original": _over_steps(array[:, :originals], score[:, :originals]),
        "effective_sample_size": float(effective_sample_size(weight)),
        "largest": float(array.max()),
        "augmented_share": float(share(weight, originals)),
        "augmented_share_by_step": (array[:, originals:].sum(1) / array.sum(1)).tolist(),
    }
    if originals < array.shape[1]:
        result["augmented"] = _over_steps(array[:, originals:], score[:, originals:])
    return result


def _score(logit: tf.Tensor) -> np.ndarray:
    return tf.sigmoid(tf.cast(logit, tf.float32)).numpy().astype(np.float64)


def _over_steps(weight: np.ndarray, score: np.ndarray) -> dict:
    rows = np.quantile(weight, QUANTILES, axis=1).tolist()
    quantiles = {str(q): row for q, row in zip(QUANTILES, rows, strict=True)}
    mean, score_mean = weight.mean(1).tolist(), score.mean(1).tolist()
    return {"mean": mean, "quantiles": quantiles, "score": score_mean}


def scores_by_age(judged: EvaluatorLoss, steps: int) -> dict:
    """The evaluator's scores of real and of predicted transitions.

    Returns `bins`, the BINS + 1 edges; for `real` and `fake` their `mean`, the `share` of scores in
    each bin, and `by_age` [min(K, L-1)], the mean score at each step of the rollouts of K `steps`,
    from 1 on (a real transition has the age of the fake that it is compared with).
    """
    edges = np.linspace(0.0, 1.0, BINS + 1)
    result: dict = {"bins": edges.tolist()}
    for name, logit in (("real", judged.real_logit), ("fake", judged.fake_logit)):
        score = _score(logit)
        result[name] = {
            "mean": float(score.mean()),
            "share": (np.histogram(score, edges)[0] / score.size).tolist(),
            "by_age": [float(score[:, a::steps].mean()) for a in range(min(steps, score.shape[1]))],
        }
    return result
