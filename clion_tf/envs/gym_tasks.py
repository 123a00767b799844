"""Gymnasium's environments by id: `gym:CartPole-v1`, or `gym:package.module:EnvId-v0`."""

import importlib
import os
import types
from typing import Any

import gymnasium

from clion_tf.envs.env_spec import EnvError, EnvSpec, RenderingError, UnknownTaskError, did_you_mean
from clion_tf.envs.observation_choice import plan, space_of, unseen
from clion_tf.envs.wrappers import rendered

PREFIX = "gym:"


def import_module(name: str, task: str) -> types.ModuleType:
    """Import the module that a task names; UnknownTaskError if there is none."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise  # the module is there, but something that it imports is not
        raise UnknownTaskError(f"no module {name!r} for task {task!r}") from error


def load(spec: EnvSpec) -> gymnasium.Env:
    """The environment as registered, its own time limit included.

    Its renderer is tried where it will be needed, so that one that is not installed is noticed
    now, not in the first episode.
    Raises UnknownTaskError, RenderingError, EnvError for a package that is missing.
    """
    task = spec.task
    module, _, name = task.removeprefix(PREFIX).rpartition(":")
    if module:
        import_module(module, task)
    env = _make(name, task)
    space = space_of(env, "observation_space", task)
    needed = plan(space, spec.observe, task).rendered
    if not needed and spec.picture_size is None:
        return env
    modes = env.metadata.get("render_modes") or []
    if "rgb_array" not in modes:
        if not needed:
            return env
        known = ", ".join(map(str, modes)) or "none"
        raise RenderingError(unseen(task, space, f"its render modes ({known}) lack rgb_array"))
    env.close()
    env = _make(name, task, render_mode="rgb_array")
    _try_rendering(env, task)
    return env


def _make(name: str, task: str, **options: Any) -> gymnasium.Env:
    try:
        gymnasium.spec(name)
    except gymnasium.error.Error as error:
        hint = did_you_mean(name, gymnasium.registry)
        hint = hint or "; if a package registers it, name its module: gym:module:Id"
        text = f"no environment {name!r} is registered with gymnasium ({task}){hint}"
        raise UnknownTaskError(text) from error
    try:
        # What its checker looks at in every step is looked at once, by tools/check_env.py.
        return gymnasium.make(name, disable_env_checker=True, **options)
    except ModuleNotFoundError as error:
        raise EnvError(f"{task} needs {error.name}, which is not installed") from error
    except gymnasium.error.Error as error:
        raise EnvError(f"{task}: {error}") from error


def _try_rendering(env: gymnasium.Env, task: str) -> None:
    env.reset(seed=0)
    try:
        rendered(env)
    except EnvError as error:
        raise EnvError(f"{task}: {error}") from error
    # Missing packages and displays surface as nearly every type.
    except Exception as error:
        text = f"{task} cannot render ({type(error).__name__}: {error})"
        driver = os.environ.get("SDL_VIDEODRIVER")
        if f"{driver} not available" in text:
            text += f"; unset SDL_VIDEODRIVER, which is {driver}"
        raise RenderingError(text) from error
