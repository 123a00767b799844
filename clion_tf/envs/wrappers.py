"""Small wrappers between a simulator and the agent, in the order in which `make` applies them."""

import copy
from typing import Any

import gymnasium
import numpy as np
import scipy  # Its parts load when they are used: most workers turn nothing.
from gymnasium.spaces import Box, Dict, Discrete, Tuple
from PIL import Image, ImageOps

from clion_tf.envs import step_checks
from clion_tf.envs.env_spec import EnvError, EnvSpec, Observation, PromiseError, Reset, Step
from clion_tf.envs.observation_choice import channel_axis, plan, space_of, unseen

GREY = 128  # The networks see it as 0.002, as nearly 0 as a byte can be.
# What lies outside an image, as scipy's name for it: its edge repeated, or black.
FILLS = {"edge": "nearest", "black": "grid-constant"}
_NO_BOUND = 1e30  # Spaces without bounds are often given float32's largest number, 3.4e38.


class ActionRepeat(gymnasium.Wrapper):
    """Hold each action for `amount` control steps, or until the episode ends; rewards are summed.

    info is ours alone: 'steps', the control steps done. Raises PromiseError for what the
    environment must not return.
    """

    def __init__(self, env: gymnasium.Env, amount: int):
        super().__init__(env)
        self._amount = amount

    def reset(self, **options: Any) -> Reset:
        return step_checks.returned(self.env.reset(**options), "observation", "info")[0], {}

    def step(self, action: Any) -> Step:
        total, steps, terminated, truncated = 0.0, 0, False, False
        names = "observation", "reward", "terminated", "truncated", "info"
        while steps < self._amount and not (terminated or truncated):
            # A copy for each step: an environment may change its action in place.
            returned = self.env.step(copy.copy(action))
            obs, reward, *flags, _ = step_checks.returned(returned, *names)
            terminated, truncated = map(step_checks.flag, flags, names[2:4])
            total = step_checks.reward(total + step_checks.reward(reward))
            steps += 1
        return obs, total, terminated, truncated, {"steps": steps}


class StandardActions(gymnasium.ActionWrapper):
    """Actions as float32 [n] in [-1, 1], or as integers 0 ... n - 1; EnvError for other kinds.

    Each dimension of a Box maps [-1, 1] linearly onto [low, high] if both are finite. Without
    bounds it stays [-1, 1]; with one bound it is shifted just enough to respect the bound, so
    [0, inf) gets [0, 2]. A bound of 1e30 or more (absolute) counts as none.
    """

    def __init__(self, env: gymnasium.Env, task: str):
        super().__init__(env)
        space = space_of(env, "action_space", task)
        self.own_actions: Any = space
        # A space of our own: the environment's may be of a class that the learner cannot load.
        if isinstance(space, Discrete):
            self.action_space = Discrete(int(space.n))
        elif isinstance(space, Box) and space.dtype.kind == "f" and 0 not in space.shape:
            self.action_space = Box(-1.0, 1.0, (int(np.prod(space.shape)),), np.float32)
            # What the actions -1 and 1 become.
            low, high = space.low.astype(np.float64), space.high.astype(np.float64)
            no_low, no_high = low <= -_NO_BOUND, high >= _NO_BOUND
            low = np.where(no_high, np.maximum(low, -1), low)
            high = np.where(no_low, np.minimum(high, 1), high)
            self._low = np.where(no_low, high - 2, low)
            self._high = np.where(no_high, low + 2, high)
        else:
            kinds = "only Discrete and a Box of floats are taken"
            raise EnvError(f"{task} has actions {space}; {kinds}")

    def action(self, action: Any) -> Any:
        """The agent's action as the environment takes it."""
        space = self.own_actions
        if isinstance(space, Discrete):
            return action + int(space.start)
        # In float64, so that no digit of the float32 action is lost on the way.
        action = np.asarray(action, np.float64).reshape(space.shape)
        taken = (action + 1) / 2 * (self._high - self._low) + self._low
        # Its last digit may be beyond an end.
        return taken.astype(space.dtype).clip(space.low, space.high)


def rendered(env: gymnasium.Env) -> np.ndarray:
    """The present scene, uint8 [any height, any width, 3]; raises PromiseError for others."""
    scene = env.render()
    array = scene if isinstance(scene, np.ndarray) else np.empty(0)
    if array.dtype != np.uint8 or array.shape[2:] != (3,) or not array.size:
        hint = "; make it with render_mode='rgb_array'" if scene is None else ""
        text = f"render() must give uint8 (height, width, 3), not {step_checks.described(scene)}"
        raise PromiseError(text + hint, step_checks.RENDERS)
    return np.asarray(array)


def fit(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A picture, uint8 [H, W], [H, W, 1 or 3] or [1 or 3, H, W], stretched to uint8 [*size, 3].

    With Pillow's bilinear filter, as in the original Dreamer's Atari, thin things stay.
    """
    axis: Any = channel_axis(picture.shape)
    last = np.moveaxis(np.atleast_3d(picture), axis, -1)
    colour = np.ascontiguousarray(np.broadcast_to(last, (*last.shape[:2], 3)))
    return np.asarray(Image.fromarray(colour).resize(size[::-1], Image.Resampling.BILINEAR))


def _renders(env: gymnasium.Env) -> bool:
    """Whether a layer has a render() of its own, not Gymnasium's that ask the one inside."""
    layers = [env]
    while isinstance(layers[-1], gymnasium.Wrapper):
        layers.append(layers[-1].env)
    asking = "gymnasium.core", "gymnasium.wrappers"
    return not all(type(layer).render.__module__.startswith(asking) for layer in layers)


class SelectObservation(gymnasium.ObservationWrapper):
    """The observation is a dict of what `observation_choice.plan` says, and a picture if wanted.

    'image': uint8 [*spec.size, 3], see `fit`; rendered once per agent step.
    'vector': float32 [n], the parts one after the other, flat, Discrete ones as one-hot.
    'picture': uint8 [*spec.picture_size, 3], the scene fitted in with black borders, or the image
    enlarged. Raises EnvError; `reset` and `step` raise PromiseError for what cannot be taken.
    """

    def __init__(self, env: gymnasium.Env, spec: EnvSpec):
        super().__init__(env)
        own = space_of(env, "observation_space", spec.task)
        self._spec, self.plan = spec, plan(own, spec.observe, spec.task)
        self.remarks: dict[str, str] = {}  # what is odd and taken all the same, of a part each
        if self.plan.rendered and not _renders(env):
            raise EnvError(unseen(spec.task, own, "has no render()"))
        found: dict[str, gymnasium.Space] = {}
        if self.plan.rendered or self.plan.image:
            found["image"] = Box(0, 255, (*spec.size, 3), np.uint8)
        if self.plan.vector:
            parts = Tuple([leaf.space for leaf in self.plan.vector])
            flat: Any = gymnasium.spaces.flatten_space(parts)
            with np.errstate(over="ignore"):  # Bounds that float32 cannot hold are none.
                found["vector"] = Box(flat.low.astype(np.float32), flat.high.astype(np.float32))
        if spec.picture_size is not None:
            found["picture"] = Box(0, 255, (*spec.picture_size, 3), np.uint8)
            if not ("image" in found or env.render_mode == "rgb_array"):
                raise EnvError(f"{spec.task} cannot render, so there is no picture of it")
        self.observation_space = Dict(found)

    def observation(self, observation: Any) -> Observation:
        result, leaf = {}, self.plan.image
        if leaf is not None:
            self._scene = step_checks.picture(leaf.of(observation), leaf.space, leaf.key)
        elif self.plan.rendered:
            self._scene = rendered(self.env)
        if leaf is not None or self.plan.rendered:
            result["image"] = fit(self._scene, self._spec.size)
        numbers = []
        for part in self.plan.vector:
            value, remark = step_checks.vector(part.of(observation), part.space, part.key)
            numbers.append(value)
            if remark:
                self.remarks.setdefault(part.key, remark)
        if numbers:
            result["vector"] = np.concatenate(numbers)
        if self._spec.picture_size is not None:
            result["picture"] = self._picture(result.get("image"), self._spec.picture_size)
        return result

    def _picture(self, image: Any, size: tuple[int, int]) -> np.ndarray:
        """The best picture of the scene, fitted into a size."""
        scene = image
        if self.env.has_wrapper_attr("render_picture"):
            scene = self.env.get_wrapper_attr("render_picture")()
        elif self.plan.rendered:  # A second call could change what is drawn at random.
            scene = self._scene
        elif self.env.render_mode == "rgb_array":
            scene = rendered(self.env)
        # An image's own pixels stay visible: they are all there is.
        enlarged = image is not None and scene.shape == image.shape
        method = Image.Resampling.NEAREST if enlarged else Image.Resampling.LANCZOS
        return np.asarray(ImageOps.pad(Image.fromarray(scene), size[::-1], method))


def rotate_image(image: np.ndarray, degrees: float, fill: str = "edge") -> np.ndarray:
    """Rotate an image, uint8 [height, width, channels], about its centre (table 1) into a new one.

    A positive angle turns it counter-clockwise as seen on the screen (row 0 on top): 90 is
    `numpy.rot90`. Bilinear, rounded to the nearest integer; `fill`, of FILLS, comes from outside.
    """
    turned = scipy.ndimage.rotate(
        image, degrees, (1, 0), reshape=False, output=np.float32, order=1, mode=FILLS[fill]
    )
    return np.rint(turned).astype(np.uint8)


class Disturb(gymnasium.ObservationWrapper):
    """Rotates 'image' and 'picture' by an angle from U(-x, x) degrees, and blanks some frames.

    Each frame or each episode has its own angle (`spec.rotation_per`). With `spec.rotation_told`
    only 'picture' is rotated, and the angle is observed, 'rotation', float32 [] in degrees. A
    frame is blank with probability `spec.blank_frames`: 'image' and 'picture' are GREY, 'vector'
    0. `reset`'s seed decides all; a frame blank at one probability is so at all higher ones.
    """

    def __init__(self, env: gymnasium.Env, spec: EnvSpec):
        super().__init__(env)
        self._spec = spec
        self._begin(0)
        if spec.rotation_told:
            most, parts = spec.rotation_degrees, dict(env.observation_space)  # type: ignore
            parts["rotation"] = Box(-most, most, (), np.float32)
            self.observation_space = Dict(parts)

    def _begin(self, seed: int) -> None:
        # Apart from each other and from the simulator's own, which grow from the same seed.
        self._angles, self._draws = (np.random.default_rng([seed, stream]) for stream in (1, 2))

    def reset(self, *, seed: int | None = None, **options: Any) -> Reset:
        if seed is not None:
            self._begin(seed)
        self._angle: float | None = None
        return super().reset(seed=seed, **options)

    def observation(self, observation: Observation) -> Observation:
        spec, seen = self._spec, dict(observation)
        if spec.rotation_degrees > 0 or spec.rotation_told:
            if self._angle is None or spec.rotation_per == "frame":
                self._angle = self._angles.uniform(-spec.rotation_degrees, spec.rotation_degrees)
            for key in seen.keys() & ({"picture"} if spec.rotation_told else {"image", "picture"}):
                seen[key] = rotate_image(seen[key], self._angle, spec.rotation_fill)
            if spec.rotation_told:  # An array of no axes, as what a space calls its own.
                seen["rotation"] = np.array(self._angle, np.float32)
        if self._draws.random() < spec.blank_frames:
            for key in seen.keys() & {"image", "picture", "vector"}:
                seen[key] = np.full_like(seen[key], 0 if key == "vector" else GREY)
        return seen
