"""The trajectory evaluator's loss: real transitions against predicted ones (eq. 4).

Transitions are rows [z_t, a_t, z_{t+1}] with z = [s, h]; recorded action[t+1] leads from z_t to
z_{t+1}.
"""

import dataclasses

import tensorflow as tf

from clion_tf.config import Config
from clion_tf.learning.augmentation import augmented_states, flatten, memory_unit
from clion_tf.learning.noise import Noise
from clion_tf.learning.preprocessing import POSTERIOR, expect
from clion_tf.models import Models
from clion_tf.models.rssm import RSSM, State, time_major


@dataclasses.dataclass(frozen=True)
class EvaluatorLoss:
    """How well real and predicted transitions are told apart; everything is float32."""

    loss: tf.Tensor  # A scalar, minimised: `evaluator_bce`, or `evaluator_difference`.
    real_logit: tf.Tensor  # [B, L-1]
    fake_logit: tf.Tensor  # The same; with both kinds of starts [2B, L-1], posterior states' first.


def loss(
    models: Models, config: Config, post: State, action: tf.Tensor, noise: Noise
) -> EvaluatorLoss:
    """Real transitions against open-loop predictions of the same steps.

    No gradient flows back into the posterior states [B, L, ...]; actions are [B, L, A].
    """
    expect("posterior", {**post, "action": action}, {**POSTERIOR, "action": "B L A"})
    # It judges the model; the model is not to fool it.
    post = {key: tf.stop_gradient(value) for key, value in post.items()}
    feat = models.rssm.get_feat(post)
    real = transitions(feat[:, :-1], action[:, 1:], feat[:, 1:])
    real_logit = models.evaluator(tf.stop_gradient(real)).logits
    fake = [
        transitions(before, action[:, 1:], after)
        for before, after in fakes(models.rssm, config, post, action, noise)
    ]
    fake_logit = models.evaluator(tf.stop_gradient(tf.concat(fake, 0))).logits
    objective = {"bce": evaluator_bce, "difference": evaluator_difference}
    chosen = objective[config.evaluator_objective](real_logit, fake_logit)
    return EvaluatorLoss(chosen, real_logit, fake_logit)


def evaluator_difference(real: tf.Tensor, fake: tf.Tensor) -> tf.Tensor:
    """-(mean EVA(real) - mean EVA(fake)), eq. 4 as a loss; logits [...] -> scalar."""
    return tf.reduce_mean(tf.sigmoid(fake)) - tf.reduce_mean(tf.sigmoid(real))


def evaluator_bce(real: tf.Tensor, fake: tf.Tensor) -> tf.Tensor:
    """Binary cross-entropy, mean over real plus mean over fake (ours: GAN's usual loss)."""
    return tf.reduce_mean(tf.nn.softplus(-real)) + tf.reduce_mean(tf.nn.softplus(fake))


def transitions(feat: tf.Tensor, action: tf.Tensor, next_feat: tf.Tensor) -> tf.Tensor:
    """The evaluator's input, [..., 2 F + A]."""
    return tf.concat([feat, tf.cast(action, feat.dtype), next_feat], -1)


def fakes(
    rssm: RSSM, config: Config, post: State, action: tf.Tensor, noise: Noise
) -> list[tuple[tf.Tensor, tf.Tensor]]:
    """Features [B, L-1, F] before and after each fake transition, for each kind of start.

    Rollouts of K steps begin at posterior states 0, K, 2K, ... of [B, L, ...], at these with
    augmentation's noise, or at both (`fakes_from`); both then share the dynamics' noise.
    """
    steps = min(config.overshoot_steps, action.shape[1] - 1)
    start = {key: value[:, :-1:steps] for key, value in post.items()}
    shape = start["deter"].shape[:2]
    starts = []
    if config.fakes_from != "augmented":
        starts.append(start)
    if config.fakes_from != "posterior":
        deter_noise = noise.normal("overshoot_start_deter", [*shape, rssm.deter_size])
        stoch_noise = noise.normal("overshoot_start_stoch", [*shape, rssm.stoch_size])
        sigma1 = config.sigma1 * memory_unit(post["deter"], config.sigma_units)
        starts.append(augmented_states(start, deter_noise, stoch_noise, sigma1, config.sigma2))
    eps = noise.normal("overshoot", [steps, *shape, rssm.stoch_size])
    return [overshoot(rssm, one, action, eps) for one in starts]


def overshoot(
    rssm: RSSM, start: State, action: tf.Tensor, noise: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Features of the fakes: what the model predicts when it is left alone for K steps.

        posterior   z_0 --a_1--> z_1 --a_2--> z_2 --a_3--> z_3 --a_4--> z_4
        K = 2       z_0 --a_1--> ^z_1 -a_2--> ^z_2
                                              z_2 --a_3--> ^z_3 -a_4--> ^z_4

    Rollouts see only the recorded actions [B, L, A], so they drift as imagination does. `start` is
    [B, ceil((L-1)/K), ...] and `noise` [K, B, ceil((L-1)/K), S]. Returns the features before and
    after each transition, each [B, L-1, F].
    """
    batch, length = action.shape[:2]
    steps, _, rolls, stoch = noise.shape
    count, padding = batch * rolls, rolls * steps - (length - 1)
    actions = tf.pad(action[:, 1:], [[0, 0], [0, padding], [0, 0]])
    actions = tf.reshape(actions, [count, steps, action.shape[-1]])
    noise = time_major(tf.reshape(noise, [steps, count, stoch]))
    start = flatten(start)
    after = rssm.get_feat(rssm.imagine(actions, start, noise))
    before = tf.concat([rssm.get_feat(start)[:, None], after[:, :-1]], 1)
    in_time = [batch, rolls * steps, rssm.feat_size]
    before, after = (tf.reshape(feat, in_time)[:, : length - 1] for feat in (before, after))
    return before, after
