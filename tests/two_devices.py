"""Compares updates of two replicas, on two logical CPU devices, with those of one.

A process of its own (test_replicas.py): devices are split before TensorFlow starts. Its words are
cases, or runs, each after the word `run`; for each there is a line of JSON.
"""

import dataclasses
import itertools
import json
import sys

import numpy as np
import tensorflow as tf
from small_agents import tensors, tiny_batch, tiny_config

from clion_tf import run
from clion_tf.agents.clion import Agent
from clion_tf.config import DREAMER
from clion_tf.distributed.replicated_agent import ReplicatedAgent
from clion_tf.learning import noise as noises
from clion_tf.learning import world_model
from clion_tf.logdir import checkpoints

SMALL = {"batch_size": 4, "batch_length": 3, "horizon": 2, "augmentations": 2}
CASES = {
    "clion": {"free_nats": 0.0, "sigma_units": "relative"},
    "ratio": {"evaluator_objective": "bce", "weighting": "ratio", "sigma_inference": 0.3},
    "weight_gradient": {"weight_gradient": True, "embedding_gradient": "rotated"},
    "pcont": {"pcont": "True", "free_nats": 0.0},
    "discrete": {"horizon": 18, "augmentations": 1},  # A loop in the graph.
    "dreamer": DREAMER,
    "clipped": {"grad_clip": 0.01, "free_nats": 0.0},
    "bf16": {},
    "16": {},
}
UPDATES = 2


def compare(name: str, strategy) -> dict:
    """One replica against two: rows of metrics, state afterwards, and what a NaN does."""
    discrete, precision = name == "discrete", name if name in ("bf16", "16") else "32"
    config = tiny_config(**{**SMALL, **CASES[name]})
    if name == "clion":
        config = dataclasses.replace(config, free_nats=0.999 * first_kl(config))
    one = Agent(config, 2, discrete, precision=precision)
    two = ReplicatedAgent(strategy, config, 2, discrete, precision=precision)
    if precision == "16":  # Half the rows have twice the gradient, which may overflow alone.
        for agent in (one, two):
            for key, variable in agent.named_state().items():
                if key.endswith("dynamic_scale"):
                    variable.assign(2.0**8)
    two.share_state()
    batches = [tiny_batch(config, seed, discrete) for seed in range(UPDATES)]
    # The one without a graph, which takes long to build.
    singly = [
        one._train_step(tensors(batch), noises.key(config.seed, "update", number))
        for number, batch in enumerate(batches)
    ]
    rows = [
        [row.numpy() for row in singly],
        updates(two, batches, several=name == "clion"),
    ]
    assert one.metric_names == two.metric_names
    found = {"metrics": relative(*rows), "state": state_difference(one, two)}
    if name == "clion":
        found["poisoned"] = poisoned(two, batches)
        found["restored"] = restored(one, two)
    agree(two)
    return found


def first_kl(config) -> float:
    """The mean KL of the first update; one replica's rows lie above it, the other's below."""
    noise = noises.SeededNoise(noises.key(config.seed, "update", 0))
    batch = tensors(tiny_batch(config))
    agent = Agent(config, 2)
    return float(world_model.loss(agent.models, agent.config, batch, noise).kl)


def relative(a, b) -> float:
    """The largest relative difference of numbers."""
    a, b = np.float64(a), np.float64(b)
    return float((np.abs(a - b) / (np.abs(a) + 1e-3)).max())


def state_difference(one, two) -> float:
    """The largest, over variables, of the difference's norm relative to the variable's."""
    pairs = [(one.named_state()[key].numpy(), v.numpy()) for key, v in two.named_state().items()]
    pairs = [(np.float64(a), np.float64(b)) for a, b in pairs]
    return max(float(np.linalg.norm(a - b) / (np.linalg.norm(a) + 1e-9)) for a, b in pairs)


def agree(agent) -> None:
    """The replicas' copies are the same, bit for bit, or they would drift apart.

    Each is on a device of its own, moments included.
    """
    states = [one.named_state().values() for one in agent._replicas]
    places = [{variable.value.device for variable in state} for state in states]
    assert all(len(place) == 1 for place in places) and places[0] != places[1], places
    for other in agent._replicas[1:]:
        for name, variable in other.named_state().items():
            assert np.array_equal(variable.numpy(), agent.named_state()[name].numpy()), name


def updates(agent, batches, several: bool) -> list:
    """Their metrics; several in a call are another graph than single ones, which runs make."""
    if several:
        return list(agent.train_several(batches, range(len(batches))))
    return [agent.train(batch, number) for number, batch in enumerate(batches)]


def poisoned(agent, batches) -> list[bool]:
    """A NaN in the second replica's rows: whether updates are skipped, whether all stays."""
    before = {name: variable.numpy() for name, variable in agent.named_state().items()}
    batches = [{**batch, "reward": batch["reward"].copy()} for batch in batches]
    for batch in batches:
        batch["reward"][-1, 2] = np.nan
    rows = agent.train_several(batches, range(UPDATES, 2 * UPDATES))
    skipped = rows[:, agent.metric_names.index("model/skipped")]
    same = [
        np.array_equal(value, copy.named_state()[name].numpy())
        for copy in (agent, *agent._replicas[1:])
        for name, value in before.items()
    ]
    return [bool(np.all(skipped == 1.0)), all(same)]


def restored(one, two) -> bool:
    """Whether each takes the other's state, all copies of it."""
    for source, target in ((two, one), (one, two)):
        arrays = {name: variable.numpy() for name, variable in source.named_state().items()}
        arrays["weights/value/hout/bias"] = arrays["weights/value/hout/bias"] + 1
        checkpoints.restore(target.named_state(), arrays)
        if target is two:
            two.share_state()
        for agent in getattr(target, "_replicas", [target]):
            if not all(
                np.array_equal(v.numpy(), arrays[k]) for k, v in agent.named_state().items()
            ):
                return False
    return True


def main(words: list[str]) -> int:
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    # Cases or runs: of two strategies in a process the second one's sums are not told apart.
    groups = itertools.groupby(words, lambda word: word == "run")
    runs = [list(words) for is_run, words in groups if not is_run]
    if words[0] != "run":
        (names,), runs = runs, []
        strategy = tf.distribute.MirroredStrategy()
        assert strategy.num_replicas_in_sync == 2
        for name in names:
            tell(name, **compare(name, strategy))
    for words in runs:
        (logdir,) = (w.removeprefix("--logdir=") for w in words if w.startswith("--logdir="))
        tell(logdir, code=run.main(words))
    return 0


def tell(case: str, **found) -> None:
    sys.stdout.write(json.dumps({"case": case, **found}) + "\n")
    sys.stdout.flush()
