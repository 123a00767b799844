"""Diagnostics that evaluations of a run have written: `diagnostics/<environment steps>.json`.

What the numbers are: `learning.evaluator_diagnostics`, whose parts they have as `weights` and
`scores`; and `decoding`: the squared error of reconstructions, by `sigma` of noise on the memory h.
"""

import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from clion_tf.logdir.run_folder import RunFolder

QUANTILES = ("0.05", "0.25", "0.5", "0.75", "0.95")


class DamageError(ValueError):
    """A file that is no diagnostics; the message is one line."""


def newest(logdir: pathlib.Path) -> tuple[int, dict[str, Any], list[str]] | None:
    """(environment steps, {part: its arrays}, damage) of the newest file that can be read.

    Each part is as in the file with float64 arrays for lists, NaN for null; parts that are damaged
    are left out and named in a line. None if no file can be read.
    """
    damage = []
    for path in reversed(RunFolder(logdir).diagnostics_files()):
        try:
            entry = _read(path)
        except DamageError as error:
            damage.append(str(error))
            continue
        found = {}
        for part, check in PARTS.items():
            try:
                if entry.get(part) is not None:
                    found[part] = check(entry[part])
            except DamageError as error:
                damage.append(f"{path.name}: {part}: {error}")
        return entry["steps"], found, damage
    return (0, {}, damage) if damage else None


def augmented_shares(logdir: pathlib.Path) -> tuple[np.ndarray, np.ndarray]:
    """(environment steps [N], share of weight on augmented trajectories [N]) of all files."""
    pairs = []
    for path in RunFolder(logdir).diagnostics_files():
        try:
            entry = _read(path)
            pairs.append(
                (entry["steps"], _number(_weights(entry.get("weights")), "augmented_share"))
            )
        except DamageError:
            continue  # `newest` names what matters.
    xs, ys = np.array(pairs, np.float64).reshape(-1, 2).T
    return xs[np.isfinite(ys)], ys[np.isfinite(ys)]


def _read(path: pathlib.Path) -> dict:
    try:
        entry = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise DamageError(f"{path.name}: damaged ({error})") from error
    if not isinstance(entry, dict) or not isinstance(entry.get("steps"), int):
        raise DamageError(f"{path.name}: no diagnostics")
    return entry


def _weights(value: Any) -> dict[str, Any]:
    entry = _object(value)
    found: dict[str, Any] = {
        name: _over_steps(entry[name])
        for name in ("original", "augmented")
        if entry.get(name) is not None
    }
    if "original" not in found:
        raise DamageError("no original trajectories")
    if len({one["mean"].shape for one in found.values()}) > 1:
        raise DamageError("original and augmented differ in length")
    names = ("effective_sample_size", "largest", "augmented_share")
    found |= {name: _number(entry, name) for name in names}
    # Diagnostics of earlier versions began at step 1 and had no shares by step.
    found["first_step"] = _number(entry, "first_step") if "first_step" in entry else 1.0
    if "augmented" in found and "augmented_share_by_step" in entry:
        steps = found["original"]["mean"].size
        found["share_by_step"] = _array(entry["augmented_share_by_step"], steps)
    return found


def _over_steps(value: Any) -> dict[str, Any]:
    entry = _object(value)
    quantiles = _object(entry.get("quantiles"))
    mean = _array(entry.get("mean"))
    found = {name: _array(quantiles.get(name), mean.size) for name in QUANTILES}
    result = {"mean": mean, "quantiles": found}
    if "score" in entry:
        result["score"] = _array(entry["score"], mean.size)
    return result


def _scores(value: Any) -> dict[str, Any]:
    entry = _object(value)
    bins = _array(entry.get("bins"))
    found: dict[str, Any] = {"bins": bins}
    for name in ("real", "fake"):
        one = _object(entry.get(name))
        found[name] = {
            "mean": _number(one, "mean"),
            "share": _array(one.get("share"), bins.size - 1),
            "by_age": _array(one.get("by_age")),
        }
    if found["real"]["by_age"].size != found["fake"]["by_age"].size:
        raise DamageError("real and fake differ in length")
    return found


def _decoding(value: Any) -> dict[str, Any]:
    entry = _object(value)
    sigma = _array(entry.get("sigma"))
    return {"sigma": sigma, "error": _array(entry.get("error"), sigma.size)}


def _object(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise DamageError("not an object")
    return value


def _array(value: Any, size: int | None = None) -> np.ndarray:
    """float64 [size], [1 or more] without a size; NaN for null."""
    if not isinstance(value, Sequence) or isinstance(value, str) or not len(value):
        raise DamageError("not a list of numbers")
    try:
        array = np.array(value, np.float64)
    except (TypeError, ValueError) as error:
        raise DamageError("not a list of numbers") from error
    if array.ndim != 1 or (size is not None and array.size != size):
        raise DamageError(f"a list of shape {list(array.shape)}, not [{size or 'N'}]")
    return np.where(np.isfinite(array), array, np.nan)


def _number(entry: Mapping[str, Any], name: str) -> float:
    value = entry.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float | None):
        raise DamageError(f"{name} is no number")
    return float("nan") if value is None else float(value)


PARTS = {"weights": _weights, "scores": _scores, "decoding": _decoding}
