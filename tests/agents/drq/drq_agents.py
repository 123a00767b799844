"""Tiny DrQ agents and batches; B, K, M, A and all sizes differ."""

import numpy as np
import tensorflow as tf

from clion_tf.agents.drq.drq_agent import DrQ
from clion_tf.config import Config
from clion_tf.learning.noise import SeededNoise

ACTIONS, BATCH, SIZE = 2, 5, 19
TINY = {
    "agent": "drq",
    "batch_size": BATCH,
    "expl_amount": 0.0,
    "eval_action": "mean",
    "drq_image_size": SIZE,
    "drq_filters": 3,
    "drq_feature_dim": 6,
    "drq_units": 7,
    "drq_pad": 2,
    "drq_targets": 2,
    "drq_online": 3,
    "drq_lr": 0.01,
}
SAC = {"drq_targets": 1, "drq_online": 1, "drq_pad": 0}


def tiny_config(**options) -> Config:
    return Config(**{**TINY, **options})


def tiny_agent(precision: str = "32", jit: bool = False, **options) -> DrQ:
    return DrQ(tiny_config(**options), ACTIONS, precision=precision, jit=jit)


def tiny_batch(seed: int = 0, rows: int = BATCH) -> dict[str, np.ndarray]:
    """Transitions as the replay draws them, with an angle for each frame."""
    random = np.random.default_rng(seed)
    return {
        "image": random.integers(0, 256, (rows, 4, SIZE, SIZE, 3), dtype=np.uint8),
        "rotation": random.uniform(-30, 30, (rows, 4)).astype(np.float32),
        "action": random.uniform(-1, 1, (rows, 4, ACTIONS)).astype(np.float32),
        "reward": random.normal(size=(rows, 4)).astype(np.float32),
        "discount": (random.uniform(size=(rows, 4)) > 0.3).astype(np.float32),
    }


def tensors(agent: DrQ, batch: dict[str, np.ndarray], update: int = 0) -> dict[str, tf.Tensor]:
    return {key: tf.constant(value) for key, value in agent.with_schedule(batch, update).items()}


def seeded(seed: int = 0) -> SeededNoise:
    return SeededNoise(tf.constant([seed, 1], tf.int32))


def step(agent: DrQ, update: int, batch: dict | None = None) -> dict[str, float]:
    """An update without compiling it, which takes longer than a few updates; its metrics."""
    data = tensors(agent, tiny_batch() if batch is None else batch, update)
    return {name: float(value) for name, value in agent.update(data, seeded(update)).items()}


def weights(agent: DrQ) -> dict[str, np.ndarray]:
    return {name: v.numpy() for name, v in agent.models.named_weights().items()}


def parts_moved(before: dict[str, np.ndarray], after: dict[str, np.ndarray]) -> set[str]:
    """The networks of which a weight differs."""
    return {n.split("/")[0] for n in before if not np.array_equal(before[n], after[n])}
