"""Rotation of one image, the observation uncertainty of CLION's table 1."""

import numpy as np
from scipy import ndimage

# What lies outside an image, as scipy's name for it: its edge repeated, or black.
FILLS = {"edge": "nearest", "black": "grid-constant"}


def rotate_image(image: np.ndarray, degrees: float, fill: str = "edge") -> np.ndarray:
    """Rotate an image about its centre; `fill` is turned in from outside, one of FILLS.

    A positive angle turns the picture counter-clockwise as seen on the screen (row 0 on top), so
    that 90 is `numpy.rot90` for square images. Bilinear, rounded to the nearest integer.

    image: uint8 [height, width, channels]. Returns a new array of the same shape and dtype.
    """
    turned = ndimage.rotate(
        image, degrees, (1, 0), reshape=False, output=np.float32, order=1, mode=FILLS[fill]
    )
    return np.rint(turned).astype(np.uint8)
