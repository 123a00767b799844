"""Stacks of three frames: what DrQ sees at one time.

    frames        t-2   t-1    t    t+1
    observation    x     x     x
    next                 x     x     x       a_(t+1), r_(t+1) led from frame t to frame t+1

Before an episode's first frame stands that frame again.
"""

import tensorflow as tf

from clion_tf.learning.rotation import rotate

Tensors = dict[str, tf.Tensor]

FRAMES = 3
SEQUENCE = FRAMES + 1  # Frames of a transition.
CHANNELS = 3 * FRAMES


def stack(frames: tf.Tensor) -> tf.Tensor:
    """[N, 3, S, S, 3] -> [N, S, S, 9], the oldest frame's colours first."""
    return tf.concat(tf.unstack(frames, axis=1), -1)


def transition(data: Tensors, turned: str | None) -> tuple[tf.Tensor, tf.Tensor]:
    """The two stacks of a transition.

    Args:
      data: image uint8 [B, 4, S, S, 3]; with `turned` also rotation float32 [B, 4], see `turn`.
      turned: where each stack is to be rotated as a whole, what lies outside (see `rotate`).

    Returns:
      observation and next observation, uint8 [B, S, S, 9].
    """
    stacks = stack(data["image"][:, :FRAMES]), stack(data["image"][:, 1:])
    if turned:
        angles = data["rotation"][:, FRAMES - 1], data["rotation"][:, FRAMES]
        stacks = turn(stacks[0], angles[0], turned), turn(stacks[1], angles[1], turned)
    return stacks


def turn(stacks: tf.Tensor, degrees: tf.Tensor, fill: str = "edge") -> tf.Tensor:
    """Fig. 6's first kind of uncertainty: all frames of a stack rotated by the same angle.

    A frame is seen in three stacks, each with an angle of its own, so frames are kept as they
    are, and turned here whenever their stack is seen: to act, and in every update. The angle of a
    stack is an observation of its newest frame, drawn by the environment, so that a stack looks in
    the replay as it did when the agent acted on it.

    Args:
      stacks: uint8 [N, S, S, 9]; degrees: float32 [N], counter-clockwise; fill: see `rotate`.

    Returns:
      uint8 [N, S, S, 9], bilinear and rounded: what the environment would give.
    """
    turned = tf.round(rotate(stacks, degrees, fill))
    # Interpolation in float32 may leave the range by a rounding error.
    return tf.cast(tf.clip_by_value(turned, 0.0, 255.0), tf.uint8)


def begin(count: int, size: int) -> Tensors:
    """The policy's memory of N environments before an episode."""
    frames = tf.zeros([count, FRAMES - 1, size, size, 3], tf.uint8)
    return {"frames": frames, "begun": tf.zeros([count], tf.bool)}


def push(state: Tensors, image: tf.Tensor) -> tuple[tf.Tensor, Tensors]:
    """The newest frame on top of those before.

    Args:
      state: from `begin` or `push`: frames uint8 [N, 2, S, S, 3], begun bool [N].
      image: uint8 [N, S, S, 3].

    Returns:
      the stack, uint8 [N, S, S, 9], and the next state.
    """
    image = tf.convert_to_tensor(image)[:, None]
    begun = tf.reshape(state["begun"], [-1, 1, 1, 1, 1])
    before = tf.where(begun, state["frames"], tf.repeat(image, FRAMES - 1, 1))
    frames = tf.concat([before, image], 1)
    return stack(frames), {"frames": frames[:, 1:], "begun": tf.ones_like(state["begun"])}
