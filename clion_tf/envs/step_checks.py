"""What `reset` and `step` of an environment must return, checked where it comes in.

Whatever is wrong is a PromiseError whose text goes on after the method's name: "reset() observes 2
numbers, its space has 3". Training and `tools/check_env.py` meet the same checks.
"""

import numbers
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
        raise PromiseError(
            f"returns {described(result)}, not (observation, reward, terminated, truncated, info)",
            RETURNS,
        )
    observation, reward, terminated, truncated, _ = result
    return (
        observation,
        _number(reward),
        _flag(terminated, "terminated"),
        _flag(truncated, "truncated"),
    )


def check_reward(reward: float) -> None:
    """Refuses a sum of rewards that is no finite float32."""
    if problem := _not_finite(reward):
        raise PromiseError(f"gives the reward {problem}", REWARDS)


def _number(reward: Any) -> float:
    if isinstance(reward, numbers.Real):
        return _float(reward)
    array = _array(reward)
    if array is None or array.size != 1 or array.dtype.kind not in "biuf":
        raise PromiseError(f"gives the reward {described(reward)}, not a number", REWARDS)
    return float(array.item())


def _float(number: Any) -> float:
    try:
        return float(number)
    except OverflowError:  # A whole number or a fraction beyond float64.
        return float("inf") if number > 0 else float("-inf")


def _flag(value: Any, name: str) -> bool:
    array = _array(value)
    if (
        array is None
        or array.size != 1
        or array.dtype.kind not in "biu"
        or array.item() not in (0, 1)
    ):
        raise PromiseError(f"returns {name} {described(value)}, not True or False", RETURNS)
    return bool(array.item())


def picture(value: Any, space: gymnasium.Space, name: str) -> np.ndarray:
    """An observed picture, as its space says: uint8 of the space's shape."""
    array = _array(value)
    if array is None or array.shape != space.shape or array.dtype != space.dtype:
        wanted = f"{space.dtype} {space.shape}"
        raise PromiseError(f"observes {described(value)}{_as(name)}, not {wanted}", SPACE)
    return array


def vector(value: Any, space: gymnasium.Space, name: str) -> tuple[np.ndarray, str]:
    """A part of an observation as float32 [n], and what of it lies outside its Box, '' if nothing.

    space: a Box, or Discrete, MultiDiscrete or MultiBinary, which become one-hot. name: of the
    part, '' for the whole observation. That a number leaves a Box does no harm to learning.
    """
    array = _array(value)
    if array is None or array.dtype.kind not in "biuf":
        raise PromiseError(f"observes {described(value)}{_as(name)}, its space is {space}", SPACE)
    if array.shape != space.shape:
        raise PromiseError(_other_shape(array, space, name), SPACE)
    if not isinstance(space, spaces.Box):
        whole = array.astype(space.dtype)
        kept = array.dtype.kind != "f" and (whole == array).all()
        if not (kept and space.contains(whole if whole.shape else whole[()])):
            found = array.tolist()
            raise PromiseError(f"observes {found}{_as(name)}, its space is {space}", SPACE)
        return np.asarray(spaces.flatten(space, whole), np.float32), ""
    with np.errstate(over="ignore"):
        numbers_ = array.astype(np.float32)
    if not np.isfinite(numbers_).all():
        index = tuple(np.argwhere(~np.isfinite(numbers_))[0].tolist())
        problem = _not_finite(float(array[index]))
        raise PromiseError(f"observes {_place(name, index)}{problem}", FINITE)
    return numbers_.ravel(), _outside(array, space, name)


def missing(name: str, observation: Any) -> PromiseError:
    """The error of an observation that lacks a part."""
    return PromiseError(f"observes no {name!r}, but {described(observation)}", SPACE)


def _outside(array: np.ndarray, space: spaces.Box, name: str) -> str:
    beyond = (array < space.low) | (array > space.high)
    if not beyond.any():
        return ""
    index = tuple(np.argwhere(beyond)[0].tolist())
    found, low, high = (float(each[index]) for each in (array, space.low, space.high))
    return f"observes {_place(name, index)}{found:g}, its space has {low:g} to {high:g}"


def _not_finite(number: float) -> str:
    """What is wrong with a number that is to be float32; '' if nothing is."""
    if not np.isfinite(number):
        return f"{number}"
    # What rounds to the largest float32 is none too large.
    with np.errstate(over="ignore"):
        return "" if np.isfinite(np.float32(number)) else f"{number:g}, too large for float32"


def _other_shape(array: np.ndarray, space: gymnasium.Space, name: str) -> str:
    shape = space.shape or ()
    if array.ndim == len(shape) == 1:
        count = f"{len(array)} number{'' if len(array) == 1 else 's'}"
        return f"observes {count}{_as(name)}, its space has {shape[0]}"
    return f"observes shape {array.shape}{_as(name)}, its space has {shape}"


def _array(value: Any) -> np.ndarray | None:
    """A plain array of whatever it is; None of what makes none, such as rows of other lengths."""
    try:
        return np.asarray(value)
    # An object of the user's may raise anything when it is asked for numbers.
    except Exception:
        return None


def _place(name: str, index: tuple[int, ...]) -> str:
    where = f"[{', '.join(map(str, index))}]" if index else ""
    return f"{name}{where} = " if name or where else ""


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
