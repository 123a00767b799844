"""The losses of an update from networks, stacks and noise; equations: soft_actor_critic.py."""

import dataclasses

import tensorflow as tf

from clion_tf.agents.base import Tensors
from clion_tf.agents.drq import soft_actor_critic
from clion_tf.agents.drq.drq_models import Models
from clion_tf.learning.noise import Noise


@dataclasses.dataclass(frozen=True)
class Settings:
    """The constants of the losses; the options' meanings (see config.py)."""

    discount: float = 0.99
    pad: int = 4
    targets: int = 2
    online: int = 2


@dataclasses.dataclass(frozen=True)
class Target:
    """What the critics are to say of a batch; float32.

    Attributes:
      value: y [B].
      log_prob: [K * B], of the policy's actions in the next observations.
      alpha: scalar, the temperature.
    """

    value: tf.Tensor
    log_prob: tf.Tensor
    alpha: tf.Tensor


@dataclasses.dataclass(frozen=True)
class CriticLoss:
    """`loss`, a scalar; what the first critic says, q1 [M, B]; the target of both."""

    loss: tf.Tensor
    q1: tf.Tensor
    target: Target


@dataclasses.dataclass(frozen=True)
class ActorLosses:
    """Scalars, by the names of who minimises them."""

    actor: tf.Tensor
    temperature: tf.Tensor


def target(
    models: Models, settings: Settings, data: Tensors, next_obs: tf.Tensor, noise: Noise
) -> Target:
    """What the critics are to say of a batch. Nothing is trained through it.

    Args:
      data: reward and discount [B, 4]; those of the last frame are the transition's.
      next_obs: uint8 [K * B, S, S, 9].
    """
    policy = models.actor(models.encoder(next_obs))
    eps = noise.normal("next_action", policy.batch_shape + policy.event_shape)
    log_prob = -policy.entropy_from(eps)
    q1, q2 = models.target_critic(models.target_encoder(next_obs), policy.sample_from(eps))
    alpha = models.temperature.alpha
    value = soft_actor_critic.soft_value(q1, q2, log_prob, alpha)
    y = soft_actor_critic.target(
        data["reward"][:, -1],
        settings.discount * data["discount"][:, -1],
        tf.reshape(value, [settings.targets, -1]),
    )
    return Target(y, log_prob, alpha)


def critic(
    models: Models, settings: Settings, action: tf.Tensor, obs: tf.Tensor, target: Target
) -> CriticLoss:
    """The critic's loss, which moves the encoder too.

    Args:
      action: [B, A].
      obs: uint8 [M * B, S, S, 9], all augmentations in one pass of the encoder.
    """
    copies = settings.online
    q1, q2 = models.critic(models.encoder(obs), tf.tile(action, [copies, 1]))
    q1, q2 = tf.reshape(q1, [copies, -1]), tf.reshape(q2, [copies, -1])
    return CriticLoss(soft_actor_critic.critic_loss(q1, q2, target.value), q1, target)


def actor(models: Models, obs: tf.Tensor, noise: Noise) -> ActorLosses:
    """The losses of actor and temperature, for a target entropy of -A.

    Args:
      obs: uint8 [B, S, S, 9].
    """
    # The encoder is the critic's to train. Actor and critic share it, so one pass serves both.
    features = tf.stop_gradient(models.encoder(obs))
    policy, alpha = models.actor(features), models.temperature.alpha
    eps = noise.normal("action", policy.batch_shape + policy.event_shape)
    log_prob = -policy.entropy_from(eps)
    q1, q2 = models.critic(features, policy.sample_from(eps))
    return ActorLosses(
        soft_actor_critic.actor_loss(q1, q2, log_prob, alpha),
        soft_actor_critic.temperature_loss(alpha, log_prob, -eps.shape[-1]),
    )
