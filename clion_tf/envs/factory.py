"""From an EnvSpec to the environment that the agent sees."""

import importlib
from collections.abc import Callable

import gymnasium
import numpy as np
from gymnasium.wrappers import TimeLimit

from clion_tf.envs.spec import EnvError, EnvSpec, UnknownTaskError
from clion_tf.envs.wrappers import (
    ActionRepeat,
    AddPicture,
    NormalizeActions,
    RenderImage,
    RotateImage,
)


def make(spec: EnvSpec) -> gymnasium.Env:
    """The environment of a spec; renders, so never call it in a process that has TensorFlow.

    Observations are {'image': uint8 [height, width, 3]}, with spec.picture_size also 'picture';
    actions float32 in [-1, 1] (a space
    that is not a Box stays as it is). Each step's info has 'discount' and 'steps'.
    Raises UnknownTaskError, RenderingError, or EnvError for images of a wrong kind.
    """
    env = _custom(spec) if ":" in spec.task else _dm_control(spec)
    env = ActionRepeat(env, spec.action_repeat)
    if isinstance(env.action_space, gymnasium.spaces.Box):
        env = NormalizeActions(env)
    env = TimeLimit(env, -(-spec.time_limit // spec.action_repeat))
    draw = _picture_source(env)
    if not _has_image(env):
        env = RenderImage(env, spec.size)
    _check_image(env, spec)
    if spec.picture_size is not None:
        env = AddPicture(env, spec.picture_size, draw)
    if spec.rotation_degrees > 0:
        env = RotateImage(env, spec.rotation_degrees)
    return env


def episode_seed(spec: EnvSpec, episode: int) -> int:
    """The seed for `reset` at an episode, counted from 0; depends on seed, index and episode.

    32 bits, as custom environments may feed it to generators that take no more.
    """
    sequence = np.random.SeedSequence([spec.seed, spec.index, episode])
    return int(sequence.generate_state(1)[0])


def _dm_control(spec: EnvSpec) -> gymnasium.Env:
    # Here, so that importing this module loads no OpenGL.
    from clion_tf.envs.dmc import DMControl

    return DMControl(spec.task, spec.seed, spec.size, spec.camera, spec.picture_size)


def _custom(spec: EnvSpec) -> gymnasium.Env:
    """Call 'module:attribute' with the spec; the module is found as by `import`."""
    module_name, _, attribute = spec.task.partition(":")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise  # the module is there, but something that it imports is not
        raise UnknownTaskError(f"no module {module_name!r} for task {spec.task!r}") from error
    if not hasattr(module, attribute):
        raise UnknownTaskError(f"module {module_name!r} has no {attribute!r}, the task's factory")
    return getattr(module, attribute)(spec)


def _has_image(env: gymnasium.Env) -> bool:
    space = env.observation_space
    return isinstance(space, gymnasium.spaces.Dict) and "image" in space.spaces


def _picture_source(env: gymnasium.Env) -> Callable[[], np.ndarray] | None:
    """What draws the present scene better than the image; None if nothing does."""
    if hasattr(env.unwrapped, "render_picture"):
        return env.unwrapped.render_picture
    # Where the image comes from `render`, the picture has no more to show, and a second call could
    # change what the environment draws at random.
    return env.render if _has_image(env) and env.render_mode == "rgb_array" else None


def _check_image(env: gymnasium.Env, spec: EnvSpec) -> None:
    image = env.observation_space["image"]
    if image.shape != (*spec.size, 3) or image.dtype != np.uint8:
        height, width = spec.size
        raise EnvError(
            f"{spec.task} must give images uint8 ({height}, {width}, 3), "
            f"not {image.dtype} {image.shape}"
        )
