"""Rotation of one image, the observation uncertainty of CLION's table 1."""

import functools

import numpy as np
import scipy  # Its parts load when they are used: most workers turn nothing.

# What lies outside an image, as scipy's name for it: its edge repeated, or black.
FILLS = {"edge": "nearest", "black": "grid-constant"}


def rotate_image(image: np.ndarray, degrees: float, fill: str = "edge") -> np.ndarray:
    """Rotate an image about its centre; `fill` is turned in from outside, one of FILLS.

    A positive angle turns the picture counter-clockwise as seen on the screen (row 0 on top), so
    that 90 is `numpy.rot90` for square images. Bilinear, rounded to the nearest integer.

    image: uint8 [height, width, channels]. Returns a new array of the same shape and dtype.
    """
    radians = np.deg2rad(degrees)
    cos, sin = np.cos(radians), np.sin(radians)
    rows, columns = _centred_grid(image.shape[0], image.shape[1])
    # The inverse rotation: where in the input each output pixel comes from. Rows grow downwards,
    # which is why the signs are those of a clockwise turn in textbook axes.
    sources = np.stack([cos * rows + sin * columns, cos * columns - sin * rows])
    sources += _centre(image.shape[0], image.shape[1])
    result = np.empty(image.shape, np.float32)
    for channel in range(image.shape[2]):
        result[..., channel] = scipy.ndimage.map_coordinates(
            image[..., channel], sources, output=np.float32, order=1, mode=FILLS[fill]
        )
    return np.rint(result).astype(np.uint8)


def _centre(height: int, width: int) -> np.ndarray:
    """Middle of the image in pixels, between the middle pixels if even; [2, 1, 1]."""
    return np.array([(height - 1) / 2, (width - 1) / 2]).reshape(2, 1, 1)


@functools.lru_cache(maxsize=8)
def _centred_grid(height: int, width: int) -> np.ndarray:
    """Rows and columns of the pixels relative to the centre; float64 [2, height, width]."""
    grid = np.mgrid[:height, :width] - _centre(height, width)
    grid.flags.writeable = False
    return grid
