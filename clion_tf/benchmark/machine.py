"""The machine that a figure was measured on, and how fast it multiplies matrices."""

import os
import platform
import time

import numpy as np

MATRIX = 3072  # Large enough for the peak, small enough to be measured between two updates.


def describe() -> str:
    """Processor, cores, memory and system, one line."""
    name = platform.processor() or platform.machine()
    features = ""
    if os.path.exists("/proc/cpuinfo"):
        with open("/proc/cpuinfo") as file:
            fields = dict(line.split(":", 1) for line in file if ":" in line)
        fields = {key.strip(): value.strip() for key, value in fields.items()}
        name = fields.get("model name", name)
        known = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")
        features = ", ".join(f for f in known if f in fields.get("flags", "").split())
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    cores = len(os.sched_getaffinity(0))
    return f"{name} ({features or 'no vector units known'}), {cores} cores, {memory:.0f} GiB"


class MatrixProduct:
    """Times one large matrix product; TensorFlow is imported when it is made.

    Args:
      dtype: `float32`, `bfloat16` or `float16`.
    """

    def __init__(self, dtype: str):
        import tensorflow as tf

        shape = [MATRIX, MATRIX]
        self._x = tf.cast(tf.random.stateless_uniform(shape, [0, 0], -1.0, 1.0), dtype)
        self._product = tf.function(lambda x: tf.reduce_sum(tf.matmul(x, x)[0]))
        self.rate()

    def rate(self) -> float:
        """FLOP/s of one product."""
        start = time.perf_counter()
        self._product(self._x).numpy()
        return 2 * MATRIX**3 / (time.perf_counter() - start)


def spread(values) -> dict[str, float]:
    """Median, smallest and largest of several measurements."""
    return {
        "median": float(np.median(values)),
        "min": float(min(values)),
        "max": float(max(values)),
    }
