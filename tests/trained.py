"""Runs of tiny agents on disk and tools as modules, for tests of the tools."""

import importlib.util
import pathlib

from small_agents import ACTIONS, tiny_config

from clion_tf.agents.clion import Agent
from clion_tf.config import Config, to_flagfile
from clion_tf.logdir.checkpoints import Checkpoints, Counters

ROOT = pathlib.Path(__file__).resolve().parents[1]
FAKES = str(ROOT / "tests" / "envs")  # Where workers find env_fakes.


def save_tiny_run(folder: pathlib.Path, **options) -> Config:
    """An untrained agent's run of 40 control steps an episode; returns its options."""
    given = {"task": "env_fakes:pictured", "time_limit": 40, "precision": "32", **options}
    config = tiny_config(logdir=str(folder), **given)
    state = Agent(config, ACTIONS).named_state()
    arrays = {name: variable.numpy() for name, variable in state.items()}
    Checkpoints(folder / "checkpoints").save(arrays, Counters(steps=1000))
    (folder / "run.flags").write_text(to_flagfile(config))
    return config


def tool(name: str):
    """The module of a script in `tools/`."""
    spec = importlib.util.spec_from_file_location(f"tool_{name}", ROOT / "tools" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
