"""From a task's own observations to the agent's: an image, a vector, or both."""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import gymnasium
import numpy as np
from gymnasium import spaces

from clion_tf.envs import agent_images, step_checks
from clion_tf.envs.env_spec import EnvError

_NUMBERS = (spaces.Box, spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary)


class Leaf(NamedTuple):
    """One part of an observation: its space, and the keys that lead there."""

    path: tuple[str | int, ...]
    space: gymnasium.Space

    @property
    def key(self) -> str:
        """The keys in one word, '' if the observation has no other part."""
        return "/".join(map(str, self.path))

    @property
    def name(self) -> str:
        return self.key or "the observation"

    def of(self, observation: Any) -> Any:
        """The part's value; raises PromiseError if there is none."""
        value = observation
        for key in self.path:
            try:
                value = value[key]
            except (KeyError, IndexError, TypeError) as error:
                raise step_checks.missing(self.key, observation) from error
        return value


class Plan(NamedTuple):
    """What is made of an observation: its own image or a rendered one, and a vector of parts."""

    image: Leaf | None
    rendered: bool
    vector: tuple[Leaf, ...]


def leaves(space: gymnasium.Space, path: tuple[str | int, ...] = ()) -> Iterator[Leaf]:
    """The parts of a space, in its order of keys."""
    parts: Iterable[tuple[str | int, gymnasium.Space]]
    if isinstance(space, spaces.Dict):
        parts = space.spaces.items()
    elif isinstance(space, spaces.Tuple):
        parts = enumerate(space.spaces)
    else:
        yield Leaf(path, space)
        return
    for key, part in parts:
        yield from leaves(part, (*path, key))


def space_of(env: gymnasium.Env, name: str, task: str) -> gymnasium.Space:
    """The environment's `observation_space` or `action_space`.

    Raises EnvError, for `task`, if it has none that is Gymnasium's.
    """
    space = getattr(env, name, None)
    if isinstance(space, gymnasium.Space):
        return space
    wrapped: dict[type, str] = {dict: "; wrap it in gymnasium.spaces.Dict"}
    wrapped |= dict.fromkeys((tuple, list), "; wrap it in gymnasium.spaces.Tuple")
    kind = "missing" if space is None else f"a {type(space).__name__}, no gymnasium.Space"
    raise EnvError(f"{task}: its {name} is {kind}{wrapped.get(type(space), '')}")


def unseen(space: gymnasium.Space) -> str:
    """Why no part of a space is an image, though one looks like it; '' if none does."""
    for leaf in leaves(space):
        grey, layers = (
            agent_images.resembles_grey(leaf.space),
            agent_images.resembles_stack(leaf.space),
        )
        if grey or layers:
            found = f"{leaf.name}, {leaf.space.dtype} {leaf.space.shape}"
            channels = " of 1 or 3 channels" if layers else ""
            return f" ({found}, would be one as uint8 from 0 to 255{channels})"
    return ""


def plan(space: gymnasium.Space, observe: str, task: str) -> Plan:
    """What to show of observations of a space; `observe` and `task` are EnvSpec's.

    Raises EnvError if a part that is wanted is missing, ambiguous or of a kind that is not taken.
    """
    parts = list(leaves(space))
    pictures = [leaf for leaf in parts if agent_images.is_image(leaf.space)]
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

    'image': uint8 [*size, 3], see `agent_images.fit`. 'vector': float32 [n], the parts flattened
    and put one after the other, Discrete ones as one-hot; numbers are not scaled. Raises
    PromiseError for what cannot be taken.

    `remarks` collects what was odd and is taken all the same, once for each part.
    """

    def __init__(self, env: gymnasium.Env, plan: Plan, size: tuple[int, int]):
        super().__init__(env)
        self.plan, self._size = plan, size
        self._odd: set[str] = set()
        self.remarks: list[str] = []
        found: dict[str, gymnasium.Space] = {}
        if plan.image is not None:
            found["image"] = spaces.Box(0, 255, (*size, 3), np.uint8)
        if plan.vector:
            flat = [spaces.flatten_space(leaf.space) for leaf in plan.vector]
            low, high = (np.concatenate([_float32(getattr(f, e)) for f in flat]) for e in _ENDS)
            found["vector"] = spaces.Box(low, high)
        self.observation_space = spaces.Dict(found)

    def observation(self, observation: Any) -> dict[str, np.ndarray]:
        result = {}
        if self.plan.image is not None:
            leaf = self.plan.image
            seen = step_checks.picture(leaf.of(observation), leaf.space, leaf.key)
            result["image"] = agent_images.fit(seen, self._size)
        if self.plan.vector:
            flat = [self._numbers(leaf, observation) for leaf in self.plan.vector]
            result["vector"] = np.concatenate(flat)
        return result

    def _numbers(self, leaf: Leaf, observation: Any) -> np.ndarray:
        found, remark = step_checks.vector(leaf.of(observation), leaf.space, leaf.key)
        if remark and leaf.key not in self._odd:
            self._odd.add(leaf.key)
            self.remarks.append(remark)
        return found


_ENDS = ("low", "high")


def _float32(bounds: np.ndarray) -> np.ndarray:
    """Bounds that float32 cannot hold are none."""
    with np.errstate(over="ignore"):
        return bounds.astype(np.float32)


def _width(vector: tuple[Leaf, ...]) -> int:
    return sum(spaces.flatdim(leaf.space) for leaf in vector)


def _only_image(pictures: list[Leaf], task: str) -> Leaf:
    if len(pictures) > 1:
        names = ", ".join(leaf.name for leaf in pictures)
        raise EnvError(f"{task} observes {len(pictures)} images ({names}); one is taken")
    if agent_images.resembles_stack(pictures[0].space):
        raise EnvError(_stack(pictures[0], task))
    try:
        agent_images.channel_axis(pictures[0].space.shape or ())
    except EnvError as error:
        raise EnvError(f"{task}: {error}") from error
    return pictures[0]


def _stack(leaf: Leaf, task: str) -> str:
    return (
        f"{task}: {leaf.name} of shape {leaf.space.shape} is several pictures, or one of too many "
        "channels; give one of 1 or 3 channels: the agent itself remembers those before"
    )


def _refuse_other_pictures(leaf: Leaf, task: str) -> None:
    """A picture of other numbers would else be flattened into a vector of thousands."""
    if agent_images.resembles_stack(leaf.space) and len(leaf.space.shape or ()) == 4:
        raise EnvError(_stack(leaf, task))  # Of fewer axes it may be a board.
    named = leaf.path[-1:] == ("image",)
    if named or agent_images.resembles_image(leaf.space):
        raise EnvError(
            f"{task} must give images uint8 from 0 to 255, "
            f"not {leaf.name} of {leaf.space.dtype} {leaf.space.shape}"
        )
