"""Imagined trajectories: the actor acting inside the world model (eq. 3, Dreamer)."""

import tensorflow as tf

from clion_tf.models.heads import ActionHead
from clion_tf.models.layers import frozen
from clion_tf.models.rssm import RSSM, State
from clion_tf.models.scan import scan


def imagine(
    rssm: RSSM, actor: ActionHead, start: State, action_noise: tf.Tensor, state_noise: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """H steps from every start; differentiable in the actor's weights, once, and nothing else.

        z_0 --a_0--> z_1 --a_1--> z_2 ... --a_{H-1}--> z_H      z_0 = start

    Of N states z_0, and of noise for the actions [H, N, A] and states [H, N, S].

    Returns:
      features [H, N, F] of z_1 ... z_H; actions [H, N, A] a_0 ... a_{H-1}; the entropy [N] of
      the actor in z_0, in nats.
    """
    horizon, count, size = action_noise.shape
    # A handle on the actor's last layer of every step: zeros, whose gradient is that layer's.
    handle = tf.zeros([horizon, count, actor.raw_size])

    def step(state, handle_t, action_eps, state_eps):
        # The features without gradient, as in Dreamer: the actor learns through what its actions
        # lead to, not through how its inputs came about.
        feat = tf.stop_gradient(rssm.get_feat(state))
        raw, hidden = actor.forward(feat)
        raw = tf.stop_gradient(raw) + handle_t
        action = actor.distribution(raw).sample_from(action_eps)
        with frozen(rssm):
            state = rssm.img_step(state, action, state_eps)
        out = {f"hidden{i}": tf.stop_gradient(x) for i, x in enumerate(hidden)}
        return state, {**out, "raw": raw, "action": action, "feat": rssm.get_feat(state)}

    dtype = start["deter"].dtype
    outputs = {
        **{f"hidden{i}": (dtype, [count, layer.units]) for i, layer in enumerate(actor.hidden)},
        "raw": (tf.float32, [count, actor.raw_size]),
        "action": (tf.float32, [count, size]),
        "feat": (dtype, [count, rssm.feat_size]),
    }
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(handle)
        out = scan(step, start, [handle, action_noise, state_noise], outputs)
    policy = actor.distribution(out["raw"][0])
    entropy = policy.entropy_from(action_noise[0])
    seen = tf.concat([rssm.get_feat(start)[None], out["feat"][:-1]], 0)
    hidden = [out[f"hidden{i}"] for i in range(len(actor.hidden))]

    def actor_gradients(feat_gradient: tf.Tensor, action_gradient: tf.Tensor) -> list[tf.Tensor]:
        raw_gradient = tape.gradient(
            [out["feat"], out["action"]],
            handle,
            output_gradients=[feat_gradient, action_gradient],
        )
        rows = [tf.reshape(x, [-1, x.shape[-1]]) for x in (seen, raw_gradient, *hidden)]
        return actor.weight_gradients(rows[0], rows[2:], rows[1])

    weights = [tf.convert_to_tensor(v) for v in actor.trainable_variables]
    feat, action = _credit(out["feat"], out["action"], weights, actor_gradients)
    return feat, action, entropy


def _credit(feat, action, weights, actor_gradients):
    """The features and actions as functions of the actor's weights.

    The gradient first runs back through the world model to the actor's outputs of all steps, then
    through the actor once with all steps as rows (ours: few large products, not many small ones).
    """

    @tf.custom_gradient
    def credit(feat, action, *weights):
        del weights  # They are here so that gradients are asked for them.

        def gradients(*upstream: tf.Tensor) -> list[tf.Tensor | None]:
            return [None, None, *actor_gradients(*upstream)]

        return [tf.identity(feat), tf.identity(action)], gradients

    return credit(tf.stop_gradient(feat), tf.stop_gradient(action), *weights)
