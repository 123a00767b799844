"""Reliability weights of imagined transitions (eq. 5)."""

import tensorflow as tf

from clion_tf.config import Config
from clion_tf.learning import replica_sums
from clion_tf.learning.evaluator import transitions
from clion_tf.models import Models


def weights(
    models: Models, config: Config, feat: tf.Tensor, action: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor | None]:
    """W(z_k) = EVA(z_k, a_k, z_{k+1}), normalised, of R transitions of N imagined trajectories.

    `feat` is z [R + 1, N, F], `action` a [R, N, A]. Returns weights [R, N] of mean 1 and the
    evaluator's logits [R, N], both float32; without an evaluator ones and None.
    """
    if models.evaluator is None:
        return tf.ones(action.shape[:2]), None
    rows = transitions(feat[:-1], action, feat[1:])
    if not config.weight_gradient:
        rows = tf.stop_gradient(rows)  # The actor is not to please the evaluator.
    logit = models.evaluator(rows).logits
    return reliability_weights(logit, config.weighting == "ratio"), logit


def reliability_weights(logit: tf.Tensor, ratio: bool) -> tf.Tensor:
    """w of eq. 5 times the number of weights, so that their mean is 1; any shape, float32.

    W = D = sigmoid(logit), or with `ratio` the odds D / (1 - D) = exp(logit); what these estimate
    is in docs/theory.md. Computed as a softmax of log W, so that W that are all close to 0 do not
    give 0 / 0.
    """
    log_weight = logit if ratio else tf.math.log_sigmoid(logit)
    flat = tf.reshape(tf.cast(log_weight, tf.float32), [-1])
    weight = replica_sums.softmax(flat) * replica_sums.total(tf.cast(tf.size(flat), tf.float32))
    return tf.reshape(weight, tf.shape(logit))


def effective_sample_size(weight: tf.Tensor) -> tf.Tensor:
    """(sum w)^2 / (n sum w^2): 1 for equal weights, 1/n when one takes all."""
    size = replica_sums.total(tf.cast(tf.size(weight), tf.float32))
    first = replica_sums.total(tf.reduce_sum(weight))
    second = replica_sums.total(tf.reduce_sum(tf.square(weight)))
    return tf.square(first) / (size * second)


def share(weight: tf.Tensor, originals: int) -> tf.Tensor:
    """The share of weight [R, N] on augmented trajectories, which follow `originals` others."""
    of_augmented = replica_sums.total(tf.reduce_sum(weight[:, originals:]))
    return of_augmented / replica_sums.total(tf.reduce_sum(weight))
