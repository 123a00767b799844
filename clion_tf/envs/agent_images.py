"""Pictures of any size and layout as the agent's images, uint8 [height, width, 3], and rotated."""

from typing import Any

import gymnasium
import numpy as np
import scipy  # Its parts load when they are used: most workers turn nothing.
from PIL import Image

_CHANNELS = (1, 3)
_LEAST_SIDE = 16  # pixels; what is smaller may as well be a board or a map
# What lies outside an image, as scipy's name for it: its edge repeated, or black.
FILLS = {"edge": "nearest", "black": "grid-constant"}


def is_image(space: gymnasium.Space) -> bool:
    """Whether a space holds pictures: bytes from 0 to 255 in two or three dimensions."""
    return (
        isinstance(space, gymnasium.spaces.Box)
        and space.dtype == np.uint8
        and len(space.shape) in (2, 3)
        and bool((space.low == 0).all() and (space.high == 255).all())
    )


def resembles(space: gymnasium.Space) -> str:
    """By its shape: 'picture', 'grey' (may be a table as well), 'stack' of pictures, or ''."""
    shape = space.shape if isinstance(space, gymnasium.spaces.Box) else ()
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


def fit(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A picture stretched to a size, uint8 [*size, 3]; grey ones get three equal channels.

    picture: uint8 [H, W], [H, W, 1 or 3] or [1 or 3, H, W]. Pillow's bilinear filter, as in the
    original Dreamer's Atari: its window grows with the shrinking, so that thin things stay.
    """
    axis: Any = channel_axis(picture.shape)
    last = np.moveaxis(np.atleast_3d(picture), axis, -1)
    colour = np.ascontiguousarray(np.broadcast_to(last, (*last.shape[:2], 3)))
    if colour.shape[:2] == tuple(size):
        return colour
    resized = Image.fromarray(colour).resize((size[1], size[0]), Image.Resampling.BILINEAR)
    return np.asarray(resized)


def channel_axis(shape: tuple[int, ...]) -> int | None:
    """Which axis of a picture holds 1 or 3 channels, 2 if none does; None if it is no picture."""
    if len(shape) == 2 and min(shape) > 0:
        return 2
    if len(shape) != 3 or min(shape) < 1:
        return None
    candidates = [axis for axis in (0, 2) if shape[axis] in _CHANNELS]
    return candidates[0] if len(candidates) == 1 else None


def rotate_image(image: np.ndarray, degrees: float, fill: str = "edge") -> np.ndarray:
    """Rotate an image about its centre (table 1); `fill`, one of FILLS, is turned in from outside.

    A positive angle turns the picture counter-clockwise as seen on the screen (row 0 on top), so
    that 90 is `numpy.rot90` for square images. Bilinear, rounded to the nearest integer.

    image: uint8 [height, width, channels]. Returns a new array of the same shape and dtype.
    """
    turned = scipy.ndimage.rotate(
        image, degrees, (1, 0), reshape=False, output=np.float32, order=1, mode=FILLS[fill]
    )
    return np.rint(turned).astype(np.uint8)
