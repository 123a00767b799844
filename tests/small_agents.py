"""Tiny agents and batches for tests; B, L, H and A all differ."""

import contextlib
from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from clion_tf.agents.base import Tensors
from clion_tf.agents.clion import Agent
from clion_tf.config import Config
from clion_tf.learning.noise import GivenNoise, Noise, SeededNoise

# TensorFlow's graph optimiser takes a sixth of the first call, and tiny updates gain nothing.
tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})

TINY = {
    "batch_size": 2,
    "batch_length": 6,
    "horizon": 4,
    "overshoot": 2,
    "augmentations": 3,
    "deter_size": 6,
    "stoch_size": 3,
    "hidden_size": 5,
    "num_units": 7,
    "cnn_depth": 2,
    "evaluator_layers": 2,
    "evaluator_units": 8,
}
ACTIONS = 2


def tiny_config(**options) -> Config:
    return Config(**{**TINY, **options})


def tiny_agent(precision: str = "32", discrete: bool = False, **options) -> Agent:
    return Agent(tiny_config(**options), ACTIONS, discrete, precision=precision)


def tiny_batch(config: Config, seed: int = 0, discrete: bool = False) -> dict[str, np.ndarray]:
    """A batch as the replay draws it."""
    random = np.random.default_rng(seed)
    shape = (config.batch_size, config.batch_length)
    action = random.uniform(-1, 1, (*shape, ACTIONS)).astype(np.float32)
    if discrete:
        action = np.eye(ACTIONS, dtype=np.float32)[action.argmax(-1)]
    return {
        "image": random.integers(0, 256, (*shape, 64, 64, 3), dtype=np.uint8),
        "action": action,
        "reward": random.normal(size=shape).astype(np.float32),
        "discount": (random.uniform(size=shape) > 0.2).astype(np.float32),
    }


def tensors(batch: dict[str, np.ndarray]) -> Tensors:
    return {key: tf.constant(value) for key, value in batch.items()}


def seeded(seed: int = 0) -> SeededNoise:
    return SeededNoise(tf.constant([seed, 1], tf.int32))


def weights(agent: Agent) -> dict[str, np.ndarray]:
    return {name: v.numpy() for name, v in agent.models.named_weights().items()}


@contextlib.contextmanager
def without_graphs() -> Iterator[None]:
    """Updates take half a second, where building their graph takes eight.

    For tests of what is done around updates; tests/agents has that graphs make the same ones.
    """
    tf.config.run_functions_eagerly(True)
    try:
        yield
    finally:
        tf.config.run_functions_eagerly(False)


class RecordedNoise(Noise):
    """Seeded noise that remembers what it gave, to give the same again elsewhere."""

    def __init__(self, seed: int = 0):
        self._noise, self.given, self.kinds = seeded(seed), {}, {}

    def draw(self, kind: str, purpose: str, shape) -> tf.Tensor:
        assert purpose not in self.given or self.given[purpose].shape == shape
        self.kinds[purpose] = kind
        self.given[purpose] = self._noise.draw(kind, purpose, shape)
        return self.given[purpose]

    def again(self) -> GivenNoise:
        return GivenNoise(self.given)
