"""Latency of one action."""

import time

import numpy as np

from clion_tf.agents.clion import Agent
from clion_tf.benchmark.our_updates import ACTIONS
from clion_tf.config import Config
from clion_tf.training.hardware import prepare


def measure(config: Config, count: int) -> dict:
    """Milliseconds from an image to an action in one environment: median, 95 and 99 per cent."""
    precision, jit, device = prepare(config)
    agent = Agent(config, ACTIONS, False, precision, jit)
    image = np.random.default_rng(0).integers(0, 256, (1, 64, 64, 3), dtype=np.uint8)
    seen = {"image": image}
    result = {"device": device}
    for name, training in (("training", True), ("evaluation", False)):
        state, seconds = agent.initial(1), []
        for step in range(10 + count):
            start = time.perf_counter()
            _, state = agent.policy(seen, state, (0, step), training, config.expl_amount)
            seconds.append(time.perf_counter() - start)
        percentiles = np.percentile(1e3 * np.array(seconds[10:]), [50, 95, 99])
        result[name] = dict(zip(("50", "95", "99"), percentiles.tolist(), strict=True))
    return result


def table(result: dict) -> list[tuple[str, str]]:
    """Rows of (what, figure)."""
    rows = [("device", result["device"])]
    for name in ("training", "evaluation"):
        p = result[name]
        text = f"{p['50']:.2f} ms median, {p['95']:.2f} ms 95 %, {p['99']:.2f} ms 99 %"
        rows.append((f"{name} action", text))
    return rows
