"""Recurrence over time, written out or as a loop in the graph."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import tensorflow as tf

# Up to this many steps are unrolled, which is faster for small networks on a CPU. More become a
# tf.while_loop, as a long unrolled graph takes long to build.
WRITTEN_OUT = 16


def scan(
    step: Callable[..., tuple[Any, dict[str, tf.Tensor]]],
    state: Any,
    inputs: Sequence[tf.Tensor],
    outputs: Mapping[str, tf.TensorSpec | tf.Tensor],
) -> dict[str, tf.Tensor]:
    """Applies `step`: (state, *inputs at t) -> (state, outputs at t), and stacks what it gives out.

    Args:
      state: before the first step, any nest of tensors.
      inputs: tensors [T, ...], at least one; T is static.
      outputs: by name a tensor or spec with the dtype and shape of one step's output.

    Returns {name: [T, ...]}.
    """
    length = inputs[0].shape[0]
    if length <= WRITTEN_OUT:
        found = []
        for row in zip(*map(tf.unstack, inputs), strict=True):
            state, out = step(state, *row)
            found.append(out)
        return {name: tf.stack([out[name] for out in found]) for name in outputs}

    def array(dtype: tf.DType, shape: Sequence[int], **options) -> tf.TensorArray:
        return tf.TensorArray(dtype, length, element_shape=shape, **options)

    arrays = [array(x.dtype, x.shape[1:], clear_after_read=False).unstack(x) for x in inputs]
    written = {name: array(one.dtype, one.shape) for name, one in outputs.items()}

    def body(t, state, written):
        state, found = step(state, *(each.read(t) for each in arrays))
        return t + 1, state, {name: written[name].write(t, found[name]) for name in written}

    start = (tf.constant(0), state, written)
    end = tf.while_loop(lambda t, *_: t < length, body, start, maximum_iterations=length)
    shapes = {name: [length, *one.shape] for name, one in outputs.items()}
    return {name: tf.ensure_shape(each.stack(), shapes[name]) for name, each in end[2].items()}
