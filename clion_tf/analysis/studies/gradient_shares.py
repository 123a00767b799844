"""How much each term of the world model's loss (eqs. 1 and 2) asks of the weights, and of which."""

from collections.abc import Mapping

import tensorflow as tf

from clion_tf.agents.clion import Agent
from clion_tf.learning import world_model
from clion_tf.learning.noise import Noise
from clion_tf.models.layers import watching

Tensors = Mapping[str, tf.Tensor]


def of_terms(agent: Agent, data: Tensors, noise: Noise) -> dict[str, float]:
    """Norms of the terms' gradients, and how alike the decoding constraint's and images' are.

    Args:
      data: sequences [B, L, ...], as the world model learns from.

    Returns:
      `gradient_<term>`, the global norm over the world model's weights of each term as it stands
      in the loss, scale included, of one batch and before clipping: `image`, `vector`, `reward`,
      `kl` (0 below the free nats), `embedding`, `decoding`; only those that there are.
      `gradient_cosine`, of the decoding constraint's with that of the loss of what is observed:
      1 if both ask for the same change.
    """
    networks = agent.models.trained_by()["model"]
    with watching(networks, persistent=True) as tape:
        terms = world_model.loss(agent.models, agent.settings, data, noise).terms
    weights = [variable.value for network in networks for variable in network.trainable_variables]

    def gradient(loss: tf.Tensor) -> tf.Tensor:
        found = tape.gradient(loss, weights, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        return tf.concat([tf.reshape(one, [-1]) for one in found], 0)

    gradients = {name: gradient(loss) for name, loss in terms.items() if name != "pcont"}
    found = {f"gradient_{name}": float(tf.norm(each)) for name, each in gradients.items()}
    if "decoding" in terms:
        observed = sum(gradients[key] for key in ("image", "vector") if key in gradients)
        found["gradient_cosine"] = cosine(observed, gradients["decoding"])
    return found


def cosine(a: tf.Tensor, b: tf.Tensor) -> float:
    """Of the angle between two vectors [n]."""
    # Not by a product of matrices: one of a million rows loses a thousandth in float32.
    return float(tf.reduce_sum(tf.math.l2_normalize(a) * tf.math.l2_normalize(b)))
