"""What `reset` and `step` of an environment must return, checked where it comes in.

Whatever is wrong is a PromiseError whose text goes on after the method's name: "reset() observes 2
numbers, its space has 3". Training and `tools/check_env.py` meet the same checks.
"""

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from clion_tf.envs.env_spec import PromiseError

RETURNS = "reset and step return what Gymnasium asks for"
REWARDS = "rewards are finite"
FINITE = "observations are finite"
SPACE = "observations lie in their space"
RENDERS = "render gives a picture"
PROMISES = (RETURNS, REWARDS, FINITE, SPACE, RENDERS)


def reset_result(result: Any) -> Any:
    """The observation in what `reset` returned."""
    if not isinstance(result, tuple) or len(result) != 2:
        raise PromiseError(f"returns {described(result)}, not (observation, info)", RETURNS)
    return result[0]


def step_result(result: Any) -> tuple[Any, float, bool, bool]:
    """Observation, reward, terminated and truncated in what `step` returned; info is nobody's."""
    if not isinstance(result, tuple) or len(result) != 5:
        wanted = "(observation, reward, terminated, truncated, info)"
        raise PromiseError(f"returns {described(result)}, not {wanted}", RETURNS)
    observation, reward, terminated, truncated, _ = result
    flags = _flag(terminated, "terminated"), _flag(truncated, "truncated")
    return observation, _reward(reward), *flags


def check_reward(reward: float) -> None:
    """Refuses a sum of rewards that is no finite float32."""
    if problem := _not_finite(reward):
        raise PromiseError(f"gives the reward {problem}", REWARDS)


def _reward(value: Any) -> float:
    number = _scalar(value, "biufO")
    try:
        return float(number)
    except OverflowError:  # A whole number or a fraction beyond float64.
        return float("inf") if number > 0 else float("-inf")
    except (TypeError, ValueError) as error:
        text = f"gives the reward {described(value)}, not a number"
        raise PromiseError(text, REWARDS) from error


def _flag(value: Any, name: str) -> bool:
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
        wanted = f"{space.dtype} {space.shape}"
        raise PromiseError(f"observes {described(value)}{_as(name)}, not {wanted}", SPACE)
    return array


def vector(value: Any, space: gymnasium.Space, name: str) -> tuple[np.ndarray, str]:
    """A part of an observation as float32 [n], and what of it lies outside its Box, '' if nothing.

    space: a Box, or Discrete, MultiDiscrete or MultiBinary, which become one-hot. name: of the
    part, '' for the whole observation. That a number leaves a Box does no harm to learning.
    """
    array = _array(value)
    if array.dtype.kind not in "biuf":
        raise PromiseError(f"observes {described(value)}{_as(name)}, its space is {space}", SPACE)
    if array.shape != (shape := space.shape or ()):
        found, wanted = f"shape {array.shape}", f"{shape}"
        if array.ndim == len(shape) == 1:
            found, wanted = f"{len(array)} number{'s' * (len(array) != 1)}", f"{shape[0]}"
        raise PromiseError(f"observes {found}{_as(name)}, its space has {wanted}", SPACE)
    if not isinstance(space, spaces.Box):
        whole = array.astype(space.dtype)
        if array.dtype.kind == "f" or (whole != array).any() or not space.contains(whole[()]):
            text = f"observes {array.tolist()}{_as(name)}, its space is {space}"
            raise PromiseError(text, SPACE)
        return np.asarray(spaces.flatten(space, whole), np.float32), ""
    with np.errstate(over="ignore"):
        numbers = array.astype(np.float32)
    if not np.isfinite(numbers).all():
        (at,), place = _first(~np.isfinite(numbers), name, array)
        raise PromiseError(f"observes {place}{_not_finite(at)}", FINITE)
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


def _not_finite(number: float) -> str:
    """What is wrong with a number that is to be float32; '' if nothing is."""
    if not np.isfinite(number):
        return f"{number}"
    # What rounds to the largest float32 is none too large.
    with np.errstate(over="ignore"):
        return "" if np.isfinite(np.float32(number)) else f"{number:g}, too large for float32"


def _as(name: str) -> str:
    return f" as {name}" if name else ""


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
