"""What the world model sees in an episode that it was not trained on yet.

Called before the newest episode enters any batch, so the numbers are of held-out data.
"""

import numpy as np
import tensorflow as tf

from clion_tf import noise as noises
from clion_tf import video
from clion_tf.config import Config
from clion_tf.learning import constraints, losses, metrics
from clion_tf.models.packing import unpack
from clion_tf.replay import Replay

SEQUENCES = 6  # As in Dreamer's pictures.
CONTEXT = 5  # Frames that are seen before the prediction is left alone (Dreamer).


def newest_episode(
    agent, replay: Replay, config: Config, update: int
) -> tuple[dict[str, dict[str, float]], dict[str, np.ndarray]]:
    """Held-out scalars by group, and videos by tag, uint8 [T, 3 * 64, SEQUENCES * 64, 3].

    `model/openloop`: rows truth, prediction after CONTEXT frames, error. `model/memory`: rows
    input, reconstruction from noisy memory (h', s), error; fig. 3 of the paper.
    """
    batch = replay.newest(config.batch_length, SEQUENCES)
    data = {key: tf.constant(value) for key, value in batch.items()}
    noise = noises.SeededNoise(tf.constant(noises.key(config.seed, "report", update)))
    models, settings = agent.models, agent.settings
    out = losses.world_model(models, settings, data, noise)
    post = {key: out[f"post_{key}"] for key in ("mean", "std", "stoch", "deter")}
    scalars = {"model": {"heldout_image_loss": -float(out["log_prob_image"])}}
    scalars["model"]["heldout_reward_loss"] = -float(out["log_prob_reward"])
    if models.evaluator is not None:
        judged = losses.evaluator_losses(models, settings, post, data["action"], noise)
        scores = metrics.scores(judged).items()
        scalars["evaluator"] = {f"heldout_{name}": float(value) for name, value in scores}
    truth = unpack(losses.preprocess(data["image"]))
    pictures = {"model/openloop": _strip(truth, _open_loop(models, data, post, out, noise))}
    pictures["model/memory"] = _strip(truth, _from_noisy_memory(models, settings, post, noise))
    return scalars, pictures


def _from_noisy_memory(models, settings, post, noise) -> tf.Tensor:
    """Images decoded from (h', s), whether the decoding constraint is on or not."""
    deter_noise = noise.normal("decoding", post["deter"].shape)
    noisy = constraints.noisy_memory(post, deter_noise, settings.sigma_h)
    return unpack(models.decoder(models.rssm.get_feat(noisy)))


def _open_loop(models, data, post, out, noise) -> tf.Tensor:
    """Reconstructions of the first CONTEXT frames, then predictions; [B, L, 64, 64, 3]."""
    context = min(CONTEXT, data["action"].shape[1] - 1)
    start = {key: value[:, context - 1] for key, value in post.items()}
    action = data["action"][:, context:]
    eps = noise.normal("openloop", [*action.shape[:2], models.rssm.stoch])
    prior = models.rssm.imagine(action, start, eps)
    predicted = unpack(models.decoder(models.rssm.get_feat(prior)))
    return tf.concat([out["image_mean"][:, :context], predicted], 1)


def _strip(truth: tf.Tensor, model: tf.Tensor) -> np.ndarray:
    """Rows truth, model, error; sequences side by side."""
    error = (model - truth) / 2
    rows = tf.concat([truth, model, error], 2) + 0.5
    pixels = np.clip(np.round(rows.numpy() * 255), 0, 255).astype(np.uint8)
    return video.grid(pixels)
