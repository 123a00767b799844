"""What a task itself takes and shows, as plain data, for who acts in it without our wrappers."""

from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Discrete, flatdim

from clion_tf.envs.observation_choice import Leaf


def describe(env: gymnasium.Env) -> dict[str, Any]:
    """Of an environment that `make_env.make` has made; numbers, texts, lists and dicts only.

    action: {n, start} of Discrete; of a Box {shape, dtype, low, high}, where low and high are lists
      with what the task gets, dimension by dimension, for the agent's actions -1 and 1.
    image: {name, shape} of the part of its observation, name None where it is rendered, and shape
      then None too; left out without images.
    vector: [{name, size, kind}, ...] in order; left out without a vector.
    """
    found: dict[str, Any] = {"action": _action(env)}
    plan = env.get_wrapper_attr("plan")
    if plan.rendered:
        found["image"] = {"name": None, "shape": None}
    elif plan.image is not None:
        found["image"] = {"name": plan.image.name, "shape": list(plan.image.space.shape)}
    if plan.vector:
        found["vector"] = [_part(leaf) for leaf in plan.vector]
    return found


def _action(env: gymnasium.Env) -> dict[str, Any]:
    own, take = env.get_wrapper_attr("own_actions"), env.get_wrapper_attr("action")
    if isinstance(own, Discrete):
        return {"n": int(own.n), "start": int(own.start)}
    ends = (take(np.full(env.action_space.shape or (), end)) for end in (-1.0, 1.0))
    low, high = (np.ravel(end).astype(float).tolist() for end in ends)
    return {"shape": list(own.shape), "dtype": np.dtype(own.dtype).name, "low": low, "high": high}


def _part(leaf: Leaf) -> dict[str, Any]:
    space, kind = leaf.space, f"{type(leaf.space).__name__}, one-hot"
    if isinstance(space, Box):
        kind = f"Box {list(space.shape)}"
    elif isinstance(space, Discrete):
        kind = f"Discrete from {space.start}, one-hot"
    return {"name": leaf.name, "size": flatdim(space), "kind": kind}
