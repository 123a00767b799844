"""Learning curves in JSON: one object a curve, or a list of them.

    {"task": "dmc_walker_walk", "method": "dreamer", "seed": "0", "xs": [...], "ys": [...]}

xs are environment steps, ys returns. This is the format of the curves that the original Dreamer
published. A run of ours that is saved so also has `options` and `version`, what tells it from
others (`setup`, `rotation_degrees`, `test_rotation_degrees`), its evaluations as xs and ys, and the
returns of its training episodes as `train_xs` and `train_ys`.
"""

import hashlib
import json
import math
import pathlib
import re
from collections.abc import Iterable
from typing import Any

import numpy as np

from clion_tf.analysis.curves import run_logs
from clion_tf.analysis.curves.curve import ORIGINAL, OURS, PUBLISHED, Curve, plain_task
from clion_tf.analysis.curves.metrics_files import ordered
from clion_tf.command import UsageError
from clion_tf.files import atomic_write, user_path

LONGEST = 60  # Characters of a part of a file's name: file systems take 255 in all.
PREFIXES = {"test": "", "train": "train_"}  # Of the keys that hold a metric's points.


def load(path: str | pathlib.Path, metric: str = "test") -> list[Curve]:
    """The curves of a file. Points that are null or NaN are left out.

    A curve that does not say which metric it holds is taken for either.

    Raises:
      UsageError: if it is no such file; the message says where.
    """
    try:
        content = json.loads(pathlib.Path(path).read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"{path}: not a curve file ({error})") from error
    entries = content if isinstance(content, list) else [content]
    if not entries:
        raise UsageError(f"{path}: holds no curve")
    return [_curve(entry, f"{path}, entry {i}", metric) for i, entry in enumerate(entries)]


def save(
    folder: str | pathlib.Path, tests: Iterable[Curve], trainings: Iterable[Curve] = ()
) -> list[pathlib.Path]:
    """Writes one file for each run; returns their paths. Published curves are not runs.

    A file is named by task, rotation, method, setup and seed, so saving a run again replaces its
    file. What a run of ours logged goes beside it, see `run_logs`.

    Args:
      folder: made if only its last part is missing.
      tests, trainings: returns of evaluations and of training episodes of the same runs.

    Raises:
      UsageError: if two runs would get the same name.
      OSError: if the folder cannot be made or written.
    """
    runs: dict[str, dict[str, Curve]] = {}
    for metric, found in (("test", tests), ("train", trainings)):
        for curve in found:
            if curve.kind != PUBLISHED:
                runs.setdefault(curve.source, {})[metric] = curve
    named = _named(runs.values())
    folder = user_path(folder)
    folder.mkdir(exist_ok=True)
    for name, run in named.items():
        with atomic_write(folder / name) as file:
            file.write(_encode(run))
        if _first(run).kind == OURS:  # From a curve file there is nothing more to keep.
            run_logs.save(pathlib.Path(_first(run).source), folder / name)
    return [folder / name for name in named]


def _named(runs: Iterable[dict[str, Curve]]) -> dict[str, dict[str, Curve]]:
    """The runs by the name of their file."""
    named: dict[str, dict[str, Curve]] = {}
    for run in runs:
        name = _name(_first(run))
        if named.setdefault(name, run) is not run:
            raise UsageError(
                f"{_first(named[name]).source} and {_first(run).source} are one seed of one "
                "method; tell them apart by labels"
            )
    return named


def _first(run: dict[str, Curve]) -> Curve:
    return next(iter(run.values()))


def _name(curve: Curve) -> str:
    rotation = f"rotation{curve.rotation:g}" if curve.rotation else ""
    if curve.test_rotation != curve.rotation:
        rotation = f"rotation{curve.rotation:g}to{curve.test_rotation:g}"
    parts = (curve.task, rotation, curve.method, curve.setup, f"seed{curve.seed}")
    return "-".join(filter(None, map(_word, parts))) + ".json"


def _word(part: str) -> str:
    """A part of a file's name; of a long one the beginning, and a hash to tell it from others."""
    word = re.sub(r"[^\w.=]+", "_", part).strip("_").lower()
    if len(word) <= LONGEST:
        return word
    return f"{word[: LONGEST - 9]}_{hashlib.sha256(part.encode()).hexdigest()[:8]}"


def _encode(run: dict[str, Curve]) -> bytes:
    """One key a line, so that a new evaluation changes two lines."""
    curve = _first(run)
    entry: dict[str, Any] = {"task": curve.task, "method": curve.method, "seed": curve.seed}
    entry |= {"setup": curve.setup, "kind": curve.kind}
    entry |= {"rotation_degrees": curve.rotation, "test_rotation_degrees": curve.test_rotation}
    entry |= {"version": curve.version, "options": curve.options}
    for metric, prefix in PREFIXES.items():
        found = run.get(metric)
        entry[f"{prefix}xs"] = found.xs.tolist() if found else []
        entry[f"{prefix}ys"] = found.ys.tolist() if found else []
    lines = (f"{json.dumps(k)}: {json.dumps(v, allow_nan=False)}" for k, v in entry.items())
    return ("{\n" + ",\n".join(lines) + "\n}\n").encode()


def _curve(entry: Any, where: str, metric: str) -> Curve:
    if not isinstance(entry, dict):
        raise UsageError(f"{where}: not an object with task, method, seed, xs and ys")
    for name in ("task", "method", "seed"):
        if not isinstance(entry.get(name), str | int) or entry[name] == "":
            raise UsageError(f"{where}: no {name}")
    saved = isinstance(entry.get("options"), dict) or entry.get("kind") == ORIGINAL
    prefix = PREFIXES[metric] if "train_xs" in entry else ""
    rotation = _degrees(entry, "rotation_degrees", 0.0, where)
    return Curve(
        plain_task(str(entry["task"])),
        str(entry["method"]),
        str(entry["seed"]),
        *_points(entry, prefix, where),
        source=where,
        kind=(ORIGINAL if entry.get("kind") == ORIGINAL else OURS) if saved else PUBLISHED,
        setup=str(entry.get("setup", "")),
        rotation=rotation,
        test_rotation=_degrees(entry, "test_rotation_degrees", rotation, where),
        options=entry.get("options") if saved else None,
        version=entry.get("version") if saved else None,
    )


def _points(entry: dict, prefix: str, where: str) -> tuple[np.ndarray, np.ndarray]:
    names = f"{prefix}xs", f"{prefix}ys"
    xs, ys = (entry.get(name) for name in names)
    if not isinstance(xs, list) or not isinstance(ys, list) or len(xs) != len(ys):
        raise UsageError(f"{where}: {names[0]} and {names[1]} are not lists of equal length")
    try:
        pairs = [(float(x), float(y)) for x, y in zip(xs, ys, strict=True) if None not in (x, y)]
    except (TypeError, ValueError, OverflowError) as error:
        raise UsageError(f"{where}: {names[0]} or {names[1]} holds no number ({error})") from error
    return ordered([pair for pair in pairs if all(map(math.isfinite, pair))])


def _degrees(entry: dict, name: str, default: float, where: str) -> float:
    try:
        return float(entry.get(name, default))
    except (TypeError, ValueError, OverflowError) as error:
        raise UsageError(f"{where}: {name} is no number") from error
