"""Sums over replicas (tf.distribute's), for what is not linear in the rows of a batch.

All replicas have equally many rows of the batch, so a mean over the whole batch is the mean of the
replicas' means, and so is its gradient. max(KL, free nats), not linear, needs the whole mean.
Outside of a strategy all of this is the identity and adds no operation.
"""

from collections.abc import Sequence

import tensorflow as tf

from clion_tf.learning.noise import Noise

# AXES: {purpose of noise in an update: the axis along which the batch's rows lie}. With a purpose
# in BLOCKS that axis has 1 + A blocks: the original rows, then those of each augmented copy.
BLOCKS = ("imagined_action", "imagined_state")
AXES = dict.fromkeys(("augment_deter", "augment_stoch", "overshoot", *BLOCKS), 1)
AXES |= dict.fromkeys(("posterior", "inference", "rotation", "decoding"), 0)
AXES |= dict.fromkeys(("overshoot_start_deter", "overshoot_start_stoch"), 0)


def count() -> int:
    """How many replicas share this update."""
    return tf.distribute.get_replica_context().num_replicas_in_sync


def rank() -> int:
    """This replica's number among them."""
    found = tf.distribute.get_replica_context().replica_id_in_sync_group
    return int(tf.get_static_value(tf.convert_to_tensor(found)))


def total(x: tf.Tensor) -> tf.Tensor:
    """The sum over replicas; its gradient is that of the sum of their losses."""
    if count() == 1:
        return x
    return tf.distribute.get_replica_context().all_reduce("SUM", tf.identity(x))


def first(x: tf.Tensor) -> tf.Tensor:
    """The first replica's x, for all."""
    return total(x if rank() == 0 else tf.zeros_like(x))


def mean_without_gradient(structure):
    """The mean over replicas of every float32 tensor in a structure; see `mean` for gradients."""
    if count() == 1:
        return structure
    # Sent as one: a sum of its own for each costs thirty operations and a turn of messages.
    tensors = tf.nest.flatten(structure)
    joined = tf.concat([tf.reshape(x, [-1]) for x in tensors], 0)
    joined = tf.distribute.get_replica_context().all_reduce("MEAN", joined)
    parts = tf.split(joined, [x.shape.num_elements() for x in tensors])
    means = map(tf.reshape, parts, [x.shape for x in tensors])
    return tf.nest.pack_sequence_as(structure, list(means))


def mean(x: tf.Tensor) -> tf.Tensor:
    """The mean over replicas of x, each replica's mean over its rows; its gradient to x is 1.

    The gradients are averaged over replicas later, which gives the gradient of the whole mean.
    """
    return x if count() == 1 else x + tf.stop_gradient(mean_without_gradient(x) - x)


def gather(x: tf.Tensor) -> tf.Tensor:
    """Every replica's scalar, [replicas]."""
    mine = tf.range(count()) == rank()  # A sum of what is zero elsewhere, also for x infinite.
    return total(tf.where(mine, x, tf.zeros_like(x)))


def largest(x: tf.Tensor) -> tf.Tensor:
    """The largest of the replicas' scalars."""
    return x if count() == 1 else tf.reduce_max(gather(x))


def softmax(logit: tf.Tensor) -> tf.Tensor:
    """This replica's part of the softmax over all replicas' logits [N]."""
    if count() == 1:
        return tf.nn.softmax(logit)
    return tf.exp(logit - tf.reduce_logsumexp(gather(tf.reduce_logsumexp(logit))))


class ReplicaNoise(Noise):
    """This replica's rows of the whole batch's noise; `copies` is A, those of each start state."""

    def __init__(self, noise: Noise, copies: int):
        self._noise, self._copies = noise, copies

    def draw(self, kind: str, purpose: str, shape: Sequence[int]) -> tf.Tensor:
        if purpose not in AXES:
            raise KeyError(f"which axis of {purpose!r} holds rows? add it to replica_sums.AXES")
        shape, axis = list(shape), AXES[purpose]
        before, after = shape[:axis], shape[axis + 1 :]
        whole = self._noise.draw(kind, purpose, [*before, shape[axis] * count(), *after])
        blocks = 1 + self._copies if purpose in BLOCKS else 1
        # Block by block, and in each the replicas' rows one after the other.
        parts = [*before, blocks, count(), shape[axis] // blocks, *after]
        mine = tf.gather(tf.reshape(whole, parts), rank(), axis=axis + 1)
        return tf.reshape(mine, shape)
