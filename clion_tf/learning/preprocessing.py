"""A batch as the replay draws it, what of it the networks take, and shapes asserted on entry."""

from collections.abc import Mapping

import tensorflow as tf

Tensors = dict[str, tf.Tensor]

# action[t] led to image[t]. Images are uint8, all else float32. `discount` is for the discount
# head; `image_transformed` gives eq. 2's o' instead of a rotation.
BATCH = {
    "action": "B L A",
    "reward": "B L",
    "discount": "B L",
    "image": "B L 64 64 3",
    "image_transformed": "B L 64 64 3",
    "vector": "B L n",
}
POSTERIOR = {"mean": "B L S", "std": "B L S", "stoch": "B L S", "deter": "B L D"}


def expect(where: str, tensors: Mapping[str, tf.Tensor], shapes: Mapping[str, str]) -> None:
    """Raises ValueError if a tensor is missing or is not of its shape, such as `B L 64 64 3`.

    A letter stands for the same size in all shapes; `where` names the tensors in the message.
    """
    sizes: dict[str, int] = {}
    for name, shape in shapes.items():
        axes = shape.split()
        expected = f"{where}: {name} is to be [{', '.join(axes)}]"
        if name not in tensors:
            raise ValueError(f"{expected}, but is missing")
        found = tuple(tensors[name].shape)
        known = "".join(f", {a} = {sizes[a]}" for a in axes if a in sizes and a.isalpha())
        for axis, size in zip(axes, found, strict=False):
            sizes.setdefault(axis, int(axis) if axis.isdigit() else size)
        if found != tuple(sizes.get(axis) for axis in axes):
            raise ValueError(f"{expected}{known}, not {found}")


def preprocess(data: Mapping[str, tf.Tensor]) -> Tensors:
    """What is observed as the networks take it, float32; other keys are left out.

    Images go from uint8 to [-0.5, 0.5] (Dreamer); vectors stay as they are.
    """
    how = {"image": preprocess_image, "vector": lambda vector: tf.cast(vector, tf.float32)}
    return {key: how[key](data[key]) for key in how if key in data}


def preprocess_image(image: tf.Tensor) -> tf.Tensor:
    """Images [...] of 0 to 255, any number type, to float32 in [-0.5, 0.5]."""
    return tf.cast(image, tf.float32) / 255.0 - 0.5
