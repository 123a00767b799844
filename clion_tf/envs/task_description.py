"""What a task itself takes and shows, as plain data, for who acts in it without our wrappers."""

from collections.abc import Iterator
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Discrete, flatdim

from clion_tf.envs.observation_choice import Leaf, SelectObservation
from clion_tf.envs.wrappers import ActionRepeat, NormalizeActions


def describe(env: gymnasium.Env) -> dict[str, Any]:
    """Of an environment that `make_env.make` has made; numbers, texts, lists and dicts only.

    action: {n, start} of Discrete; of a Box {shape, dtype, low, high}, where low and high are lists
      with what the task gets, dimension by dimension, for the agent's actions -1 and 1.
    image: {name, shape} of the part of its observation, name None where it is rendered, and shape
      then None too; left out without images.
    vector: [{name, size, kind}, ...] in order; left out without a vector.
    """
    return {"action": _action(env), **_observed(env)}


def _layers(env: gymnasium.Env) -> Iterator[gymnasium.Env]:
    """The environment and all that it wraps, the outermost first."""
    yield env
    while isinstance(env, gymnasium.Wrapper):
        env = env.env
        yield env


def _first(env: gymnasium.Env, kind: type) -> Any:
    return next((layer for layer in _layers(env) if isinstance(layer, kind)), None)


def _action(env: gymnasium.Env) -> dict[str, Any]:
    repeat = _first(env, ActionRepeat)  # Above it nothing of the task's; Atari has none.
    own = (env if repeat is None else repeat).action_space
    if isinstance(own, Discrete):
        return {"n": int(own.n), "start": int(own.start)}
    ours = _first(env, NormalizeActions)
    ends = (ours.action(np.full(ours.action_space.shape, end)) for end in (-1.0, 1.0))
    low, high = (np.ravel(end).astype(float).tolist() for end in ends)
    return {
        "shape": list(own.shape or ()),
        "dtype": np.dtype(own.dtype).name,
        "low": low,
        "high": high,
    }


def _observed(env: gymnasium.Env) -> dict[str, Any]:
    plan = _first(env, SelectObservation).plan
    found: dict[str, Any] = {}
    if plan.rendered:
        found["image"] = {"name": None, "shape": None}
    elif plan.image is not None:
        found["image"] = {"name": plan.image.name, "shape": list(plan.image.space.shape)}
    if plan.vector:
        found["vector"] = [_part(leaf) for leaf in plan.vector]
    return found


def _part(leaf: Leaf) -> dict[str, Any]:
    space, kind = leaf.space, f"{type(leaf.space).__name__}, one-hot"
    if isinstance(space, Box):
        kind = f"Box {list(space.shape)}"
    elif isinstance(space, Discrete):
        kind = f"Discrete from {space.start}, one-hot"
    return {"name": leaf.name, "size": flatdim(space), "kind": kind}
