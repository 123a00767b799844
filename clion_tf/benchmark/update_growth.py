"""How an update's time and memory grow with batch, horizon and augmented copies."""

import concurrent.futures
import dataclasses
import multiprocessing

import numpy as np

from clion_tf.command import Failure
from clion_tf.config import Config
from clion_tf.console import quiet_import

# What is varied, by which factors of (B L), H and 1 + A.
AXES = {
    "batch_size": (0.5, 1, 2),
    "horizon": (0.5, 1, 2),
    "augmentations": (0.5, 1, 1.5),
}


def measure(config: Config, count: int) -> dict:
    """`count` updates at each point, every point in a process of its own, for its memory.

    Returns:
      by option: `points`, each with the option's value, median seconds and peak bytes, and the
      exponents of time and memory, fitted by least squares in logarithms.

    Raises:
      Failure: with its last line.
    """
    return {
        "count": count,
        "axes": {name: _along(config, name, factors, count) for name, factors in AXES.items()},
    }


def _along(config: Config, name: str, factors: tuple, count: int) -> dict:
    points = []
    for factor in factors:
        # Augmented copies come beside the originals, so 1 + A is what grows.
        extra = 1 if name == "augmentations" else 0
        value = round((getattr(config, name) + extra) * factor) - extra
        result = _alone(dataclasses.replace(config, **{name: value}), count)
        seconds, memory = result["update"]["median"], result["memory"]
        size = value + extra
        points.append({"value": value, "size": size, "seconds": seconds, "memory": memory})
    sizes = np.log([point["size"] for point in points])
    exponents = {
        key: float(np.polyfit(sizes, np.log([point[key] for point in points]), 1)[0])
        for key in ("seconds", "memory")
    }
    return {"points": points, "exponents": exponents}


def _alone(config: Config, count: int) -> dict:
    """What `update_speed` finds in a process of its own."""
    spawn = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, spawn) as pool:
        try:
            return pool.submit(_measured, config, count).result()
        except Exception as error:  # Whatever ends it; the memory may be too little.
            raise Failure(f"{type(error).__name__}: {error}") from error


def _measured(config: Config, count: int) -> dict:
    with quiet_import():
        from clion_tf.benchmark import update_speed
    return update_speed.measure(config, count)


def table(result: dict) -> list[tuple[str, str]]:
    """Rows of (what, figure)."""
    rows = []
    for name, axis in result["axes"].items():
        for point in axis["points"]:
            text = f"{point['seconds']:.3f} s, {point['memory'] / 2**30:.2f} GiB"
            rows.append((f"{name} {point['value']}", text))
        exponents = axis["exponents"]
        text = f"time {exponents['seconds']:.2f}, memory {exponents['memory']:.2f}"
        rows.append(("  exponents", text + (" (of 1 + A)" if name == "augmentations" else "")))
    return rows
