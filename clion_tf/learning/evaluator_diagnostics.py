"""How the evaluator and the memory's noise behave, as plain numbers to be drawn."""

import numpy as np
import tensorflow as tf

from clion_tf.learning.weighting import effective_sample_size, share

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
BINS = 20  # Of scores between 0 and 1.


def weights(weight: tf.Tensor, logit: tf.Tensor, originals: int, first: int) -> dict:
    """Reliability weights over the imagined steps, of original and of augmented trajectories.

    Args:
      weight, logit: [K, N], see `BehaviourLosses`; the first `originals` of N are original.
      first: the imagined step of row 0: 0 where trajectories begin at their start, else 1.

    Returns:
      `original` and, where there are any, `augmented`: `mean` [K], `quantiles`, each [K] by its
      name, and `score` [K], the evaluator's mean; `first_step`; `effective_sample_size`, `largest`;
      the augmented ones' `augmented_share`, and `augmented_share_by_step` [K].
    """
    array, score = weight.numpy().astype(np.float64), _score(logit)
    result = {
        "first_step": first,
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
    rows = np.quantile(weight, QUANTILES, axis=1)
    quantiles = {str(q): row.tolist() for q, row in zip(QUANTILES, rows, strict=True)}
    mean, mean_score = weight.mean(1).tolist(), score.mean(1).tolist()
    return {"mean": mean, "quantiles": quantiles, "score": mean_score}


def scores(real_logit: tf.Tensor, fake_logit: tf.Tensor, steps: int) -> dict:
    """The evaluator's scores of real transitions and of those predicted open-loop (eq. 4).

    Args:
      real_logit: [B, L-1]; fake_logit: [B, L-1], or [2B, L-1] of two kinds of starts.
      steps: K, after which a roll begins anew from a posterior state.

    Returns:
      `bins`, the BINS + 1 edges; for `real` and `fake` the share of scores in each bin, and
      `by_age` [min(K, L-1)], the mean score of transitions as old as that in their roll, from 1
      on (a real one counts with the fake beside it).
    """
    edges = np.linspace(0.0, 1.0, BINS + 1)
    result: dict = {"bins": edges.tolist()}
    for name, logit in (("real", real_logit), ("fake", fake_logit)):
        score = _score(logit)
        age = np.arange(score.shape[1]) % steps
        result[name] = {
            "mean": float(score.mean()),
            "share": (np.histogram(score, edges)[0] / score.size).tolist(),
            "by_age": [float(score[:, age == a].mean()) for a in range(age.max() + 1)],
        }
    return result
