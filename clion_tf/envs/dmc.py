"""The tasks of dm_control's suite as gymnasium environments."""

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

import gymnasium
import numpy as np

from clion_tf.envs import opengl
from clion_tf.envs.env_spec import EnvError, UnknownTaskError

# dm_control has no infinite bounds: an unlimited actuator is given MuJoCo's largest number.
_UNLIMITED = 1e10


def find_task(name: str, table: Iterable[tuple[str, str]]) -> tuple[str, str]:
    """Domain and task for a name such as 'walker_walk', 'dmc_walker_walk' or 'cup_catch'.

    table: pairs of domain and task; a look-up, since both of them may have underscores.
    Raises UnknownTaskError with the nearest names.
    """
    names = {f"{domain}_{task}": (domain, task) for domain, task in table}
    if ("ball_in_cup", "catch") in names.values():
        names["cup_catch"] = ("ball_in_cup", "catch")  # as the original Dreamer calls it
    short = name.removeprefix("dmc_")
    if short in names:
        return names[short]
    nearest = difflib.get_close_matches(short, names, n=3, cutoff=0.4)
    hint = f"; did you mean {', '.join(nearest)}?" if nearest else ""
    raise UnknownTaskError(f"no task {name!r} in dm_control's suite{hint}")


class DMControl(gymnasium.Env):
    """One task: `step` does physics only, and `render` makes the image when it is wanted.

    Observations are the task's own, a dict of float64 arrays. Actions are float64 in the
    actuators' ranges; unlimited ones have infinite bounds. An episode terminates where dm_control's
    discount is 0.0, and is truncated where its limit of 1000 steps cuts; the suite has no others.

    task: see `find_task`. seed: decides what is random in the model itself (lqr's springs), the
    same in every episode. size: height and width of `render`'s images in pixels. camera: None is
    2 for the quadruped and 0 else, as in the original Dreamer. picture_size: the same of
    `render_picture`'s, None if it is not needed.
    Raises UnknownTaskError, EnvError for a camera that the model lacks, RenderingError.
    """

    render_mode = "rgb_array"

    def __init__(
        self,
        task: str,
        seed: int = 0,
        size: tuple[int, int] = (64, 64),
        camera: int | None = None,
        picture_size: tuple[int, int] | None = None,
    ):
        self.metadata = {"render_modes": ["rgb_array"]}
        suite = opengl.load_suite()
        domain, name = find_task(task, suite.ALL_TASKS)
        random = np.random.RandomState(np.random.SeedSequence(seed).generate_state(4))
        self._env = suite.load(domain, name, task_kwargs={"random": random})
        self._size, self._picture_size = size, picture_size
        self._camera_id = camera if camera is not None else 2 if domain == "quadruped" else 0
        self._cameras: dict[tuple[int, int], Any] = {}
        cameras = self._env.physics.model.ncam
        if not -1 <= self._camera_id < cameras:
            raise EnvError(f"{task} has cameras 0 to {cameras - 1}, but not {self._camera_id}")
        # A buffer of the image's own size gives the same pixels 9 % faster in software. It is
        # allocated with the context, so this must come before anything that may render.
        screen = self._env.physics.model.vis.global_
        screen.offheight, screen.offwidth = np.maximum(size, picture_size or size).tolist()
        self.action_space = _action_space(self._env.action_spec())
        self.observation_space = gymnasium.spaces.Dict(
            {
                key: gymnasium.spaces.Box(-np.inf, np.inf, value.shape, np.float64)
                for key, value in self._env.observation_spec().items()
            }
        )

    @property
    def renderer(self) -> str:
        """Name of what draws; raises RenderingError if nothing can."""
        return opengl.renderer(self._env.physics)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Start an episode; with a seed it depends on nothing that happened before."""
        super().reset(seed=seed, options=options)
        if seed is not None:
            self._env.task.random.seed(np.random.SeedSequence(seed).generate_state(4))
        return _arrays(self._env.reset().observation), {}

    def step(
        self, action: np.ndarray
    ) -> tuple[dict[str, np.ndarray], float, bool, bool, dict[str, Any]]:
        """One control step without rendering; action: float [actuators]."""
        time_step = self._env.step(np.asarray(action, np.float64))
        if time_step.first():  # dm_control would silently begin the next episode
            raise EnvError("the episode is over: reset the environment before its next step")
        discount = float(time_step.discount)
        terminated = time_step.last() and discount == 0.0
        truncated = time_step.last() and discount > 0.0
        observation = _arrays(time_step.observation)
        return observation, float(time_step.reward), terminated, truncated, {}

    def render(self) -> np.ndarray:
        """The present picture, uint8 [height, width, 3], as from `physics.render`."""
        return self._render(self._size)

    def render_picture(self) -> np.ndarray:
        """The same scene at `picture_size`, uint8 [height, width, 3]."""
        return self._render(self._picture_size or self._size)

    def _render(self, size: tuple[int, int]) -> np.ndarray:
        if size not in self._cameras:
            with opengl.rendering_errors():
                from dm_control.mujoco import engine

                self._cameras[size] = engine.Camera(self._env.physics, *size, self._camera_id)
        return self._cameras[size].render().copy()  # the camera draws into the same array again

    def close(self) -> None:
        self._cameras.clear()
        self._env.physics.free()


def _action_space(spec: Any) -> gymnasium.spaces.Box:
    low = np.where(spec.minimum <= -_UNLIMITED, -np.inf, spec.minimum)
    high = np.where(spec.maximum >= _UNLIMITED, np.inf, spec.maximum)
    return gymnasium.spaces.Box(low, high, spec.shape, np.float64)


def _arrays(observation: Mapping[str, Any]) -> dict[str, np.ndarray]:
    return {key: np.asarray(value, np.float64) for key, value in observation.items()}
