"""Diagnostics that evaluations of a run have written: `diagnostics/<environment steps>.json`.

What the numbers are: `learning.evaluator_diagnostics`, whose parts they have as `weights` and
`scores`; and `decoding`: the squared error of reconstructions, by `sigma` of noise on the memory h.
"""

import json
import pathlib
from typing import Any

import numpy as np

from clion_tf.logdir.run_folder import RunFolder

QUANTILES = ("0.05", "0.25", "0.5", "0.75", "0.95")
NUMBER, LIST = "number", "list"
OVER_STEPS = {"mean": LIST, "quantiles": dict.fromkeys(QUANTILES, LIST), "score?": LIST}
OF_KIND = {"mean": NUMBER, "share": LIST, "by_age": LIST}
# What a file holds, by part; "?": may be missing.
PARTS = {
    "weights": {
        "original": OVER_STEPS, "augmented?": OVER_STEPS, "effective_sample_size": NUMBER,
        "largest": NUMBER, "augmented_share": NUMBER, "augmented_share_by_step?": LIST,
        "first_step?": NUMBER,
    },
    "scores": {"bins": LIST, "real": OF_KIND, "fake": OF_KIND},
    "decoding": {"sigma": LIST, "error": LIST},
}  # fmt: skip


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
        for part in PARTS:
            try:
                if entry.get(part) is not None:
                    found[part] = _part(entry, part)
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
            pairs.append((entry["steps"], _part(entry, "weights")["augmented_share"]))
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


def _part(entry: dict, part: str) -> dict[str, Any]:
    """A part as `PARTS` has it, its lists as long as each other."""
    found = _parsed(entry.get(part), PARTS[part], part)
    if part == "weights":
        # Diagnostics of earlier versions began at step 1 and had no shares by step.
        found = {"first_step": 1.0, **found}
        _check_sizes(found, found["original"]["mean"].size)
    elif part == "scores":
        for name in ("real", "fake"):
            _check_sizes(found[name]["share"], found["bins"].size - 1)
            _check_sizes(found[name]["by_age"], found["real"]["by_age"].size)
    else:
        _check_sizes(found, found["sigma"].size)
    return found


def _parsed(value: Any, form: Any, name: str) -> Any:
    """Objects as dicts, lists as float64 [N], null as NaN."""
    if form == LIST:
        return _array(value)
    if form == NUMBER:
        if isinstance(value, bool) or not isinstance(value, int | float | None):
            raise DamageError(f"{name} is no number")
        return float("nan") if value is None else float(value)
    if not isinstance(value, dict):
        raise DamageError(f"no {name}" if value is None else "not an object")
    return {
        key.removesuffix("?"): _parsed(value.get(key.removesuffix("?")), inner, key)
        for key, inner in form.items()
        if not key.endswith("?") or value.get(key[:-1]) is not None
    }


def _array(value: Any) -> np.ndarray:
    try:
        array = np.array(value, np.float64)
    except (TypeError, ValueError) as error:
        raise DamageError("not a list of numbers") from error
    if array.ndim != 1 or not array.size:
        raise DamageError("not a list of numbers")
    return np.where(np.isfinite(array), array, np.nan)


def _check_sizes(found: Any, size: int) -> None:
    if isinstance(found, dict):
        for inner in found.values():
            _check_sizes(inner, size)
    elif isinstance(found, np.ndarray) and found.size != size:
        raise DamageError(f"a list of shape [{found.size}], not [{size}]")
