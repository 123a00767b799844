"""Actor and critic on weighted imagined trajectories (eqs. 3 and 5 to 9).

    z_0 --a_0--> z_1 --a_1--> z_2 ... --a_{H-1}--> z_H      z_0 = start

                  features, rewards, values    returns, weights, discounts
    from_start    z_0 ... z_H                  0 ... H-1
    else          z_1 ... z_H, as in Dreamer   1 ... H-1

Returns V_k bootstrap from v_H. The first column has R + 1 rows, the second R, where R is H with
`from_start`, else H - 1. There are always H actions, a_0 ... a_{H-1}.
"""

import dataclasses

import tensorflow as tf
from tensorflow_probability import distributions as tfd

from clion_tf.config import Config
from clion_tf.learning import augmentation, weighting
from clion_tf.learning.imagination import imagine
from clion_tf.learning.noise import Noise
from clion_tf.learning.preprocessing import POSTERIOR, expect
from clion_tf.learning.returns import cumulative_discount, lambda_return
from clion_tf.models import Models
from clion_tf.models.rssm import State


@dataclasses.dataclass(frozen=True)
class BehaviourLosses:
    """N imagined trajectories of H steps, and what actor and critic learn from them.

    N = (1 + copies) * B * L, with the discount head (1 + copies) * B * (L - 1). Float32, but for
    `feat` and h of `start`, which are of the compute type.
    """

    actor_loss: tf.Tensor  # A scalar, minimised.
    value_loss: tf.Tensor  # The same.
    start: State  # z_0 [N, ...]; those of the posterior first, then the augmented ones.
    originals: int  # How many of the N start from the posterior.
    feat: tf.Tensor  # [R + 1, N, F]
    action: tf.Tensor  # [H, N, A], a_0 ... a_{H-1}
    entropy: tf.Tensor  # [originals], the actor's in z_0, in nats.
    reward: tf.Tensor  # [R + 1, N]
    value: tf.Tensor  # [R + 1, N]
    returns: tf.Tensor  # [R, N]
    discount: tf.Tensor  # [R, N], see `cumulative_discount`.
    weight: tf.Tensor  # [R, N]
    logit: tf.Tensor | None  # [R, N], the evaluator's; None without one.


def losses(models: Models, config: Config, post: State, noise: Noise) -> BehaviourLosses:
    """Imagination from posterior states [B, L, ...], which get no gradient, and augmented ones."""
    rssm, actor = models.rssm, models.actor
    start, originals = start_points(models, config, post, noise)
    shape = [config.horizon, start["deter"].shape[0]]
    action_noise = noise.of_actions(actor.discrete, "imagined_action", [*shape, actor.size])
    state_noise = noise.normal("imagined_state", [*shape, rssm.stoch_size])
    feat, action, entropy = imagine(rssm, actor, start, action_noise, state_noise)
    between = action[1:]  # The actions between successive features.
    if config.from_start:  # Eqs. 5, 8 and 9 sum from t on, the start itself.
        feat, between = tf.concat([rssm.get_feat(start)[None], feat], 0), action
    reward, value_dist = models.reward(feat).mode(), models.value(feat)
    value = value_dist.mode()
    if models.pcont is not None:
        pcont = models.pcont(feat).mean()
    else:
        pcont = config.discount * tf.ones_like(reward)
    returns = lambda_return(reward[:-1], value[:-1], pcont[:-1], value[-1], config.disclam)
    discount = cumulative_discount(pcont)
    weight, logit = weighting.weights(models, config, feat, between)
    expect(
        "imagination",
        {"returns": returns, "discount": discount, "weight": weight, "action": between},
        {"returns": "R N", "discount": "R N", "weight": "R N", "action": "R N A"},
    )
    return BehaviourLosses(
        actor_loss=actor_loss(returns, discount, weight),
        value_loss=value_loss(value_dist[:-1], returns, discount, weight),
        start=start, originals=originals, feat=feat, action=action, entropy=entropy[:originals],
        reward=reward, value=value, returns=returns, discount=discount, weight=weight, logit=logit,
    )  # fmt: skip


def start_points(models: Models, config: Config, post: State, noise: Noise) -> tuple[State, int]:
    """Posterior states and augmented copies of them [N, ...] (eq. 3); how many are posteriors."""
    expect("posterior", post, POSTERIOR)
    # The world model is trained by its own loss only.
    post = {key: tf.stop_gradient(value) for key, value in post.items()}
    sigma1 = config.sigma1 * augmentation.memory_unit(post["deter"], config.sigma_units)
    if models.pcont is not None:  # The last state could be terminal.
        post = {key: value[:, :-1] for key, value in post.items()}
    start = augmentation.flatten(post)
    copies, count = config.augmentations, start["deter"].shape[0]
    deter_noise = noise.normal("augment_deter", [copies, count, models.rssm.deter_size])
    stoch_noise = noise.normal("augment_stoch", [copies, count, models.rssm.stoch_size])
    noises = (deter_noise, stoch_noise)
    return augmentation.augment(start, copies, *noises, sigma1, config.sigma2), count


def actor_loss(returns: tf.Tensor, discount: tf.Tensor, weight: tf.Tensor) -> tf.Tensor:
    """-mean(w * discount * V), eq. 9; all [R, N]. V has gradients, w if `weight_gradient` is on."""
    return -tf.reduce_mean(weight * discount * returns)


def value_loss(
    value: tfd.Distribution, returns: tf.Tensor, discount: tf.Tensor, weight: tf.Tensor
) -> tf.Tensor:
    """-mean(w * discount * log p(sg(V))), p = Normal(v, 1): eq. 8 as Dreamer has it; [R, N]."""
    log_prob = value.log_prob(tf.stop_gradient(returns))  # A fixed target, as usual in TD.
    return -tf.reduce_mean(tf.stop_gradient(weight) * discount * log_prob)
