"""How an update's time and memory grow with batch, horizon and augmented copies."""

import json
import pathlib
import subprocess
import sys
import tempfile

import numpy as np

from clion_tf.command import Failure
from clion_tf.config import Config, to_flagfile

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
        result = _one(config, name, value, count)
        points.append(
            {
                "value": value,
                "size": value + extra,
                "seconds": result["update"]["median"],
                "memory": result["memory"],
            }
        )
    sizes = np.log([point["size"] for point in points])
    exponents = {
        key: float(np.polyfit(sizes, np.log([point[key] for point in points]), 1)[0])
        for key in ("seconds", "memory")
    }
    return {"points": points, "exponents": exponents}


def _one(config: Config, name: str, value: int, count: int) -> dict:
    with tempfile.TemporaryDirectory() as folder:
        flags, figures = pathlib.Path(folder, "flags"), pathlib.Path(folder, "figures")
        flags.write_text(to_flagfile(config))
        code = (
            "import sys; from clion_tf.benchmark.update_growth import child; child(*sys.argv[1:])"
        )
        words = [str(flags), str(figures), f"--{name}={value}", str(count)]
        command = [sys.executable, "-c", code, *words]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise Failure(f"--{name}={value}: {done.stderr.strip().splitlines()[-1]}")
        return json.loads(figures.read_text())


def child(flags: str, figures: str, word: str, count: str) -> None:
    """Measures one point and writes the figures to a file."""
    from clion_tf.benchmark import update_speed
    from clion_tf.config import parse

    result = update_speed.measure(parse([f"--flagfile={flags}", word]), int(count))
    pathlib.Path(figures).write_text(json.dumps(result))


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
