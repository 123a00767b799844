"""From a task's own observations to the agent's: an image, a vector, or both."""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import gymnasium
from gymnasium import spaces

from clion_tf.envs import agent_images, step_checks
from clion_tf.envs.env_spec import EnvError, PromiseError

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
                found = step_checks.described(observation)
                text = f"observes no {self.key!r}, but {found}"
                raise PromiseError(text, step_checks.SPACE) from error
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
    """The environment's `observation_space` or `action_space`; EnvError if it is none."""
    space = getattr(env, name, None)
    if isinstance(space, gymnasium.Space):
        return space
    kind = "missing" if space is None else f"a {type(space).__name__}, no gymnasium.Space"
    wrapped = {"dict": "Dict", "tuple": "Tuple", "list": "Tuple"}.get(type(space).__name__)
    hint = f"; wrap it in gymnasium.spaces.{wrapped}" if wrapped else ""
    raise EnvError(f"{task}: its {name} is {kind}{hint}")


def unseen(task: str, space: gymnasium.Space, lack: str) -> str:
    """What to say of a task without images; names a part that looks like one."""
    near = ""
    for leaf in leaves(space):
        looks = agent_images.resembles(leaf.space)
        if looks in ("grey", "stack") and not near:
            channels = " of 1 or 3 channels" if looks == "stack" else ""
            found = f"{leaf.name}, {leaf.space.dtype} {leaf.space.shape}"
            near = f" ({found}, would be one as uint8 from 0 to 255{channels})"
    text = f"{task} cannot be seen: it observes no image{near} and {lack}"
    return f"{text}; --observe=vector needs neither"


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
    wanted = others if mixed or observe in ("vector", "both") else []
    for leaf in wanted:
        if not isinstance(leaf.space, _NUMBERS):
            kind = type(leaf.space).__name__
            raise EnvError(f"{task}: {leaf.name} is a {kind}, no numbers; --observe=image drops it")
    vector = tuple(leaf for leaf in wanted if spaces.flatdim(leaf.space))
    if observe in ("vector", "both") and not vector:
        raise EnvError(f"{task}: --observe={observe}, but it observes nothing beside an image")
    return Plan(image, image is None and observe != "vector", vector)


def _only_image(pictures: list[Leaf], task: str) -> Leaf:
    if len(pictures) > 1:
        names = ", ".join(leaf.name for leaf in pictures)
        raise EnvError(f"{task} observes {len(pictures)} images ({names}); one is taken")
    [leaf] = pictures
    if agent_images.resembles(leaf.space) == "stack":
        raise _stack(leaf, task)
    if agent_images.channel_axis(leaf.space.shape or ()) is None:
        known = "[H, W], [H, W, 1 or 3] or [1 or 3, H, W]"
        raise EnvError(f"{task}: a picture has shape {known}, not {leaf.space.shape}")
    return leaf


def _refuse_other_pictures(leaf: Leaf, task: str) -> None:
    """A picture of other numbers would else be flattened into a vector of thousands."""
    space, looks = leaf.space, agent_images.resembles(leaf.space)
    if looks == "stack" and len(space.shape or ()) == 4:  # Of fewer axes it may be a board.
        raise _stack(leaf, task)
    if looks == "picture" or leaf.path[-1:] == ("image",):
        raise EnvError(
            f"{task} must give images uint8 from 0 to 255, "
            f"not {leaf.name} of {space.dtype} {space.shape}"
        )


def _stack(leaf: Leaf, task: str) -> EnvError:
    return EnvError(
        f"{task}: {leaf.name} of shape {leaf.space.shape} is several pictures, or one of too many "
        "channels; give one of 1 or 3 channels: the agent itself remembers those before"
    )
