"""The tasks of dm_control's suite as gymnasium environments."""

from collections.abc import Iterable, Mapping
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Dict

from clion_tf.envs import opengl
from clion_tf.envs.env_spec import EnvSpec, Reset, Step, UnknownTaskError, did_you_mean

# dm_control has no infinite bounds: an unlimited actuator is given MuJoCo's largest number.
_UNLIMITED = 1e10


def find_task(name: str, table: Iterable[tuple[str, str]]) -> tuple[str, str]:
    """(domain, task) of a name, by `table`: both may have underscores. Else UnknownTaskError."""
    names = {f"{domain}_{task}": (domain, task) for domain, task in table}
    names["cup_catch"] = ("ball_in_cup", "catch")  # as the original Dreamer calls it
    short = name.removeprefix("dmc_")
    if short not in names:
        hint = did_you_mean(short, names)
        raise UnknownTaskError(f"no task {name!r} in dm_control's suite{hint}")
    return names[short]


class DMControl(gymnasium.Env):
    """One task: `step` does physics only, and `render` makes the image when it is wanted.

    Observations are the task's own, float64. Actions are float64 in the actuators' ranges,
    unlimited ones without bounds. An episode terminates where dm_control's discount is 0.0, and is
    truncated after 1000 steps (lqr: never). The spec's seed sets the springs of lqr's model.
    """

    render_mode = "rgb_array"

    def __init__(self, spec: EnvSpec):
        self.metadata = {"render_modes": ["rgb_array"]}
        suite = opengl.load_suite()
        domain, name = find_task(spec.task, suite.ALL_TASKS)
        random = np.random.RandomState(np.random.SeedSequence(spec.seed).generate_state(4))
        self._env = suite.load(domain, name, task_kwargs={"random": random})
        self._size, self._picture_size = spec.size, spec.picture_size or spec.size
        self._camera_id = 2 if domain == "quadruped" else 0  # As in the original Dreamer.
        self._cameras: dict[tuple[int, int], Any] = {}
        # A buffer of the image's own size gives the same pixels 9 % faster in software. It is
        # allocated with the context, so this must come before anything that may render.
        screen = self._env.physics.model.vis.global_
        screen.offheight, screen.offwidth = np.maximum(self._size, self._picture_size).tolist()
        taken = self._env.action_spec()
        low = np.where(taken.minimum <= -_UNLIMITED, -np.inf, taken.minimum)
        high = np.where(taken.maximum >= _UNLIMITED, np.inf, taken.maximum)
        self.action_space = Box(low, high, taken.shape, np.float64)
        seen = self._env.observation_spec().items()
        self.observation_space = Dict(
            {key: Box(-np.inf, np.inf, value.shape, np.float64) for key, value in seen}
        )

    @property
    def renderer(self) -> str:
        """Name of what draws; raises EnvError if nothing can."""
        return opengl.renderer(self._env.physics)

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> Reset:
        super().reset(seed=seed)
        if seed is not None:
            self._env.task.random.seed(np.random.SeedSequence(seed).generate_state(4))
        return _arrays(self._env.reset().observation), {}

    def step(self, action: np.ndarray) -> Step:
        at = self._env.step(np.asarray(action, np.float64))
        terminated, truncated = at.last() and at.discount == 0.0, at.last() and at.discount > 0.0
        return _arrays(at.observation), float(at.reward), terminated, truncated, {}

    def render_picture(self) -> np.ndarray:
        """The present scene at the spec's `picture_size`, uint8 [height, width, 3]."""
        return self.render(self._picture_size)

    def render(self, size: tuple[int, int] | None = None) -> np.ndarray:
        """The present scene, uint8 [*size, 3], by default at the images' size."""
        size = size or self._size
        if size not in self._cameras:
            with opengl.rendering_errors():
                from dm_control.mujoco import engine

                self._cameras[size] = engine.Camera(self._env.physics, *size, self._camera_id)
        return self._cameras[size].render().copy()  # the camera draws into the same array again

    def close(self) -> None:
        self._cameras.clear()
        self._env.physics.free()


def _arrays(observation: Mapping[str, Any]) -> dict[str, np.ndarray]:
    return {key: np.asarray(value, np.float64) for key, value in observation.items()}
