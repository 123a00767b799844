"""From an EnvSpec to the environment that the agent sees."""

import gymnasium
import numpy as np
from gymnasium.wrappers import TimeLimit

from clion_tf.envs import atari, gym_tasks
from clion_tf.envs.env_spec import EnvError, EnvSpec, UnknownTaskError
from clion_tf.envs.wrappers import ActionRepeat, Disturb, SelectObservation, StandardActions


def make(spec: EnvSpec) -> gymnasium.Env:
    """The environment of a spec; renders, so never call it in a process that has TensorFlow.

    Observations are a dict of 'image', uint8 [*spec.size, 3], or 'vector', float32 [n], or both
    (spec.observe), with spec.picture_size also 'picture'. Actions are float32 [n] in [-1, 1] or
    integers 0 ... n - 1 (Discrete). Each step's info has 'discount' and 'steps', and no other key.
    Raises UnknownTaskError, RenderingError, or EnvError for observations or actions of a kind that
    is not taken; `reset` and `step` raise PromiseError, see clion_tf.envs.step_checks.
    """
    env: gymnasium.Env = ActionRepeat(_simulator(spec), spec.action_repeat)
    env = StandardActions(env, spec.task)
    env = TimeLimit(env, -(-spec.time_limit // spec.action_repeat))
    env = SelectObservation(env, spec)
    disturbed = spec.rotation_degrees > 0 or spec.rotation_told or spec.blank_frames > 0
    return Disturb(env, spec) if disturbed else env


def episode_seed(spec: EnvSpec, episode: int) -> int:
    """The seed for `reset` at an episode, counted from 0; depends on seed, stream and episode.

    32 bits, as custom environments may feed it to generators that take no more.
    """
    sequence = np.random.SeedSequence([spec.seed, spec.stream, episode])
    return int(sequence.generate_state(1)[0])


def _simulator(spec: EnvSpec) -> gymnasium.Env:
    """The task's own environment, with nothing of ours around it."""
    # Here, as that module is also a program of its own.
    from clion_tf.envs import opengl

    opengl.prepare()
    if spec.task.startswith(gym_tasks.PREFIX):
        return gym_tasks.load(spec)
    if atari.PREFIX.match(spec.task):
        return atari.load(spec)
    if ":" in spec.task:
        return _custom(spec)
    # Here, so that importing this module loads no OpenGL.
    from clion_tf.envs.dmc import DMControl

    return DMControl(spec)


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
