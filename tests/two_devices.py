"""Compares updates of two replicas, on two logical CPU devices, with those of one.

A process of its own (test_replicas.py): devices are split before TensorFlow starts.
"""

import json
import sys

import numpy as np
import tensorflow as tf
from agents import tiny_batch, tiny_config

from clion_tf.agent import Agent
from clion_tf.replicated import ReplicatedAgent

CASES = {
    "clion": {},
    "ratio": {"evaluator_objective": "bce", "weighting": "ratio"},
    "weight_gradient": {"weight_gradient": True, "embedding_gradient": "rotated"},
    "pcont": {"pcont": True, "free_nats": 0.0},
    "discrete": {"horizon": 18, "augmentations": 1},  # A loop in the graph.
    "dreamer": {"beta1": 0.0, "beta2": 0.0, "augmentations": 0, "evaluator": False},
    "clipped": {"grad_clip": 0.01, "free_nats": 0.0},
    "bf16": {"cnn_depth": 4},
    "16": {},
}
UPDATES = 3


def differences(name: str, strategy) -> dict[str, float]:
    """The largest relative differences of metrics and of state after a few updates."""
    discrete = name == "discrete"
    precision = name if name in ("bf16", "16") else "32"
    config = tiny_config(**{"batch_size": 4, **CASES[name]})
    one = Agent(config, 2, discrete, precision)
    two = ReplicatedAgent(strategy, config, 2, discrete, precision)
    worst = {}
    for update in range(UPDATES):
        batch = tiny_batch(config, update, discrete)
        rows = [agent.train(batch, update).numpy() for agent in (one, two)]
        assert one.metric_names == two.metric_names
        for metric, a, b in zip(one.metric_names, *rows, strict=True):
            worst[metric] = max(worst.get(metric, 0), abs(a - b) / (abs(a) + 1e-3))
    for key, variable in one.named_state().items():
        a, b = np.float64(variable.numpy()), np.float64(two.named_state()[key].numpy())
        worst[key] = float(np.abs(a - b).max() / (np.abs(a).max() + 1e-3))
        for other in two._replicas[1:]:  # Bit for bit, or they would drift apart.
            assert np.array_equal(two.named_state()[key].numpy(), other.named_state()[key].numpy())
    return {key: float(value) for key, value in worst.items()}


def several(strategy) -> dict[str, float]:
    """Three updates in one call against three calls."""
    config = tiny_config(batch_size=4)
    batches = [tiny_batch(config, seed) for seed in range(UPDATES)]
    single, together = (ReplicatedAgent(strategy, config, 2) for _ in range(2))
    rows = [single.train(batch, number).numpy() for number, batch in enumerate(batches)]
    found = together.train_several(batches, range(UPDATES)).numpy()
    worst = {"rows": float(np.abs(found - rows).max() / np.abs(rows).max())}
    for key, variable in single.named_state().items():
        worst[key] = float(np.abs(variable.numpy() - together.named_state()[key].numpy()).max())
    return worst


def poisoned(strategy) -> list[bool]:
    """Bad numbers in one replica's rows: whether it is said, whether anything moved."""
    config = tiny_config(batch_size=4)
    agent = ReplicatedAgent(strategy, config, 2)
    before = {key: variable.numpy() for key, variable in agent.named_state().items()}
    batch = tiny_batch(config)
    batch["reward"][3, 2] = np.nan
    metrics = dict(zip(agent.metric_names, agent.train(batch, 0).numpy(), strict=False))
    metrics = dict(zip(agent.metric_names, agent.train(batch, 0).numpy(), strict=True))
    moved = [
        not np.array_equal(before[key], copy.named_state()[key].numpy())
        for copy in agent._replicas
        for key in before
    ]
    return [bool(metrics["model/skipped"] == 1.0), any(moved)]


def main() -> None:
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    strategy = tf.distribute.MirroredStrategy()
    assert strategy.num_replicas_in_sync == 2
    names = sys.argv[1:] or list(CASES)
    found = {name: differences(name, strategy) for name in names if name in CASES}
    if "several" in names:
        found["several"] = several(strategy)
    if "poisoned" in names:
        found["poisoned"] = poisoned(strategy)
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
