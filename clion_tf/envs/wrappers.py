"""Small wrappers between a simulator and the agent, in the order in which `make` applies them."""

from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
from PIL import Image, ImageOps

from clion_tf.envs import agent_images, step_checks
from clion_tf.envs.env_spec import EnvError, PromiseError
from clion_tf.envs.image_rotation import rotate_image
from clion_tf.envs.observation_choice import space_of

# Keep the streams of angles and of blank frames apart from each other and from the simulator's own,
# which grow from the same seed.
_ROTATION_STREAM, _BLANK_STREAM = 1, 2
GREY = 128  # The networks see it as 0.002, as nearly 0 as a byte can be.
_NO_BOUND = 1e30  # Spaces without bounds are often given float32's largest number, 3.4e38.


class ActionRepeat(gymnasium.Wrapper):
    """Hold each action for `amount` control steps, or until the episode ends.

    The reward is the sum. info is ours alone, whatever the environment's holds: 'steps', the number
    of control steps done, and 'discount', 0.0 if terminated and else 1.0.
    Raises PromiseError for what the environment must not return.
    """

    def __init__(self, env: gymnasium.Env, amount: int):
        super().__init__(env)
        if amount < 1:
            raise EnvError(f"an action must be held for at least 1 step, not {amount}")
        self._amount = amount

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        return step_checks.reset_result(self.env.reset(seed=seed, options=options)), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        total, steps, over = 0.0, 0, False
        while steps < self._amount and not over:
            obs, reward, terminated, truncated = step_checks.step_result(self.env.step(action))
            total += reward
            steps += 1
            over = terminated or truncated
        step_checks.check_reward(total)
        info = {"discount": 0.0 if terminated else 1.0, "steps": steps}
        return obs, total, terminated, truncated, info


def standard_actions(env: gymnasium.Env, task: str) -> gymnasium.Env:
    """Actions as float32 [n] in [-1, 1], or as integers 0 ... n - 1.

    Raises EnvError for any others; `task` is for its message.
    """
    space = space_of(env, "action_space", task)
    if isinstance(space, gymnasium.spaces.Discrete):
        first = int(space.start)
        # A space of our own: the environment's may be of a class that the learner cannot load.
        counted = gymnasium.spaces.Discrete(int(space.n))
        return gymnasium.wrappers.TransformAction(env, lambda action: action + first, counted)
    if isinstance(space, gymnasium.spaces.Box) and space.dtype.kind == "f" and 0 not in space.shape:
        return NormalizeActions(env)
    raise EnvError(f"{task} has actions {space}; only Discrete and a Box of floats are taken")


class NormalizeActions(gymnasium.ActionWrapper):
    """Actions float32 [n] in [-1, 1], as actions of the environment's Box.

    A dimension with two finite bounds gets them spread over its range. One without bounds gets them
    unchanged: there is no range to spread them over. One with a single bound gets them unchanged if
    that keeps the bound, and else moved by as much as it takes: [0, inf) gets [0, 2]. A bound of
    1e30 or more counts as none. A Box of several axes is filled in its own order.
    """

    def __init__(self, env: gymnasium.Env):
        super().__init__(env)
        space = env.action_space
        if not isinstance(space, gymnasium.spaces.Box):
            raise EnvError(f"only actions of a Box have a range, not {space}")
        low, high = space.low.astype(np.float64), space.high.astype(np.float64)
        has_low, has_high = low > -_NO_BOUND, high < _NO_BOUND
        self._bounded = has_low & has_high
        self._low, self._high = (np.where(self._bounded, end, 0.0) for end in (low, high))
        # Where there is a single bound.
        up = np.where(has_low & ~has_high, np.maximum(low, -1.0) + 1.0, 0.0)
        down = np.where(has_high & ~has_low, np.minimum(high, 1.0) - 1.0, 0.0)
        self._moved = up + down
        self._space = space
        count = int(np.prod(space.shape))
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, (count,), np.float32)

    def action(self, action: np.ndarray) -> np.ndarray:
        """From [-1, 1] to the environment's range, dtype and shape."""
        # In float64, so that no digit of the float32 action is lost on the way.
        action = np.asarray(action, np.float64).reshape(self._space.shape)
        spread = (action + 1) / 2 * (self._high - self._low) + self._low
        taken = np.where(self._bounded, spread, action + self._moved).astype(self._space.dtype)
        return taken.clip(self._space.low, self._space.high)  # Its last digit may be beyond an end.


def rendered(env: gymnasium.Env) -> np.ndarray:
    """The present scene, uint8 [any height, any width, 3]; raises PromiseError for others."""
    scene = env.render()
    if not isinstance(scene, np.ndarray):
        hint = "; make it with render_mode='rgb_array'" if scene is None else ""
        raise _no_picture(step_checks.described(scene) + hint)
    if scene.ndim != 3 or scene.shape[-1] != 3 or scene.dtype != np.uint8 or not scene.size:
        raise _no_picture(step_checks.described(scene))
    return np.asarray(scene)


def _no_picture(found: str) -> PromiseError:
    text = f"render() must give uint8 (height, width, 3), not {found}"
    return PromiseError(text, step_checks.RENDERS)


def _parts(env: gymnasium.Env) -> dict[str, gymnasium.Space]:
    """What an environment's observations consist of."""
    space = env.observation_space
    return dict(space.spaces) if isinstance(space, gymnasium.spaces.Dict) else {}


class RenderImage(gymnasium.ObservationWrapper):
    """Adds 'image' to a dict of observations: uint8 [*size, 3], rendered once per agent step.

    `scene` is the last rendering as the environment made it, of any size.
    """

    def __init__(self, env: gymnasium.Env, size: tuple[int, int]):
        super().__init__(env)
        self._size = size
        self.scene: np.ndarray | None = None
        image = gymnasium.spaces.Box(0, 255, (*size, 3), np.uint8)
        self.observation_space = gymnasium.spaces.Dict({"image": image, **_parts(env)})

    def observation(self, observation: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        self.scene = rendered(self.env)
        return {"image": agent_images.fit(self.scene, self._size), **observation}


class AddPicture(gymnasium.ObservationWrapper):
    """Adds 'picture', uint8 [height, width, 3], for people to look at.

    draw: gives the present scene, uint8 [any height, any width, 3], which is fitted into the size
    with black borders; None: the observation's image is enlarged.
    """

    def __init__(
        self, env: gymnasium.Env, size: tuple[int, int], draw: Callable[[], np.ndarray] | None
    ):
        super().__init__(env)
        self._size, self._draw = size, draw
        picture = gymnasium.spaces.Box(0, 255, (*size, 3), np.uint8)
        self.observation_space = gymnasium.spaces.Dict({**_parts(env), "picture": picture})

    def observation(self, observation: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        image = observation.get("image")
        scene = observation["image"] if self._draw is None else self._draw()
        method = Image.Resampling.LANCZOS
        if image is not None and scene.shape == image.shape:
            method = Image.Resampling.NEAREST  # Its pixels stay visible: they are all there is.
        if scene.shape[:2] != self._size:
            fitted = ImageOps.pad(Image.fromarray(scene), self._size[::-1], method)
            scene = np.asarray(fitted)
        return {**observation, "picture": scene}


class RotateImage(gymnasium.ObservationWrapper):
    """Rotate each frame's 'image' by an angle from U(-degrees, degrees).

    A 'picture' beside it turns with it. The angles follow from the seed given to `reset`; a reset
    without a seed goes on in the present stream, as everywhere in gymnasium.

    told: leave the image alone and add the angle, 'rotation', float32 in degrees.
    fill: what lies outside the image, see `rotate_image`.
    per: 'frame', an angle for each frame, or 'episode', the first frame's for all of them.
    """

    def __init__(
        self,
        env: gymnasium.Env,
        degrees: float,
        told: bool = False,
        fill: str = "edge",
        per: str = "frame",
    ):
        super().__init__(env)
        self._degrees, self._told, self._fill, self._per = degrees, told, fill, per
        self._angles = _generator(0, _ROTATION_STREAM)
        self._angle: float | None = None
        if told:
            angle = gymnasium.spaces.Box(-degrees, degrees, (), np.float32)
            self.observation_space = gymnasium.spaces.Dict({**_parts(env), "rotation": angle})

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        if seed is not None:
            self._angles = _generator(seed, _ROTATION_STREAM)
        self._angle = None
        return super().reset(seed=seed, options=options)

    def observation(self, observation: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        if self._angle is None or self._per == "frame":
            self._angle = self._angles.uniform(-self._degrees, self._degrees)
        angle = self._angle
        shown = observation.keys() & ({"picture"} if self._told else {"image", "picture"})
        turned = {key: rotate_image(observation[key], angle, self._fill) for key in shown}
        # An array of no axes, as what a space calls its own.
        told = {"rotation": np.array(angle, np.float32)} if self._told else {}
        return {**observation, **turned, **told}


class BlankFrames(gymnasium.ObservationWrapper):
    """With this probability a frame shows nothing, so that the agent has to remember.

    Then 'image' and 'picture' are GREY and 'vector' is 0: what is observed beside the image would
    tell what it hides. Every frame is drawn alike, an episode's first too. The draws follow from
    the seed given to `reset`, and a frame that is blank at one probability is so at all higher
    ones.
    """

    def __init__(self, env: gymnasium.Env, probability: float):
        super().__init__(env)
        self._probability = probability
        self._draws = _generator(0, _BLANK_STREAM)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        if seed is not None:
            self._draws = _generator(seed, _BLANK_STREAM)
        return super().reset(seed=seed, options=options)

    def observation(self, observation: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        if self._draws.random() >= self._probability:
            return observation
        nothing = {"image": GREY, "picture": GREY, "vector": 0}
        shown = observation.keys() & nothing
        return {
            **observation, **{key: np.full_like(observation[key], nothing[key]) for key in shown}
        }  # fmt: skip


def _generator(seed: int, stream: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence([seed, stream]))
