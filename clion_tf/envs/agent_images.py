"""Pictures of any size and layout as the agent's images, uint8 [height, width, 3]."""

import gymnasium
import numpy as np
from PIL import Image

from clion_tf.envs.env_spec import EnvError

_CHANNELS = (1, 3)
_LEAST_SIDE = 16  # pixels; what is smaller may as well be a board or a map


def is_image(space: gymnasium.Space) -> bool:
    """Whether a space holds pictures: bytes from 0 to 255 in two or three dimensions."""
    return (
        isinstance(space, gymnasium.spaces.Box)
        and space.dtype == np.uint8
        and len(space.shape) in (2, 3)
        and bool((space.low == 0).all() and (space.high == 255).all())
    )


def resembles_image(space: gymnasium.Space) -> bool:
    """Whether a space has a picture's shape, though another dtype or range."""
    if not isinstance(space, gymnasium.spaces.Box) or is_image(space):
        return False
    return _in_colour(space.shape)


def resembles_grey(space: gymnasium.Space) -> bool:
    """Whether a space has the shape of a grey picture, though another dtype or range.

    That may as well be a board or a table.
    """
    if not isinstance(space, gymnasium.spaces.Box) or is_image(space):
        return False
    return len(space.shape) == 2 and min(space.shape) >= _LEAST_SIDE


def resembles_stack(space: gymnasium.Space) -> bool:
    """Whether a space has the shape of several pictures."""
    if not isinstance(space, gymnasium.spaces.Box):
        return False
    if len(space.shape) == 4:
        return _in_colour(space.shape[1:]) or _in_colour(space.shape[:3])
    # Grey ones, in front or behind; two channels or more than three are no picture's.
    if len(space.shape) != 3 or not {space.shape[0], space.shape[2]}.isdisjoint(_CHANNELS):
        return False
    few, *sides = sorted(space.shape)
    return few < _LEAST_SIDE <= min(sides) and few != space.shape[1]


def _in_colour(shape: tuple[int, ...]) -> bool:
    if len(shape) != 3:
        return False
    first, middle, last = shape
    sides = (first, middle) if last in _CHANNELS else (middle, last)
    return (last in _CHANNELS or first in _CHANNELS) and min(sides) >= _LEAST_SIDE


def fit(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A picture stretched to a size, uint8 [*size, 3]; grey ones get three equal channels.

    picture: uint8 [H, W], [H, W, 1 or 3] or [1 or 3, H, W]. Pillow's bilinear filter is used, as
    in the original Dreamer's Atari: its window grows with the shrinking, so that every pixel
    counts and thin things do not vanish.
    Raises EnvError for another dtype or shape.
    """
    if not isinstance(picture, np.ndarray) or picture.dtype != np.uint8:
        found = picture.dtype if isinstance(picture, np.ndarray) else type(picture).__name__
        raise EnvError(f"a picture must be a uint8 array, not {found}")
    channels = channel_axis(picture.shape)
    last = picture[..., None] if channels is None else np.moveaxis(picture, channels, -1)
    colour = np.ascontiguousarray(np.broadcast_to(last, (*last.shape[:2], 3)))
    if colour.shape[:2] == tuple(size):
        return colour
    resized = Image.fromarray(colour).resize((size[1], size[0]), Image.Resampling.BILINEAR)
    return np.asarray(resized)


def channel_axis(shape: tuple[int, ...]) -> int | None:
    """Which axis of a picture holds 1 or 3 channels; None if there is none.

    Raises EnvError if that cannot be told.
    """
    if len(shape) == 2 and min(shape) > 0:
        return None
    candidates = [axis for axis in (0, 2) if len(shape) == 3 and shape[axis] in _CHANNELS]
    if len(candidates) != 1 or min(shape) < 1:
        raise EnvError(f"a picture has shape [H, W], [H, W, 1 or 3] or [1 or 3, H, W], not {shape}")
    return candidates[0]
