"""What the world model sees in the newest episode, before that enters any batch."""

import dataclasses
from typing import Any

import numpy as np
import tensorflow as tf

from clion_tf.agents.device_errors import device_errors
from clion_tf.learning import behaviour, evaluator, reconstruction, update_metrics, world_model
from clion_tf.learning import noise as noises
from clion_tf.learning.augmentation import memory_unit
from clion_tf.pictures.picture_rows import comparison
from clion_tf.replay.replay_buffer import Replay

SEQUENCES = 6  # As in Dreamer's pictures.
SIGMAS = (0.0, 0.05, 0.1, 0.2, 0.4)  # Of the noise on h in the diagnostics, absolute.


@device_errors()
def diagnose_newest_episode(
    agent: Any, replay: Replay, update: int
) -> tuple[dict[str, dict[str, float]], dict[str, np.ndarray], dict[str, Any]]:
    """An agent's world model and evaluator on SEQUENCES sequences of the newest episode.

    Returns numbers by group and name for the log; pictures by name, if it decodes images; numbers
    for JSON. Pictures are videos uint8 [T, 3 * 64, SEQUENCES * 64, 3] with rows truth, model,
    error: `openloop` is predicted after CONTEXT frames, `memory` decoded from noisy memory (h', s),
    fig. 3 of the paper. JSON has `decoding`, the squared error from noisy memory by
    `sigma`; of an evaluator `weights` and `scores`, see `learning.update_metrics`.
    """
    # Without the noise on inference, which is training's alone.
    models, config = agent.models, dataclasses.replace(agent.config, sigma_inference=0.0)
    batch = replay.newest(config.batch_length, SEQUENCES)
    data = {key: tf.constant(value) for key, value in batch.items()}
    noise = noises.SeededNoise(tf.constant(noises.key(config.seed, "report", update)))
    world = world_model.loss(models, config, data, noise)
    post, losses_of = world.post, (*world.decoded, "reward")
    scalars = {"model": {f"heldout_{key}_loss": float(world.terms[key]) for key in losses_of}}
    diagnosed: dict = {}
    if models.evaluator is not None:
        judged = evaluator.loss(models, config, post, data["action"], noise)
        found = update_metrics.scores(judged).items()
        scalars["evaluator"] = {f"heldout_{name}": float(value) for name, value in found}
        imagined = behaviour.losses(models, config, post, noise)
        diagnosed["weights"] = update_metrics.weights_by_step(imagined)
        diagnosed["scores"] = update_metrics.scores_by_age(judged, config.overshoot_steps)
    if "image" not in world.decoded:
        return scalars, {}, diagnosed
    errors = reconstruction.errors(models, data, noise, SIGMAS, post=post)
    diagnosed["decoding"] = {"sigma": list(SIGMAS), "error": errors.tolist()}
    truth = reconstruction.true_images(data)
    predicted = reconstruction.open_loop(models, post, data["action"], noise)
    sigma = config.sigma_h * memory_unit(post["deter"], config.sigma_units)
    noisy = reconstruction.augmented_memory(post, noise, sigma)
    pictures = {
        "openloop": _strip(truth, predicted),
        "memory": _strip(truth, reconstruction.decode(models, noisy)),
    }
    return scalars, pictures, diagnosed


def _strip(truth: tf.Tensor, model: tf.Tensor) -> np.ndarray:
    """Rows truth, model, error; sequences side by side."""
    rows = comparison(truth.numpy(), model.numpy())
    batch, length, count, height, width, channels = rows.shape
    return rows.transpose(1, 2, 3, 0, 4, 5).reshape(length, count * height, batch * width, channels)
