"""What a DrQ update reports, as `group/name`."""

import tensorflow as tf

from clion_tf.agents.base import Tensors
from clion_tf.agents.drq.drq_losses import CriticLoss

OF_THE_ACTOR = ("actor_loss", "temperature_loss", "actor_grad_norm", "skipped")


def training(
    critic: CriticLoss, norm: tf.Tensor, taken: tf.Tensor, actor: Tensors, every: int
) -> Tensors:
    """Scalars of one update, float32.

    What only the actor's step knows counts `every` times, and as 0 in updates without one: the
    mean over many updates, which is what is logged, is then that over the actor's steps.

    Args:
      norm, taken: of the critic's gradient before its step; whether that was taken.
      actor: OF_THE_ACTOR, zeros where there was no step.
      every: updates for each of the actor's steps.
    """
    skipped = tf.maximum(1.0 - tf.cast(taken, tf.float32), actor["skipped"])
    return {
        "behaviour/critic_loss": critic.loss,
        "behaviour/critic_grad_norm": norm,
        **{f"behaviour/{n}": every * actor[n] for n in OF_THE_ACTOR if n != "skipped"},
        "behaviour/value": tf.reduce_mean(critic.q1),
        "behaviour/target_value": tf.reduce_mean(critic.target.value),
        "behaviour/action_ent": -tf.reduce_mean(critic.target.log_prob),
        "behaviour/temperature": critic.target.alpha,
        "model/skipped": skipped,
    }
