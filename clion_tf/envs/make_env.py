"""From an EnvSpec to the environment that the agent sees."""

import functools
import importlib
import os
import types
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Discrete, flatdim
from gymnasium.wrappers import TimeLimit

from clion_tf.envs import atari, dmc, opengl, wrappers
from clion_tf.envs.env_spec import EnvError, EnvSpec, UnknownTaskError, did_you_mean
from clion_tf.envs.observation_choice import plan, space_of, unseen

_GYM = "gym:"


def make(spec: EnvSpec) -> gymnasium.Env:
    """The environment of a spec; renders, so never call it in a process that has TensorFlow.

    Observations are a dict of 'image', uint8 [*spec.size, 3], 'vector', float32 [n], or both
    (spec.observe); also 'picture' with spec.picture_size and 'rotation' with spec.rotation_told.
    Actions are float32 [n] in [-1, 1] or integers 0 ... n - 1. `step` gives 'steps' in info.
    Raises UnknownTaskError, EnvError; `reset` and `step` raise PromiseError, see `step_checks`.
    """
    env: gymnasium.Env = wrappers.ActionRepeat(_simulator(spec), spec.action_repeat)
    env = wrappers.StandardActions(env, spec.task)
    env = TimeLimit(env, -(-spec.time_limit // spec.action_repeat))
    env = wrappers.SelectObservation(env, spec)
    disturbed = spec.rotation_degrees > 0 or spec.rotation_told or spec.blank_frames > 0
    return wrappers.Disturb(env, spec) if disturbed else env


def episode_seed(spec: EnvSpec, episode: int) -> int:
    """The seed for `reset` at an episode, counted from 0; 32 bits, as much as any takes."""
    return int(np.random.SeedSequence([spec.seed, spec.stream, episode]).generate_state(1)[0])


def describe(env: gymnasium.Env) -> dict[str, Any]:
    """What the task of a made environment takes and shows, for who acts in it without our wrappers.

    action: {n, start} of Discrete; of a Box {shape, dtype, low, high}, for the agent's -1 and 1.
    image: {name, shape}, if any, of the part of its observation, None where it is rendered.
    vector: [{name, size, kind}, ...] in order, if any.
    """
    own, take = env.get_wrapper_attr("own_actions"), env.get_wrapper_attr("action")
    found: dict[str, Any] = {}
    if isinstance(own, Discrete):
        found["action"] = {"n": int(own.n), "start": int(own.start)}
    else:
        ends = (take(np.full(env.action_space.shape or (), end)) for end in (-1.0, 1.0))
        low, high = (np.ravel(end).astype(float).tolist() for end in ends)
        dtype = np.dtype(own.dtype).name
        found["action"] = {"shape": list(own.shape), "dtype": dtype, "low": low, "high": high}
    chosen = env.get_wrapper_attr("plan")
    if chosen.rendered:
        found["image"] = {"name": None, "shape": None}
    elif chosen.image is not None:
        found["image"] = {"name": chosen.image.name, "shape": list(chosen.image.space.shape)}
    for leaf in chosen.vector:
        space, kind = leaf.space, f"{type(leaf.space).__name__}, flattened"
        if isinstance(space, Box):
            kind = f"Box {list(space.shape)}"
        elif isinstance(space, Discrete):
            kind = f"Discrete from {space.start}, one-hot"
        part = {"name": leaf.name, "size": flatdim(space), "kind": kind}
        found.setdefault("vector", []).append(part)
    return found


def _simulator(spec: EnvSpec) -> gymnasium.Env:
    """The task's own environment, with nothing of ours around it."""
    opengl.prepare()
    if spec.task.startswith(_GYM):
        return _registered(spec)
    if atari.PREFIX.match(spec.task):
        return atari.load(spec)
    if ":" not in spec.task:
        return dmc.DMControl(spec)
    name, _, attribute = spec.task.partition(":")
    module = _import(name, spec.task)
    if not hasattr(module, attribute):
        raise UnknownTaskError(f"module {name!r} has no {attribute!r}, the task's factory")
    env = getattr(module, attribute)(spec)
    if not isinstance(env, gymnasium.Env):
        raise EnvError(f"{spec.task} must return a gymnasium.Env, not {type(env).__name__}")
    return env


def _import(name: str, task: str) -> types.ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise  # the module is there, but something that it imports is not
        raise UnknownTaskError(f"no module {name!r} for task {task!r}") from error


def _registered(spec: EnvSpec) -> gymnasium.Env:
    """Gymnasium's environment, its own time limit included; a renderer that is needed is tried."""
    task = spec.task
    module, _, name = task.removeprefix(_GYM).rpartition(":")
    if module:
        _import(module, task)
    if name not in gymnasium.registry:
        hint = did_you_mean(name, gymnasium.registry)
        hint = hint or "; if a package registers it, name its module: gym:module:Id"
        text = f"no environment {name!r} is registered with gymnasium ({task}){hint}"
        raise UnknownTaskError(text)
    # What its checker looks at in every step is looked at once, by tools/check_env.py.
    make_it = functools.partial(gymnasium.make, name, disable_env_checker=True)
    env = make_it()
    space = space_of(env, "observation_space", task)
    needed = plan(space, spec.observe, task).rendered
    modes = env.metadata.get("render_modes") or []
    if needed and "rgb_array" not in modes:
        known = ", ".join(map(str, modes)) or "none"
        raise EnvError(unseen(task, space, f"its render modes ({known}) lack rgb_array"))
    if "rgb_array" not in modes or not (needed or spec.picture_size):
        return env
    env.close()
    env = make_it(render_mode="rgb_array")
    env.reset(seed=0)
    try:
        wrappers.rendered(env)
    # Missing packages and displays surface as nearly every type.
    except Exception as error:
        text = f"{task} cannot render ({type(error).__name__}: {error})"
        driver = os.environ.get("SDL_VIDEODRIVER")
        if f"{driver} not available" in text:
            text += f"; unset SDL_VIDEODRIVER, which is {driver}"
        raise EnvError(text) from error
    return env
