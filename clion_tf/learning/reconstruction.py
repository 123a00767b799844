"""What the world model decodes: from memory with noise (fig. 3), and predictions without images.

Data is [B, L, ...]: image uint8 [B, L, 64, 64, 3] (and what else the agent sees), action float32
[B, L, A] that led to it; a sequence's memory begins at zeros. Images that come out are float32
[B, L, 64, 64, 3], like the learner's in [-0.5, 0.5] but for what the decoder overshoots.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow as tf

from clion_tf.learning.augmentation import augmented_states, noisy_memory
from clion_tf.learning.noise import Noise
from clion_tf.learning.preprocessing import preprocess, preprocess_image
from clion_tf.models import Models
from clion_tf.models.rssm import State

CONTEXT = 5  # Frames that are seen before the prediction is left alone (Dreamer).

Data = Mapping[str, tf.Tensor | np.ndarray]


def true_images(data: Data) -> tf.Tensor:
    """The images as the learner sees them."""
    return preprocess_image(tf.convert_to_tensor(data["image"]))


def posterior(models: Models, data: Data, noise: Noise) -> State:
    """The states [B, L, ...] after each observation."""
    data = {key: tf.convert_to_tensor(value) for key, value in data.items()}
    eps = noise.normal("posterior", [*data["action"].shape[:2], models.rssm.stoch_size])
    return models.rssm.observe(models.encode(preprocess(data)), data["action"], eps)[0]


def augmented_memory(
    post: State, noise: Noise, sigma: tf.Tensor | float, resample: bool = False,
    sigma2: float = -1.0,
) -> State:  # fmt: skip
    """(h', s) as in the decoding constraint, or with `resample` (h', s') of eq. 3; [B, L, ...]."""
    deter_noise = noise.normal("decoding", post["deter"].shape)
    if not resample:
        return noisy_memory(post, deter_noise, sigma)
    stoch_noise = noise.normal("augment_stoch", post["stoch"].shape)
    return augmented_states(post, deter_noise, stoch_noise, sigma, sigma2)


def decode(models: Models, state: State) -> tf.Tensor:
    """The images float32 [..., 64, 64, 3] that states [...] decode to, the decoder's means."""
    return models.decoder(models.rssm.get_feat(state)).mode()


def images(models: Models, data: Data, noise: Noise, *memory) -> np.ndarray:
    """Images decoded from noisy memory; `memory`: `augmented_memory`'s arguments from sigma on."""
    post = posterior(models, data, noise)
    return decode(models, augmented_memory(post, noise, *memory)).numpy()


def errors(
    models: Models, data: Data, noise: Noise, sigmas: Sequence[float], resample: bool = False,
    sigma2: float = -1.0, post: State | None = None, to: tf.Tensor | None = None,
) -> np.ndarray:  # fmt: skip
    """How far reconstructions from augmented memory are from the images, float64 [len(sigmas)].

    Squared errors are summed over an image's pixels and channels and averaged over all images.
    With `to`, the distance from these images instead, such as the reconstructions without noise
    (which eq. 2's decoding constraint keeps small). All sigmas scale the same standard noise.
    `post` are the posterior states, if they are known already.
    """
    post = posterior(models, data, noise) if post is None else post
    target, found = true_images(data) if to is None else to, []
    for sigma in sigmas:
        memory = augmented_memory(post, noise, sigma, resample, sigma2)
        decoded = models.decoder(models.rssm.get_feat(memory))
        found.append(float(tf.reduce_mean(decoded.squared_distance(target))))
    return np.array(found)


def open_loop(models: Models, post: State, action: tf.Tensor, noise: Noise) -> tf.Tensor:
    """Reconstructions of the first frames, then predictions from the actions [B, L, A] alone.

    Only the first min(CONTEXT, L - 1) of the posterior states `post` [B, T, ...] are used.
    """
    context = min(CONTEXT, action.shape[1] - 1)
    seen = {key: value[:, :context] for key, value in post.items()}
    prior = predict_open_loop(models, seen, action[:, context:], noise)
    return decode(models, {key: tf.concat([seen[key], prior[key]], 1) for key in seen})


def predict_open_loop(models: Models, seen: State, action: tf.Tensor, noise: Noise) -> State:
    """The prior states [B, T, ...] that actions [B, T, A] lead to after the last one seen."""
    eps = noise.normal("openloop", [*action.shape[:2], models.rssm.stoch_size])
    return models.rssm.imagine(action, {key: value[:, -1] for key, value in seen.items()}, eps)
