"""How DrQ acts on a stack of frames."""

import tensorflow as tf

from clion_tf.agents.base import Tensors
from clion_tf.agents.drq import frame_stacks
from clion_tf.agents.drq.drq_models import Acting
from clion_tf.learning.noise import Noise
from clion_tf.models.distributions import TanhNormal


def act(
    models: Acting,
    observation: Tensors,
    state: Tensors,
    noise: Noise,
    how: str,
    amount: tf.Tensor | float,
    turned: str | None,
) -> tuple[tf.Tensor, Tensors]:
    """One step of N environments.

    Args:
      observation: image uint8 [N, S, S, 3]; if `turned` also rotation float32 [N], in degrees.
      state: from `stacks.begin`, or from the step before.
      noise: where the randomness comes from.
      how: `sample`, `mean` (the reference's in evaluation) or `densest` of 100 samples.
      amount: standard deviation of Gaussian noise on the action; the reference has none.
      turned: where stacks are rotated as a whole, what lies outside of them (see `rotate`).

    Returns:
      actions float32 [N, A] and the next state.
    """
    seen, state = frame_stacks.push(state, observation["image"])
    if turned:
        seen = frame_stacks.turn(seen, observation["rotation"], turned)
    policy = models.actor(models.encoder(seen))
    # An exported policy's N is open.
    shape = [seen.shape[0] or tf.shape(seen)[0], *policy.event_shape]
    action = _choose(policy, noise, how, shape)
    action += amount * noise.normal("expl", shape)
    return tf.clip_by_value(action, -1.0, 1.0), state


def _choose(policy: TanhNormal, noise: Noise, how: str, shape: list) -> tf.Tensor:
    if how == "sample":
        return policy.sample_from(noise.normal("action", shape))
    if how == "mean":
        return policy.mean_action()
    return policy.densest_from(noise.normal("action", [100, *shape]))
