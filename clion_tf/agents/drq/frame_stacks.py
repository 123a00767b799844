"""What DrQ sees at one time: stacks of three frames, turned as a whole and shifted at random.

    frames        t-2   t-1    t    t+1
    observation    x     x     x
    next                 x     x     x       a_(t+1), r_(t+1) led from frame t to frame t+1

Before an episode's first frame stands that frame again.
"""

import tensorflow as tf

from clion_tf.learning.noise import Noise
from clion_tf.learning.preprocessing import Tensors
from clion_tf.learning.rotation import rotate

FRAMES = 3
SEQUENCE = FRAMES + 1  # Frames of a transition.
CHANNELS = 3 * FRAMES


def stack(frames: tf.Tensor) -> tf.Tensor:
    """[N, 3, S, S, 3] -> [N, S, S, 9], the oldest frame's colours first."""
    return tf.concat(tf.unstack(frames, axis=1), -1)


def transition(data: Tensors, turned: str | None) -> tuple[tf.Tensor, tf.Tensor]:
    """The two stacks of a transition, uint8 [B, S, S, 9].

    From images uint8 [B, 4, S, S, 3]. With `turned`, what lies outside (see `rotate`), each stack
    is rotated as a whole, by rotation float32 [B, 4] of its newest frame.
    """
    stacks = stack(data["image"][:, :FRAMES]), stack(data["image"][:, 1:])
    if turned:
        angles = data["rotation"][:, FRAMES - 1], data["rotation"][:, FRAMES]
        stacks = turn(stacks[0], angles[0], turned), turn(stacks[1], angles[1], turned)
    return stacks


def turn(stacks: tf.Tensor, degrees: tf.Tensor, fill: str = "edge") -> tf.Tensor:
    """Fig. 6's first kind of uncertainty: all frames of a stack rotated by the same angle.

    A frame is seen in three stacks, each with an angle of its own, so frames are kept as they are,
    and turned whenever their stack is seen: to act, and in every update. uint8 [N, S, S, 9],
    rounded as the environment's; degrees [N], observed with the newest frame.
    """
    turned = tf.round(rotate(stacks, degrees, fill))
    # Interpolation in float32 may leave the range by a rounding error.
    return tf.cast(tf.clip_by_value(turned, 0.0, 255.0), tf.uint8)


def begin(count: int, size: int) -> Tensors:
    """The policy's memory of N environments before an episode."""
    frames = tf.zeros([count, FRAMES - 1, size, size, 3], tf.uint8)
    return {"frames": frames, "begun": tf.zeros([count], tf.bool)}


def push(state: Tensors, image: tf.Tensor) -> tuple[tf.Tensor, Tensors]:
    """Adds the newest frame, uint8 [N, S, S, 3]: (stack, uint8 [N, S, S, 9], next state)."""
    image = tf.convert_to_tensor(image)[:, None]
    begun = tf.reshape(state["begun"], [-1, 1, 1, 1, 1])
    before = tf.where(begun, state["frames"], tf.repeat(image, FRAMES - 1, 1))
    frames = tf.concat([before, image], 1)
    return stack(frames), {"frames": frames[:, 1:], "begun": tf.ones_like(state["begun"])}


def shift(image: tf.Tensor, offsets: tf.Tensor, pad: int) -> tf.Tensor:
    """Images [N, H, W, C] padded by `pad` pixels that repeat the edge, and cropped (DrQ, 3.1).

    Offsets, int32 [N, 2], are the crops' first rows and columns, in 0 ... 2 * pad.
    """
    height, width = image.shape[1:3]
    # The pixel of a padded image is one of the image's own, so the padding need not be made.
    rows = tf.clip_by_value(offsets[:, :1] + tf.range(height) - pad, 0, height - 1)
    columns = tf.clip_by_value(offsets[:, 1:] + tf.range(width) - pad, 0, width - 1)
    return tf.gather(tf.gather(image, rows, axis=1, batch_dims=1), columns, axis=2, batch_dims=1)


def views(image: tf.Tensor, copies: int, pad: int, noise: Noise, purpose: str) -> tf.Tensor:
    """Copies [copies * B, H, W, C], all images once, then all again, each shifted by its own."""
    image = tf.tile(image, [copies, 1, 1, 1])
    if pad == 0:
        return image
    choices = 2 * pad + 1
    uniform = (noise.uniform(purpose, [image.shape[0], 2]) + 1.0) / 2.0
    # A float just below 1 may round up to one choice too many.
    offsets = tf.minimum(tf.cast(uniform * choices, tf.int32), choices - 1)
    return shift(image, offsets, pad)
