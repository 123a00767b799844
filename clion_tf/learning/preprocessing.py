"""A batch as the replay draws it, and what of it the networks take."""

from collections.abc import Mapping

import tensorflow as tf

from clion_tf.learning.shape_checks import expect

Tensors = dict[str, tf.Tensor]

# action[t] led to image[t]. The image is uint8, all else float32. `discount` is for the discount
# head; `image_transformed`, uint8, gives eq. 2's o' instead of a rotation.
BATCH = {
    "action": "B L A",
    "reward": "B L",
    "discount": "B L",
    "image": "B L 64 64 3",
    "image_transformed": "B L 64 64 3",
    "vector": "B L n",
}


def check_batch(data: Mapping[str, tf.Tensor]) -> None:
    """Raises ValueError unless the tensors are of the shapes of a BATCH, which has one length."""
    required = ("action", "reward")
    expect("batch", data, {k: BATCH[k] for k in BATCH if k in data or k in required})


def preprocess(data: Mapping[str, tf.Tensor]) -> Tensors:
    """What is observed as the networks take it, float32; other keys are left out.

    Images go from uint8 to [-0.5, 0.5] (Dreamer); vectors stay as they are.
    """
    found = {}
    if "image" in data:
        found["image"] = preprocess_image(data["image"])
    if "vector" in data:
        found["vector"] = tf.cast(data["vector"], tf.float32)
    return found


def preprocess_image(image: tf.Tensor) -> tf.Tensor:
    """Images [...] of 0 to 255, any number type, to float32 in [-0.5, 0.5]."""
    return tf.cast(image, tf.float32) / 255.0 - 0.5
