"""From a task's own observations to the agent's: an image, a vector, or both."""

import functools
import operator
from typing import Any, NamedTuple

import gymnasium
import numpy as np
from gymnasium import spaces

from clion_tf.envs import step_checks
from clion_tf.envs.env_spec import EnvError, PromiseError

_NUMBERS = (spaces.Box, spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary)
_CHANNELS = (1, 3)
_LEAST_SIDE = 16  # pixels; what is smaller may as well be a board or a map


class Leaf(NamedTuple):
    """One part of an observation: its space, and the keys that lead there."""

    path: tuple[str | int, ...]
    space: gymnasium.Space

    @property
    def key(self) -> str:
        """The keys joined by '/'; '' if the observation is neither a Dict nor a Tuple."""
        return "/".join(map(str, self.path))

    @property
    def name(self) -> str:
        return self.key or "the observation"

    def of(self, observation: Any) -> Any:
        """The part's value; raises PromiseError if there is none."""
        try:
            return functools.reduce(operator.getitem, self.path, observation)
        except (KeyError, IndexError, TypeError) as error:
            text = f"observes no {self.key!r}, but {step_checks.described(observation)}"
            raise PromiseError(text, step_checks.SPACE) from error


class Plan(NamedTuple):
    """What is made of an observation: its own image or a rendered one, and a vector of parts."""

    image: Leaf | None
    rendered: bool
    vector: tuple[Leaf, ...]


def leaves(space: gymnasium.Space, path: tuple[str | int, ...] = ()) -> list[Leaf]:
    """The parts of a space, in its order of keys."""
    parts: Any
    if isinstance(space, spaces.Dict):
        parts = space.spaces.items()
    elif isinstance(space, spaces.Tuple):
        parts = enumerate(space.spaces)
    else:
        return [Leaf(path, space)]
    return [leaf for key, part in parts for leaf in leaves(part, (*path, key))]


def space_of(env: gymnasium.Env, name: str, task: str) -> gymnasium.Space:
    """The environment's `observation_space` or `action_space`; EnvError if it is none."""
    space = getattr(env, name, None)
    if isinstance(space, gymnasium.Space):
        return space
    kind = type(space).__name__
    wrapped = {"dict": "Dict", "tuple": "Tuple", "list": "Tuple"}.get(kind)
    hint = f"; wrap it in gymnasium.spaces.{wrapped}" if wrapped else ""
    found = "missing" if space is None else f"a {kind}, no gymnasium.Space{hint}"
    raise EnvError(f"{task}: its {name} is {found}")


def unseen(task: str, space: gymnasium.Space, lack: str) -> str:
    """What to say of a task without images; names the first part that looks like one."""
    near = ""
    for leaf in reversed(leaves(space)):
        looks = resembles(leaf.space)
        if looks in ("grey", "stack"):
            channels = " of 1 or 3 channels" if looks == "stack" else ""
            found = f"{leaf.name}, {leaf.space.dtype} {leaf.space.shape}"
            near = f" ({found}, would be one as uint8 from 0 to 255{channels})"
    text = f"{task} cannot be seen: it observes no image{near} and {lack}"
    return f"{text}; --observe=vector needs neither"


def plan(space: gymnasium.Space, observe: str, task: str) -> Plan:
    """What to show of observations of a space; `observe` and `task` are EnvSpec's.

    Raises EnvError if a part that is wanted is missing, ambiguous or of a kind that is not taken.
    """
    parts = leaves(space)
    pictures = [leaf for leaf in parts if is_image(leaf.space)]
    others = [leaf for leaf in parts if leaf not in pictures]
    taken = [] if observe == "vector" else pictures
    if len(taken) > 1:
        names = ", ".join(leaf.name for leaf in taken)
        raise EnvError(f"{task} observes {len(taken)} images ({names}); one is taken")
    for leaf in (*others, *taken):
        _refuse(leaf, leaf in taken, task)
    image = taken[0] if taken else None
    wanted = others if observe in ("vector", "both") or (observe == "auto" and image) else []
    for leaf in wanted:
        if not isinstance(leaf.space, _NUMBERS):
            kind = type(leaf.space).__name__
            raise EnvError(f"{task}: {leaf.name} is a {kind}, no numbers; --observe=image drops it")
    vector = tuple(leaf for leaf in wanted if spaces.flatdim(leaf.space))
    if observe in ("vector", "both") and not vector:
        raise EnvError(f"{task}: --observe={observe}, but it observes nothing beside an image")
    return Plan(image, image is None and observe != "vector", vector)


def _refuse(leaf: Leaf, taken: bool, task: str) -> None:
    """Refuses pictures that cannot be taken, which else would become vectors of thousands."""
    shape, looks = leaf.space.shape or (), resembles(leaf.space)
    # What is not declared as a picture and has three axes may be a board.
    if looks == "stack" and (taken or len(shape) == 4):
        raise EnvError(
            f"{task}: {leaf.name} of shape {shape} is several pictures, or one of too many "
            "channels; give one of 1 or 3 channels: the agent itself remembers those before"
        )
    if taken and channel_axis(shape) is None:
        known = "[H, W], [H, W, 1 or 3] or [1 or 3, H, W]"
        raise EnvError(f"{task}: a picture has shape {known}, not {shape}")
    if not taken and (looks == "picture" or leaf.path[-1:] == ("image",)):
        found = f"{leaf.name} of {leaf.space.dtype} {leaf.space.shape}"
        raise EnvError(f"{task} must give images uint8 from 0 to 255, not {found}")


def is_image(space: gymnasium.Space) -> bool:
    """Whether a space holds pictures: bytes from 0 to 255 in two or three dimensions."""
    shape = space.shape or ()
    return len(shape) in (2, 3) and space == spaces.Box(0, 255, shape, np.uint8)


def resembles(space: gymnasium.Space) -> str:
    """By its shape: 'picture', 'grey' (may be a table as well), 'stack' of pictures, or ''."""
    shape = space.shape if isinstance(space, spaces.Box) else ()
    several = len(shape) == 4 and (_in_colour(shape[1:]) or _in_colour(shape[:3]))
    if len(shape) == 3:  # Grey ones, in front or behind.
        few, *sides = sorted(shape)
        several = few < _LEAST_SIDE <= min(sides) and few != shape[1]
    if _in_colour(shape):
        return "picture"
    if len(shape) == 2 and min(shape) >= _LEAST_SIDE:
        return "grey"
    return "stack" if several else ""


def _in_colour(shape: tuple[int, ...]) -> bool:
    has_channels = len(shape) == 3 and channel_axis(shape) is not None
    return has_channels and sorted(shape)[1] >= _LEAST_SIDE


def channel_axis(shape: tuple[int, ...]) -> int | None:
    """The axis of 1 or 3 channels, 2 for [H, W]; None if the shape is no picture or ambiguous."""
    if len(shape) == 2 and min(shape) > 0:
        return 2
    if len(shape) != 3 or min(shape) < 1:
        return None
    candidates = [axis for axis in (0, 2) if shape[axis] in _CHANNELS]
    return candidates[0] if len(candidates) == 1 else None
