"""Time, arithmetic and memory of one update."""

import time

import numpy as np

from clion_tf.agents.base import DTYPES
from clion_tf.agents.clion import Agent
from clion_tf.benchmark import graph_flops, machine, update_memory
from clion_tf.benchmark.original_updates import memory, random_batch, seconds_since_start
from clion_tf.benchmark.our_updates import ACTIONS
from clion_tf.config import Config
from clion_tf.training.hardware import prepare


def measure(config: Config, count: int) -> dict:
    """Figures of `count` updates, each beside a large matrix product of the same type.

    Returns:
      seconds (`update`, each spread as median, min, max), `rate` and `matrix_rate` in FLOP/s,
      `share` (median of the paired ratios), `flops` by kind, `first_update` in seconds since the
      process was started, `memory` (peak resident bytes) and the device; of a compiled update
      also `xla_memory`, see `update_memory.of_each_precision`.
    """
    precision, jit, device = prepare(config)
    agent = Agent(config, ACTIONS, False, precision, jit)
    batch = random_batch(config.batch_size, config.batch_length, ACTIONS)
    agent.train(batch, 0).numpy()
    first = seconds_since_start()
    kinds = graph_flops.of_update(agent, batch)
    flops = kinds.total()
    agent.train(batch, 1).numpy()
    peak = memory()
    product = machine.MatrixProduct(DTYPES[precision].removeprefix("mixed_"))
    seconds, rates = [], []
    for number in range(2, 2 + count):
        start = time.perf_counter()
        agent.train(batch, number).numpy()
        seconds.append(time.perf_counter() - start)
        rates.append(product.rate())
    shares = [flops / s / rate for s, rate in zip(seconds, rates, strict=True)]
    return {
        "device": device,
        "update": machine.spread(seconds),
        "flops": {**kinds, "all": flops},
        "rate": flops / float(np.median(seconds)),
        "matrix_rate": machine.spread(rates),
        "share": float(np.median(shares)),
        "first_update": first,
        "memory": peak,
        "xla_memory": update_memory.of_each_precision(config) if jit else {},
    }


def table(result: dict) -> list[tuple[str, str]]:
    """Rows of (what, figure)."""
    update, rate = result["update"], result["matrix_rate"]
    return [
        ("device", result["device"]),
        ("one update", f"{update['median']:.3f} s ({update['min']:.3f} to {update['max']:.3f})"),
        ("arithmetic", f"{result['flops']['all'] / 1e12:.3f} TFLOP"),
        ("rate", f"{result['rate'] / 1e9:.0f} GFLOP/s"),
        ("large matrix product", f"{rate['median'] / 1e9:.0f} GFLOP/s"),
        ("share of it", f"{100 * result['share']:.0f} %"),
        ("peak memory", f"{result['memory'] / 2**30:.2f} GiB"),
        ("process start to first update", f"{result['first_update']:.1f} s"),
        *update_memory.table(result["xla_memory"]),
    ]
