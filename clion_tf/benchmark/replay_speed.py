"""Batches per second from disk, and whether memory stays flat. Needs no TensorFlow."""

import tempfile
import time

import numpy as np

from clion_tf.benchmark.machine import spread
from clion_tf.benchmark.original_updates import memory
from clion_tf.config import Config
from clion_tf.replay.replay_buffer import Replay

FRAMES = 501  # An episode of 1000 environment steps at action repeat 2.
ACTIONS = 6


def measure(config: Config, episodes: int, count: int) -> dict:
    """Draws 5 * `count` batches from `episodes` random episodes on disk, in one thread.

    Returns:
      `batches_per_second` spread over five parts, `memory_growth` in bytes while they were drawn,
      and the batch's shape and bytes.
    """
    with tempfile.TemporaryDirectory() as folder:
        replay = Replay(folder, config.batch_length, config.seed, config.dataset_balance)
        rng = np.random.default_rng(0)
        for _ in range(episodes):
            replay.add(_episode(rng))
        batch = replay.sample(config.batch_size, 0)  # From now on the files are in the cache.
        for number in range(1, 1 + count):
            replay.sample(config.batch_size, number)
        before, rates = memory("RssAnon"), []
        for part in range(5):
            start = time.perf_counter()
            for number in range(count):
                replay.sample(config.batch_size, part * count + number)
            rates.append(count / (time.perf_counter() - start))
        return {
            "batch": list(batch["image"].shape[:2]),
            "batch_bytes": sum(value.nbytes for value in batch.values()),
            "episodes": episodes,
            "batches_per_second": spread(rates),
            "memory_growth": memory("RssAnon") - before,
        }


def _episode(rng: np.random.Generator) -> dict[str, np.ndarray]:
    return {
        "image": rng.integers(0, 256, (FRAMES, 64, 64, 3), dtype=np.uint8),
        "action": rng.uniform(-1, 1, (FRAMES, ACTIONS)).astype(np.float32),
        "reward": rng.uniform(0, 1, FRAMES).astype(np.float32),
        "discount": np.ones(FRAMES, np.float32),
    }


def table(result: dict) -> list[tuple[str, str]]:
    """Rows of (what, figure)."""
    rate = result["batches_per_second"]
    rows, length = result["batch"]
    return [
        ("batch", f"{rows} x {length}, {result['batch_bytes'] / 1e6:.1f} MB"),
        ("batches a second", f"{rate['median']:.0f} ({rate['min']:.0f} to {rate['max']:.0f})"),
        ("memory while drawing", f"{result['memory_growth'] / 1e6:+.1f} MB"),
    ]
