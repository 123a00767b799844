"""Pickles of NumPy arrays, read so that they can do nothing else.

A pickle is a program that may call whatever it names. Here it finds the five names by which NumPy
(1 and 2) writes arrays, and behind each a few lines of this file in place of NumPy's own.
"""

import pathlib
import pickle
import re
from typing import Any

import numpy as np

from clion_tf.logdir.checkpoints import CheckpointError

_CODE = re.compile(r"[biuf][1248]")  # Booleans, integers and floats; no objects, no text.
# What nonsense in a file can raise.
_DAMAGE = (pickle.UnpicklingError, EOFError, AttributeError, LookupError, TypeError, ValueError)
_DAMAGE += (OverflowError, MemoryError, RecursionError)


class PickleError(CheckpointError):
    """A pickle of something else than arrays; the message is one line."""


def read_arrays(path: str | pathlib.Path) -> list[np.ndarray]:
    """The arrays of a pickled list or tuple, in its order; scalars have shape ().

    Raises:
      PickleError: if it wants anything but arrays, without doing it, or is damaged.
    """
    with open(path, "rb") as file:
        try:
            found = _Unpickler(file).load()
        except PickleError as error:
            raise PickleError(f"{path}: {error}") from None
        except _DAMAGE as error:
            raise PickleError(f"{path}: no pickle, or a damaged one ({error!r})") from error
    if not isinstance(found, list | tuple):
        raise PickleError(f"{path}: holds a {type(found).__name__}, not a list of arrays")
    for item in found:
        if not isinstance(item, _Array) or item.value is None:
            raise PickleError(f"{path}: holds a {type(item).__name__} among its arrays")
    return [item.value for item in found]


class _Dtype:
    """In place of numpy.dtype: called with its code, then told its byte order."""

    def __init__(self, code: str, align: bool = False, copy: bool = False):
        if not (isinstance(code, str) and _CODE.fullmatch(code)):
            raise PickleError(f"it has arrays of {code!r}; only numbers are read")
        self.dtype = np.dtype(code)

    def __setstate__(self, state: tuple) -> None:
        if state[1] not in ("<", ">", "|", "="):
            raise PickleError(f"a byte order cannot be {state[1]!r}")
        self.dtype = self.dtype.newbyteorder(state[1])


class _Array:
    """In place of numpy.ndarray: made empty, then told what it holds."""

    def __init__(self, *ignored: Any):
        self.value: np.ndarray | None = None

    def __setstate__(self, state: tuple) -> None:
        _, shape, dtype, fortran, data = state
        self.value = _array(data, dtype, shape, "F" if fortran else "C").value


def _array(data: Any, dtype: _Dtype, shape: tuple[int, ...], order: str) -> _Array:
    array = _Array()
    array.value = np.frombuffer(data, dtype.dtype).reshape(shape, order=order)
    return array


def _scalar(dtype: _Dtype, data: bytes) -> _Array:
    return _array(data, dtype, (), "C")


_KNOWN: dict[tuple[str, str], Any] = {("numpy", "dtype"): _Dtype, ("numpy", "ndarray"): "ndarray"}
for _core in ("numpy.core", "numpy._core"):  # Of NumPy 1 and 2.
    _KNOWN[f"{_core}.multiarray", "_reconstruct"] = _Array
    _KNOWN[f"{_core}.multiarray", "scalar"] = _scalar
    _KNOWN[f"{_core}.numeric", "_frombuffer"] = _array


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _KNOWN:
            raise PickleError(f"it wants {f'{module}.{name}'!r}; only NumPy arrays are read")
        return _KNOWN[module, name]
