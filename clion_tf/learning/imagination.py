"""Imagination: the actor acts in the world model's latent space (Dreamer)."""

import tensorflow as tf

from clion_tf.models.heads import ActionHead
from clion_tf.models.layers import frozen
from clion_tf.models.rssm import RSSM, State
from clion_tf.models.scan import scan


def imagine(
    rssm: RSSM, actor: ActionHead, start: State, action_noise: tf.Tensor, state_noise: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Imagines H steps from N states; no gradient flows into the RSSM's weights (Dreamer).

    The noise is [H, N, A] for actions and [H, N, S] for states. Returns features [H, N, F] of
    z_1 ... z_H, actions a_0 ... a_{H-1} [H, N, A], and the actor's entropy [N] in z_0, in nats.
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
    # Of what the actor's network gives, only z_0's is read.
    entropy = actor.distribution(out["raw"][0]).entropy_from(action_noise[0])
    return out["feat"], out["action"], entropy
