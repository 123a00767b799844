"""Imagined trajectories: the actor acting inside the world model (eq. 3, Dreamer)."""

import tensorflow as tf

from clion_tf.models.heads import ActionHead
from clion_tf.models.rssm import RSSM, State


def imagine(
    rssm: RSSM, actor: ActionHead, start: State, action_noise: tf.Tensor, state_noise: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """H steps from every start.

        z_0 --a_0--> z_1 --a_1--> z_2 ... --a_{H-1}--> z_H      z_0 = start

    Args:
      start: N states z_0.
      action_noise [H, N, A], state_noise [H, N, S]: what the samples are made of.

    Returns:
      features [H, N, F] of z_1 ... z_H; actions [H, N, A] a_0 ... a_{H-1}; the entropy [N] of
      the actor in z_0, in nats.
    """
    state, feats, actions, entropy = start, [], [], None
    noises = zip(tf.unstack(action_noise), tf.unstack(state_noise), strict=True)
    for action_eps, state_eps in noises:
        # Without gradient, as in Dreamer: the actor learns through what its actions lead to,
        # not through how its inputs came about.
        policy = actor(tf.stop_gradient(rssm.get_feat(state)))
        entropy = policy.entropy(action_eps) if entropy is None else entropy
        action = policy.sample(action_eps)
        state = rssm.img_step(state, action, state_eps)
        actions.append(action)
        feats.append(rssm.get_feat(state))
    return tf.stack(feats), tf.stack(actions), entropy
