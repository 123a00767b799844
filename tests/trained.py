"""Runs of tiny agents on disk, for tests of the tools."""

import pathlib

import numpy as np
from small_agents import ACTIONS, tiny_config

from clion_tf.agents.clion import Agent
from clion_tf.config import Config, to_flagfile
from clion_tf.logdir.checkpoints import Checkpoints, Counters


def save_tiny_run(folder: pathlib.Path, **options) -> Config:
    """An untrained agent's run of 40 control steps an episode; returns its options."""
    given = {"task": "env_fakes:pictured", "time_limit": 40, "precision": "32", **options}
    config = tiny_config(logdir=str(folder), **given)
    state = Agent(config, ACTIONS).named_state()
    arrays = {name: variable.numpy() for name, variable in state.items()}
    Checkpoints(folder / "checkpoints").save(arrays, Counters(steps=1000))
    (folder / "run.flags").write_text(to_flagfile(config))
    return config


def save_run(
    folder, steps=(1000, 2000, 3000), actions=2, discrete=False, precision="32", **options
):
    """A run's folder as far as others look, and the agent of its newest checkpoint."""
    config = tiny_config(logdir=str(folder), precision=precision, **options)
    checkpoints = Checkpoints(folder / "checkpoints", keep=len(steps))
    (folder / "run.flags").write_text(to_flagfile(config))
    agent = Agent(config, actions, discrete, precision=precision)
    for step in steps:
        for variable in agent.models.named_weights().values():
            variable.assign(variable.value * 1.1)  # Each checkpoint has weights of its own.
        state = {name: variable.numpy() for name, variable in agent.named_state().items()}
        checkpoints.save(state, Counters(steps=step))
    return agent


def frames(count, seed=0):
    random = np.random.default_rng(seed)
    return random.integers(0, 256, (count, 64, 64, 3), np.uint8)
