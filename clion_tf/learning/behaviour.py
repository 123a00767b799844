"""Actor and critic on weighted imagined trajectories (eqs. 3 and 5 to 9).

    z_0 --a_0--> z_1 --a_1--> z_2 ... --a_{H-1}--> z_H      z_0 = start

                  features, rewards, values    returns, weights, discounts
    from_start    z_0 ... z_H                  0 ... H-1
    else          z_1 ... z_H, as in Dreamer   1 ... H-1

A return V_k bootstraps from v_H. Below, [K + 1, N] is the first of the columns, [K, N] the second.
"""

import dataclasses

import tensorflow as tf
from tensorflow_probability import distributions as tfd

from clion_tf.config import Config
from clion_tf.learning import augmentation, weighting
from clion_tf.learning.noise import Noise
from clion_tf.learning.preprocessing import POSTERIOR, expect
from clion_tf.models import Models
from clion_tf.models.heads import ActionHead
from clion_tf.models.layers import frozen
from clion_tf.models.rssm import RSSM, State, scan


@dataclasses.dataclass(frozen=True)
class BehaviourLosses:
    """N imagined trajectories of H steps, and what actor and critic learn from them.

    N = (1 + A) * B * L, with the discount head (1 + A) * B * (L - 1). Float32, but for `feat` and
    h of `start`, which are of the compute type.
    """

    actor_loss: tf.Tensor  # A scalar, minimised.
    value_loss: tf.Tensor  # The same.
    start: State  # z_0 [N, ...]; those of the posterior first, then the augmented ones.
    originals: int  # How many of the N start from the posterior.
    feat: tf.Tensor  # [K + 1, N, F]
    action: tf.Tensor  # [H, N, A], a_0 ... a_{H-1}
    entropy: tf.Tensor  # [originals], the actor's in z_0, in nats.
    reward: tf.Tensor  # [K + 1, N]
    value: tf.Tensor  # [K + 1, N]
    returns: tf.Tensor  # [K, N]
    discount: tf.Tensor  # [K, N], see `cumulative_discount`.
    weight: tf.Tensor  # [K, N]
    logit: tf.Tensor | None  # [K, N], the evaluator's; None without one.


def losses(models: Models, config: Config, post: State, noise: Noise) -> BehaviourLosses:
    """Imagination from posterior states [B, L, ...], which get no gradient, and augmented ones."""
    rssm, actor = models.rssm, models.actor
    start, originals = start_points(models, config, post, noise)
    shape = [config.horizon, start["deter"].shape[0]]
    action_noise = noise.of_actions(actor.discrete, "imagined_action", [*shape, actor.size])
    state_noise = noise.normal("imagined_state", [*shape, rssm.stoch])
    feat, action, entropy = imagine(rssm, actor, start, action_noise, state_noise)
    led = action[1:]  # The actions between the features.
    if config.from_start:  # Eqs. 5, 8 and 9 sum from t on, the start itself.
        feat, led = tf.concat([rssm.get_feat(start)[None], feat], 0), action
    reward, value_dist = models.reward(feat).mode(), models.value(feat)
    value = value_dist.mode()
    if models.pcont is not None:
        pcont = models.pcont(feat).mean()
    else:
        pcont = config.discount * tf.ones_like(reward)
    returns = lambda_return(reward[:-1], value[:-1], pcont[:-1], value[-1], config.disclam)
    discount = cumulative_discount(pcont)
    weight, logit = weighting.weights(models, config, feat, led)
    expect(
        "imagination",
        {"returns": returns, "discount": discount, "weight": weight, "action": led},
        {"returns": "K N", "discount": "K N", "weight": "K N", "action": "K N A"},
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
    if models.pcont is not None:  # The last state could be terminal.
        post = {key: value[:, :-1] for key, value in post.items()}
    start = augmentation.flatten(post)
    copies, count = config.augmentations, start["deter"].shape[0]
    deter_noise = noise.normal("augment_deter", [copies, count, models.rssm.deter])
    stoch_noise = noise.normal("augment_stoch", [copies, count, models.rssm.stoch])
    scales = (config.sigma1, config.sigma2, config.sigma_units)
    return augmentation.augment(start, copies, deter_noise, stoch_noise, *scales), count


def imagine(
    rssm: RSSM, actor: ActionHead, start: State, action_noise: tf.Tensor, state_noise: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """H steps from N states; the world model's weights are constants to gradients (Dreamer).

    From noise for the actions [H, N, A] and states [H, N, S] to features [H, N, F] of z_1 ... z_H,
    actions [H, N, A] a_0 ... a_{H-1}, and the entropy [N] of the actor in z_0, in nats.
    """

    def step(state, action_eps, state_eps):
        # The features without gradient, as in Dreamer: the actor learns through what its actions
        # lead to, not through how its inputs came about.
        raw = actor.raw(tf.stop_gradient(rssm.get_feat(state)))
        action = actor.distribution(raw).sample_from(action_eps)
        with frozen(rssm):
            state = rssm.img_step(state, action, state_eps)
        return state, {"raw": raw, "action": action, "feat": rssm.get_feat(state)}

    count = action_noise.shape[1]
    outputs = {
        "raw": tf.TensorSpec([count, actor.raw_size]),
        "action": tf.TensorSpec([count, actor.size]),
        "feat": tf.TensorSpec([count, rssm.feat_size], start["deter"].dtype),
    }
    out = scan(step, start, [action_noise, state_noise], outputs)
    entropy = actor.distribution(out["raw"][0]).entropy_from(action_noise[0])
    return out["feat"], out["action"], entropy


def lambda_return(
    reward: tf.Tensor, value: tf.Tensor, pcont: tf.Tensor, bootstrap: tf.Tensor, lambda_: float
) -> tf.Tensor:
    """V_lambda of eqs. 6 and 7 by Dreamer's recursion.

        V[k] = r[k] + pcont[k] * ((1 - lambda) * v[k+1] + lambda * V[k+1]),  V[last+1] = bootstrap

    Eq. 7's mixture of the k-step returns cut off at the horizon is the same number (tested). All
    are [K, N], but for the bootstrap [N], the value after the last step; pcont discounts a step.
    """
    next_value = tf.concat([value[1:], bootstrap[None]], 0)
    inputs = reward + pcont * next_value * (1.0 - lambda_)

    def step(later, input_k, pcont_k):
        result = input_k + pcont_k * lambda_ * later
        return result, {"return": result}

    backwards = [tf.reverse(x, [0]) for x in (inputs, pcont)]
    return tf.reverse(scan(step, bootstrap, backwards, {"return": bootstrap})["return"], [0])


def cumulative_discount(pcont: tf.Tensor) -> tf.Tensor:
    """How much each imagined step counts (Dreamer), [K + 1, N] -> [K, N]: 1, p1, p1 p2, ...

    No gradient: a policy must not gain by ending what it imagines.
    """
    ones = tf.ones_like(pcont[:1])
    return tf.stop_gradient(tf.math.cumprod(tf.concat([ones, pcont[:-2]], 0), 0))


def actor_loss(returns: tf.Tensor, discount: tf.Tensor, weight: tf.Tensor) -> tf.Tensor:
    """-mean(w * discount * V), eq. 9 as a loss; all [K, N]. Gradient: through the returns."""
    return -tf.reduce_mean(weight * discount * returns)


def value_loss(
    value: tfd.Distribution, returns: tf.Tensor, discount: tf.Tensor, weight: tf.Tensor
) -> tf.Tensor:
    """-mean(w * discount * log p(sg(V))), p = Normal(v, 1): eq. 8 as Dreamer has it; [K, N]."""
    log_prob = value.log_prob(tf.stop_gradient(returns))  # A fixed target, as usual in TD.
    return -tf.reduce_mean(tf.stop_gradient(weight) * discount * log_prob)
