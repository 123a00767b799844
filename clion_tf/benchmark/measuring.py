"""What is measured, and how: the machine, our agent on random frames, large matrix products.

    python -m clion_tf.benchmark.measuring FLAGS

makes updates as `clion_tf.dreamer.original_code` does, whose protocol it speaks.
"""

import os
import pathlib
import platform
import re
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from clion_tf.config import Config, parse
from clion_tf.console import quiet_import
from clion_tf.dreamer.original_code import ACTIONS, own_stdout, random_batch, serve_updates

MATRIX = 3072  # Large enough for the peak, small enough to be measured between two updates.
Rows = list[tuple[str, str]]  # Of a table: what, and its figure.
UNITS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")


def describe() -> str:
    """Processor, cores, memory and system, one line."""
    file = pathlib.Path("/proc/cpuinfo")
    text = file.read_text() if file.exists() else ""
    named = re.search(r"^model name\s*: (.+)$", text, re.MULTILINE)
    name = named[1] if named else platform.processor() or platform.machine()
    units = ", ".join(unit for unit in UNITS if unit in text.split())
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    cores = len(os.sched_getaffinity(0))
    return f"{name} ({units or 'no vector units known'}), {cores} cores, {memory:.0f} GiB"


def seconds_of(call: Callable[[], object]) -> float:
    """How long a call takes."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, smallest and largest of several measurements."""
    found = {"median": np.median(values), "min": min(values), "max": max(values)}
    return {name: float(value) for name, value in found.items()}


class Timed(NamedTuple):
    """What updates are measured with."""

    agent: Any  # `clion_tf.agents.clion.Agent`.
    batch: dict[str, np.ndarray]  # [B, L, ...]
    dtype: str  # That the agent multiplies in.
    device: str

    def update(self) -> None:
        """Makes one, and waits for it."""
        self.agent.train(self.batch, 0).numpy()

    def beside_products(self, count: int) -> tuple[list[float], list[float]]:
        """Seconds of updates, and FLOP/s of a large matrix product after each."""
        import tensorflow as tf

        x = tf.random.stateless_uniform([MATRIX, MATRIX], [0, 0], -1.0, 1.0)
        x = tf.cast(x, self.dtype)
        product = tf.function(lambda: tf.reduce_sum(tf.matmul(x, x)[0]))
        product()
        seconds, rates = [], []
        for _ in range(count):
            seconds.append(seconds_of(self.update))
            rates.append(2 * MATRIX**3 / seconds_of(lambda: product().numpy()))
        return seconds, rates


def prepared(config: Config) -> Timed:
    """An agent of these options; no update is made yet."""
    with quiet_import():
        from clion_tf.agents.clion import DTYPES, Agent
        from clion_tf.training import hardware
    precision, jit, device = hardware.prepare(config)
    agent = Agent(config, ACTIONS, False, precision, jit)
    batch = random_batch(config.batch_size, config.batch_length)
    return Timed(agent, batch, DTYPES[precision].removeprefix("mixed_"), device)


def main(arguments: Sequence[str]) -> None:
    """Builds the agent, makes its first update, and serves."""
    out = own_stdout()
    timed = prepared(parse(arguments))
    import tensorflow as tf

    def train(count: int) -> None:
        for _ in range(count):
            timed.update()

    train(1)
    serve_updates(out, train, tf.__version__, timed.device)


if __name__ == "__main__":
    main(sys.argv[1:])
