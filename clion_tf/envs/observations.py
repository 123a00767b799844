"""From a task's own observations to the agent's: an image, a vector, or both."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import gymnasium
import numpy as np
from gymnasium import spaces

from clion_tf.envs import images
from clion_tf.envs.spec import EnvError

_NUMBERS = (spaces.Box, spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary)


class Leaf(NamedTuple):
    """One part of an observation: its space, and the keys that lead there."""

    path: tuple[str | int, ...]
    space: gymnasium.Space

    @property
    def name(self) -> str:
        return "/".join(map(str, self.path)) or "the observation"

    def of(self, observation: Any) -> Any:
        """The part's value."""
        for key in self.path:
            observation = observation[key]
        return observation


class Plan(NamedTuple):
    """What is made of an observation: its own image or a rendered one, and a vector of parts."""

    image: Leaf | None
    rendered: bool
    vector: tuple[Leaf, ...]


def leaves(space: gymnasium.Space, path: tuple[str | int, ...] = ()) -> Iterator[Leaf]:
    """The parts of a space, in its order of keys."""
    if isinstance(space, spaces.Dict | spaces.Tuple):
        inner = space.spaces
        items = inner.items() if isinstance(space, spaces.Dict) else enumerate(inner)
        for key, part in items:
            yield from leaves(part, (*path, key))
    else:
        yield Leaf(path, space)


def plan(space: gymnasium.Space, observe: str, task: str) -> Plan:
    """What to show of observations of a space; `observe` and `task` are EnvSpec's.

    Raises EnvError if a part that is wanted is missing, ambiguous or of a kind that is not taken.
    """
    parts = list(leaves(space))
    pictures = [leaf for leaf in parts if images.is_image(leaf.space)]
    others = [leaf for leaf in parts if leaf not in pictures]
    for leaf in others:
        _refuse_other_pictures(leaf, task)
    image = _only_image(pictures, task) if pictures and observe != "vector" else None
    mixed = observe == "auto" and image is not None
    vector = tuple(others) if mixed or observe in ("vector", "both") else ()
    for leaf in vector:
        if not isinstance(leaf.space, _NUMBERS):
            kind = type(leaf.space).__name__
            raise EnvError(f"{task}: {leaf.name} is a {kind}, no numbers; --observe=image drops it")
    if observe in ("vector", "both") and not _width(vector):
        raise EnvError(f"{task}: --observe={observe}, but it observes nothing beside an image")
    return Plan(image, image is None and observe != "vector", vector if _width(vector) else ())


class SelectObservation(gymnasium.ObservationWrapper):
    """The observation is a dict of what is planned, rendering left out.

    'image': uint8 [*size, 3], see `images.fit`. 'vector': float32 [n], the parts flattened and
    put one after the other, Discrete ones as one-hot; numbers are not scaled.
    """

    def __init__(self, env: gymnasium.Env, plan: Plan, size: tuple[int, int]):
        super().__init__(env)
        self.plan, self._size = plan, size
        found = {}
        if plan.image is not None:
            found["image"] = spaces.Box(0, 255, (*size, 3), np.uint8)
        if plan.vector:
            flat = [spaces.flatten_space(leaf.space) for leaf in plan.vector]
            low, high = (np.concatenate([getattr(f, end) for f in flat]) for end in ("low", "high"))
            found["vector"] = spaces.Box(low.astype(np.float32), high.astype(np.float32))
        self.observation_space = spaces.Dict(found)

    def observation(self, observation: Any) -> dict[str, np.ndarray]:
        result = {}
        if self.plan.image is not None:
            result["image"] = images.fit(self.plan.image.of(observation), self._size)
        if self.plan.vector:
            flat = [spaces.flatten(leaf.space, leaf.of(observation)) for leaf in self.plan.vector]
            result["vector"] = np.concatenate(flat).astype(np.float32)
        return result


def _width(vector: tuple[Leaf, ...]) -> int:
    return sum(spaces.flatdim(leaf.space) for leaf in vector)


def _only_image(pictures: list[Leaf], task: str) -> Leaf:
    if len(pictures) > 1:
        names = ", ".join(leaf.name for leaf in pictures)
        raise EnvError(f"{task} observes {len(pictures)} images ({names}); one is taken")
    try:
        images.channel_axis(pictures[0].space.shape)
    except EnvError as error:
        raise EnvError(f"{task}: {error}") from error
    return pictures[0]


def _refuse_other_pictures(leaf: Leaf, task: str) -> None:
    """A picture of other numbers would else be flattened into a vector of thousands."""
    named = leaf.path[-1:] == ("image",)
    if named or images.resembles_image(leaf.space):
        raise EnvError(
            f"{task} must give images uint8 from 0 to 255, "
            f"not {leaf.name} of {leaf.space.dtype} {leaf.space.shape}"
        )
