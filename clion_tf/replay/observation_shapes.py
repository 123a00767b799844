"""What an agent sees at a step: an image [H, W, 3], a vector [n], or both, and maybe a rotation [].

A mapping {key: shape of one step} says which of them there are, always in this order.
"""

from collections.abc import Mapping

import gymnasium
import numpy as np

Shapes = dict[str, tuple[int, ...]]

DTYPES = {"image": "uint8", "vector": "float32", "rotation": "float32"}
PIXELS: Shapes = {"image": (64, 64, 3)}


def shapes_of(space: gymnasium.spaces.Dict) -> Shapes:
    """The shapes in an environment's observations; what is for people (`picture`) is left out."""
    return {key: space[key].shape or () for key in DTYPES if key in space.spaces}


def check(observation: Mapping[str, np.ndarray], shapes: Shapes) -> None:
    """Raises ValueError for what is not an observation of one step, naming what is wrong."""
    for key, shape in shapes.items():
        found = "nothing"
        if key in observation:
            value = np.asarray(observation[key])
            if value.shape == shape and value.dtype == DTYPES[key]:
                if np.isfinite(value).all():
                    continue
                raise ValueError(f"an observation's {key} has numbers that are not finite")
            found = f"{value.dtype} {value.shape}"
        raise ValueError(f"an observation's {key} is {DTYPES[key]} {shape}, not {found}")
