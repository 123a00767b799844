"""What `reset` and `step` of an environment must return, checked where it comes in.

Whatever is wrong is a PromiseError whose text follows the method's name: "reset() observes 2
numbers, its space has 3".
"""

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from clion_tf.envs.env_spec import PromiseError

LARGEST = 1e16  # Losses square what they predict, in float32, and sum the squares.
RETURNS = "reset and step return what Gymnasium asks for"
REWARDS = "rewards are finite"
FINITE = "observations are finite"
SPACE = "observations lie in their space"
RENDERS = "render gives a picture"
PROMISES = (RETURNS, REWARDS, FINITE, SPACE, RENDERS)


def returned(result: Any, *names: str) -> tuple:
    """What `reset` or `step` returned, a value for each name."""
    if not isinstance(result, tuple) or len(result) != len(names):
        raise PromiseError(f"returns {described(result)}, not ({', '.join(names)})", RETURNS)
    return result


def reward(value: Any) -> float:
    """A reward, or a sum of rewards, as a number of which losses stay finite."""
    number = _scalar(value, "biufO")
    try:
        found = float(number)
    except OverflowError:  # A whole number or a fraction beyond float64.
        found = float("inf") if number > 0 else float("-inf")
    except (TypeError, ValueError) as error:
        text = f"gives the reward {described(value)}, not a number"
        raise PromiseError(text, REWARDS) from error
    if problem := _too_large(found):
        raise PromiseError(f"gives the reward {problem}", REWARDS)
    return found


def flag(value: Any, name: str) -> bool:
    """`terminated` or `truncated`."""
    number = _scalar(value, "biu")
    if number not in (0, 1):
        raise PromiseError(f"returns {name} {described(value)}, not True or False", RETURNS)
    return bool(number)


def _scalar(value: Any, kinds: str) -> Any:
    """The only number of a value, None if it is of none of these kinds of dtype."""
    array = _array(value)
    return array.item() if array.size == 1 and array.dtype.kind in kinds else None


def _array(value: Any) -> np.ndarray:
    """A plain array of whatever it is; of nothing where it makes none, such as uneven rows."""
    try:
        return np.asarray(value)
    # An object of the user's may raise anything when it is asked for numbers.
    except Exception:
        return np.asarray(None)


def picture(value: Any, space: gymnasium.Space, name: str) -> np.ndarray:
    """An observed picture, as its space says: uint8 of the space's shape."""
    array = _array(value)
    if array.shape != space.shape or array.dtype != space.dtype:
        named = f" as {name}" if name else ""
        wanted = f"{space.dtype} {space.shape}"
        raise PromiseError(f"observes {described(value)}{named}, not {wanted}", SPACE)
    return array


def vector(value: Any, space: gymnasium.Space, name: str) -> tuple[np.ndarray, str]:
    """(a part of an observation as float32 [n], a remark if numbers lie outside its Box, else '').

    space: a Box, or a discrete one, flattened (Discrete: one-hot). name: the part's, '' for all.
    """
    array, shape = _array(value), space.shape or ()
    found, wanted = described(value), f"is {space}"
    good = array.dtype.kind in "biuf"
    if good and array.shape != shape:
        good, found, wanted = False, f"shape {array.shape}", f"has {shape}"
        if array.ndim == len(shape) == 1:
            count = len(array)
            found, wanted = f"{count} number{'s' * (count != 1)}", f"has {shape[0]}"
    elif good and not isinstance(space, spaces.Box):
        whole, found = array.astype(space.dtype), f"{array.tolist()}"
        good = array.dtype.kind != "f" and (whole == array).all() and space.contains(whole[()])
    if not good:
        named = f" as {name}" if name else ""
        raise PromiseError(f"observes {found}{named}, its space {wanted}", SPACE)
    if not isinstance(space, spaces.Box):
        return np.asarray(spaces.flatten(space, whole), np.float32), ""
    with np.errstate(over="ignore"):
        numbers = array.astype(np.float32)
    if not (fine := np.abs(numbers) <= LARGEST).all():
        (at,), place = _first(~fine, name, array)
        raise PromiseError(f"observes {place}{_too_large(at)}", FINITE)
    beyond = (array < space.low) | (array > space.high)
    if not beyond.any():
        return numbers.ravel(), ""
    (at, low, high), place = _first(beyond, name, array, space.low, space.high)
    return numbers.ravel(), f"observes {place}{at:g}, its space has {low:g} to {high:g}"


def _first(where: np.ndarray, name: str, *arrays: np.ndarray) -> tuple[list[float], str]:
    """The numbers of arrays at the first place where it is so, and the place, 'name[0] = '."""
    index = tuple(np.argwhere(where)[0].tolist())
    place = f"{name}[{', '.join(map(str, index))}]" if index else name
    return [float(array[index]) for array in arrays], f"{place} = " if place else ""


def _too_large(number: float) -> str:
    """What is wrong with a number that losses are to be made of; '' if nothing is."""
    if not np.isfinite(number):
        return f"{number}"
    return "" if abs(number) <= LARGEST else f"{number:g}, too large for losses in float32"


def described(value: Any) -> str:
    """A value in a few words."""
    if isinstance(value, np.ndarray):
        return f"{value.dtype} {value.shape}"
    if isinstance(value, tuple):
        return f"a tuple of {len(value)}"
    if isinstance(value, dict):
        return f"the keys {', '.join(map(repr, value))}"[:100]
    if value is None or type(value) in (bool, int, float, complex, str):
        return f"{value!r}"[:50]
    return f"a {type(value).__name__}"
