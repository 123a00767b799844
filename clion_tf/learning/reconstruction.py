"""What the world model decodes: from memory with noise (fig. 3), and predictions without images.

Data is [B, L, ...]: image uint8 [B, L, 64, 64, 3] (and what else the agent sees), action float32
[B, L, A] that led to it; a sequence's memory begins at zeros. Images that come out are float32
[B, L, 64, 64, 3], like the learner's in [-0.5, 0.5] but for what the decoder overshoots.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow as tf

from clion_tf.learning.augmentation import noised, noisy_memory
from clion_tf.learning.noise import Noise
from clion_tf.learning.preprocessing import preprocess, preprocess_image
from clion_tf.models import Models
from clion_tf.models.rssm import State

CONTEXT = 5  # Frames that are seen before the prediction is left alone (Dreamer).

Data = Mapping[str, tf.Tensor | np.ndarray]


def observed(data: Data) -> tf.Tensor:
    """The images as the learner sees them."""
    return preprocess_image(tf.convert_to_tensor(data["image"]))


def posterior(models: Models, data: Data, noise: Noise) -> State:
    """The states [B, L, ...] after each observation."""
    data = {key: tf.convert_to_tensor(value) for key, value in data.items()}
    eps = noise.normal("posterior", [*data["action"].shape[:2], models.rssm.stoch])
    embed = models.encode(preprocess(data))
    return models.rssm.observe(embed, data["action"], eps)[0]


def augmented_memory(
    post: State,
    noise: Noise,
    sigma: tf.Tensor | float,
    resample: bool = False,
    sigma2: float = -1.0,
) -> State:
    """(h', s) as in the decoding constraint, or (h', s') as imagination starts from (eq. 3).

        h' ~ N(h, sigma^2),  s' ~ N(m, sigma2^2), m the posterior's mean

    Args:
      post: states [B, L, ...].
      resample: draw s' too; else s stays as it is.
      sigma2: negative for the posterior's own standard deviation.
    """
    deter_noise = noise.normal("decoding", post["deter"].shape)
    if not resample:
        return noisy_memory(post, deter_noise, sigma)
    stoch_noise = noise.normal("augment_stoch", post["stoch"].shape)
    return noised(post, deter_noise, stoch_noise, sigma, sigma2)


def decode(models: Models, state: State) -> tf.Tensor:
    """The images of states."""
    return models.decoder(models.rssm.get_feat(state)).mode()


def images(
    models: Models,
    data: Data,
    noise: Noise,
    sigma: float,
    resample: bool = False,
    sigma2: float = -1.0,
) -> np.ndarray:
    """Reconstructions from augmented memory; see `augmented_memory`."""
    post = posterior(models, data, noise)
    return decode(models, augmented_memory(post, noise, sigma, resample, sigma2)).numpy()


def errors(
    models: Models,
    data: Data,
    noise: Noise,
    sigmas: Sequence[float],
    resample: bool = False,
    sigma2: float = -1.0,
    post: State | None = None,
) -> np.ndarray:
    """How far reconstructions from augmented memory are from the images, for each sigma.

    Squared error summed over an image's pixels and channels (values in [-0.5, 0.5]), mean over all
    images: what the decoding constraint bounds (eq. 2). The same standard noise serves every
    sigma, so that they differ by its scale only.

    Args:
      post: states [B, L, ...] after each observation, where they are known already.

    Returns:
      float64 [len(sigmas)].
    """
    post = posterior(models, data, noise) if post is None else post
    target, found = observed(data), []
    for sigma in sigmas:
        memory = augmented_memory(post, noise, sigma, resample, sigma2)
        decoded = models.decoder(models.rssm.get_feat(memory))
        found.append(tf.reduce_mean(decoded.squared_distance(target)))
    return np.array([value.numpy() for value in found], np.float64)


def open_loop(
    models: Models, post: State, action: tf.Tensor, noise: Noise, context: int = CONTEXT
) -> tf.Tensor:
    """Reconstructions of the first frames, then predictions from the actions alone.

    Args:
      post: states [B, K, ...] after the first K >= context images.
      action: [B, L, A].
      context: frames that are seen; at most L - 1 are.
    """
    context = min(context, action.shape[1] - 1)
    seen = {key: value[:, :context] for key, value in post.items()}
    left = action[:, context:]
    eps = noise.normal("openloop", [*left.shape[:2], models.rssm.stoch])
    prior = models.rssm.imagine(left, {key: value[:, -1] for key, value in seen.items()}, eps)
    states = {key: tf.concat([seen[key], prior[key]], 1) for key in seen}
    return decode(models, states)
