"""Trajectory evaluator (eq. 4) and reliability weights (eq. 5).

Transitions are rows [z_t, a_t, z_{t+1}] with z = [s, h]; recorded action[t+1] leads from z_t to
z_{t+1}.
"""

import tensorflow as tf

from clion_tf.learning import replica_sums
from clion_tf.models.rssm import RSSM, State, time_major
from clion_tf.models.scan import scan


def transitions(feat: tf.Tensor, action: tf.Tensor, next_feat: tf.Tensor) -> tf.Tensor:
    """The evaluator's input, [..., 2 F + A]."""
    return tf.concat([feat, tf.cast(action, feat.dtype), next_feat], -1)


def roll_starts(post: State, steps: int) -> State:
    """The posterior states [B, ceil((L-1)/K), ...] at 0, K, 2K, ... of [B, L, ...]."""
    return {key: value[:, :-1:steps] for key, value in post.items()}


def overshoot(
    rssm: RSSM, start: State, action: tf.Tensor, noise: tf.Tensor, steps: int
) -> tuple[tf.Tensor, tf.Tensor]:
    """Features of the fakes: what the model predicts when it is left alone for `steps`.

        posterior   z_0 --a_1--> z_1 --a_2--> z_2 --a_3--> z_3 --a_4--> z_4
        steps = 2   z_0 --a_1--> ^z_1 -a_2--> ^z_2
                                              z_2 --a_3--> ^z_3 -a_4--> ^z_4

    Rolls start from the states at 0, K, 2K, ... and see only recorded actions (spec of eq. 4: the
    same drift as imagination has).

    Args:
      start: see `roll_starts`; with noise or without.
      action [B, L, A]; noise [K, B, ceil((L-1)/K), S]; steps K.

    Returns:
      features before and after each transition, [B, L-1, F].
    """
    batch, length = action.shape[0], action.shape[1]
    rolls = -(-(length - 1) // steps)
    padding = rolls * steps - (length - 1)
    actions = tf.pad(action[:, 1:], [[0, 0], [0, padding], [0, 0]])
    actions = tf.reshape(actions, [batch * rolls, steps, action.shape[-1]])
    state = {key: tf.reshape(x, [batch * rolls, x.shape[-1]]) for key, x in start.items()}

    def step(state, action_t, eps_t):
        state = rssm.img_step(state, action_t, eps_t)
        return state, {"feat": rssm.get_feat(state)}

    count = batch * rolls
    inputs = [time_major(actions), tf.reshape(noise, [steps, count, rssm.stoch])]
    spec = {"feat": (state["deter"].dtype, [count, rssm.feat_size])}
    after = scan(step, state, inputs, spec)["feat"]
    before = tf.concat([rssm.get_feat(state)[None], after[:-1]], 0)

    def in_time(feat: tf.Tensor) -> tf.Tensor:
        rows = tf.reshape(time_major(feat), [batch, rolls * steps, rssm.feat_size])
        return rows[:, : length - 1]

    return in_time(before), in_time(after)


def evaluator_difference(real: tf.Tensor, fake: tf.Tensor) -> tf.Tensor:
    """-(mean EVA(real) - mean EVA(fake)), eq. 4 as a loss; logits [...] -> scalar."""
    return tf.reduce_mean(tf.sigmoid(fake)) - tf.reduce_mean(tf.sigmoid(real))


def evaluator_bce(real: tf.Tensor, fake: tf.Tensor) -> tf.Tensor:
    """Binary cross-entropy, mean over real plus mean over fake (ours: GAN's usual loss)."""
    return tf.reduce_mean(tf.nn.softplus(-real)) + tf.reduce_mean(tf.nn.softplus(fake))


def reliability_weights(logit: tf.Tensor, ratio: bool) -> tf.Tensor:
    """w of eq. 5 times the number of weights, so that their mean is 1; any shape, float32.

    Over all replicas' weights, where the batch is split.
    W = sigmoid(logit), or with `ratio` D / (1 - D) = exp(logit), the density ratio of eqs. 11 and
    16. As a softmax of logarithms, so that an evaluator that doubts everything does not divide 0
    by 0.
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
