"""Shapes, asserted once where tensors enter a module."""

from collections.abc import Mapping

import tensorflow as tf

POSTERIOR = {"mean": "B L S", "std": "B L S", "stoch": "B L S", "deter": "B L D"}


def expect(where: str, tensors: Mapping[str, tf.Tensor], shapes: Mapping[str, str]) -> None:
    """Checks that tensors are there and of these shapes.

    Args:
      where: what they are, for the message.
      shapes: by name, such as `B L 64 64 3`. A letter stands for one size wherever it occurs.

    Raises:
      ValueError: naming the tensor, its shape, and what was expected.
    """
    sizes: dict[str, int] = {}
    for name, shape in shapes.items():
        axes = shape.split()
        expected = f"{where}: {name} is to be [{', '.join(axes)}]"
        if name not in tensors:
            raise ValueError(f"{expected}, but is missing")
        found = tuple(tensors[name].shape)
        known = dict(sizes)
        for axis, size in zip(axes, found, strict=False):
            sizes.setdefault(axis, int(axis) if axis.isdigit() else size)
        if len(found) != len(axes) or any(sizes[a] != n for a, n in zip(axes, found, strict=True)):
            where_known = "".join(f", {a} = {known[a]}" for a in axes if a in known and a.isalpha())
            raise ValueError(f"{expected}{where_known}, not {found}")
