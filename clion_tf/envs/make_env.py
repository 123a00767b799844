"""From an EnvSpec to the environment that the agent sees."""

import functools
from collections.abc import Callable

import gymnasium
import numpy as np
from gymnasium.wrappers import TimeLimit

from clion_tf.envs import atari, gym_tasks
from clion_tf.envs.env_spec import EnvError, EnvSpec, UnknownTaskError
from clion_tf.envs.observation_choice import Plan, SelectObservation, plan, space_of, unseen
from clion_tf.envs.wrappers import (
    ActionRepeat,
    AddPicture,
    BlankFrames,
    RenderImage,
    RotateImage,
    rendered,
    standard_actions,
)


def make(spec: EnvSpec) -> gymnasium.Env:
    """The environment of a spec; renders, so never call it in a process that has TensorFlow.

    Observations are a dict of 'image', uint8 [*spec.size, 3], or 'vector', float32 [n], or both
    (spec.observe), with spec.picture_size also 'picture'. Actions are float32 [n] in [-1, 1] or
    integers 0 ... n - 1 (Discrete). Each step's info has 'discount' and 'steps', and no other key.
    Raises UnknownTaskError, RenderingError, or EnvError for observations or actions of a kind that
    is not taken; `reset` and `step` raise PromiseError, see clion_tf.envs.step_checks.
    """
    env = standard_actions(_repeated(spec), spec.task)
    env = TimeLimit(env, -(-spec.time_limit // spec.action_repeat))
    own = space_of(env, "observation_space", spec.task)
    shown = plan(own, spec.observe, spec.task)
    env = SelectObservation(env, shown, spec.size)
    if shown.rendered:
        _check_renders(env, spec, unseen(own))
        env = RenderImage(env, spec.size)
    if spec.picture_size is not None:
        env = AddPicture(env, spec.picture_size, _picture_source(env, shown, spec))
    if spec.rotation_degrees > 0 or spec.rotation_told:
        env = RotateImage(
            env, spec.rotation_degrees, spec.rotation_told, spec.rotation_fill, spec.rotation_per
        )
    if spec.blank_frames > 0:
        env = BlankFrames(env, spec.blank_frames)
    return env


def episode_seed(spec: EnvSpec, episode: int) -> int:
    """The seed for `reset` at an episode, counted from 0; depends on seed, stream and episode.

    32 bits, as custom environments may feed it to generators that take no more.
    """
    sequence = np.random.SeedSequence([spec.seed, spec.stream, episode])
    return int(sequence.generate_state(1)[0])


def simulator(spec: EnvSpec) -> gymnasium.Env:
    """The task's own environment, with nothing of ours around it; raises as `make`."""
    # Here, as that module is also a program of its own.
    from clion_tf.envs import opengl

    opengl.prepare()
    if gym_tasks.is_gym_task(spec.task):
        return gym_tasks.load(spec)
    if atari.is_atari_task(spec.task):
        return atari.load(spec)
    return _dm_control(spec) if _is_dm_control(spec.task) else _custom(spec)


def _is_dm_control(task: str) -> bool:
    return ":" not in task and not atari.is_atari_task(task)


def _repeated(spec: EnvSpec) -> gymnasium.Env:
    """The simulator, with each action held."""
    env = simulator(spec)
    # Atari holds actions by itself, as its image is made of the last two frames of an agent step.
    return env if atari.is_atari_task(spec.task) else ActionRepeat(env, spec.action_repeat)


def _dm_control(spec: EnvSpec) -> gymnasium.Env:
    # Here, so that importing this module loads no OpenGL.
    from clion_tf.envs.dmc import DMControl

    return DMControl(spec.task, spec.seed, spec.size, spec.camera, spec.picture_size)


def _custom(spec: EnvSpec) -> gymnasium.Env:
    """Call 'module:attribute' with the spec; the module is found as by `import`."""
    module_name, _, attribute = spec.task.partition(":")
    module = gym_tasks.import_module(module_name, spec.task)
    if not hasattr(module, attribute):
        raise UnknownTaskError(f"module {module_name!r} has no {attribute!r}, the task's factory")
    env = getattr(module, attribute)(spec)
    if not isinstance(env, gymnasium.Env):
        raise EnvError(f"{spec.task} must return a gymnasium.Env, not {type(env).__name__}")
    return env


def _check_renders(env: gymnasium.Env, spec: EnvSpec, why: str) -> None:
    if type(env.unwrapped).render is gymnasium.Env.render:
        raise EnvError(
            f"{spec.task} cannot be seen: it observes no image{why} and has no render(); "
            "--observe=vector needs neither"
        )


def _picture_source(
    env: gymnasium.Env, shown: Plan, spec: EnvSpec
) -> Callable[[], np.ndarray] | None:
    """What draws the present scene better than the image; None if nothing does."""
    if _is_dm_control(spec.task):
        return env.get_wrapper_attr("render_picture")
    if shown.rendered:  # A second call could change what the environment draws at random.
        return lambda: env.get_wrapper_attr("scene")
    if env.render_mode == "rgb_array":
        return functools.partial(rendered, env)
    if shown.image is None:
        raise EnvError(f"{spec.task} cannot render, so there is no picture of it")
    return None
