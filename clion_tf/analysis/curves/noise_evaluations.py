"""Evaluations under noise, one file for each training, as tools/evaluate.py writes them.

The first cell is what the others are compared with: a curve over one kind of noise has the cells
that differ from it in nothing else.
"""

import contextlib
import json
import os
import pathlib
import statistics
from collections.abc import Iterable, Mapping

import numpy as np

from clion_tf.analysis.curves import series
from clion_tf.analysis.curves.curve import Curve, Panel
from clion_tf.analysis.curves.learning_curves import Patterns, matches
from clion_tf.analysis.curves.series import Series
from clion_tf.command import UsageError
from clion_tf.config import FIELDS

OPTIONS = ("rotation_degrees", "steps", "save_every")  # A file has those not at their defaults.
UNITS = {"relative": "standard deviations of h", "absolute": "absolute"}  # Of noise on memory.
# What may vary between cells, memory first: its name on an axis, and besides what varies.
KINDS = {
    "memory_noise": ("noise on memory h ({})", "memory noise {:g}"),
    "blank_frames": ("probability of a blank frame", "blank frames {:g}"),
    "rotation_degrees": ("rotation of frames, ± degrees", "±{:g}° rotation"),
}


def load(path: str | pathlib.Path) -> list[Curve]:
    """A file's curves, one for each kind of noise that has two amounts or more.

    UsageError if it holds no evaluation.
    """
    try:
        return _curves(json.loads(pathlib.Path(path).read_bytes()), str(path))
    except (
        OSError, LookupError, TypeError, ValueError, ArithmeticError, AttributeError,
        RecursionError,
    ) as error:  # fmt: skip
        what = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise UsageError(f"{path}: not a file of tools/evaluate.py --json ({what})") from error


def _curves(content: Mapping, source: str) -> list[Curve]:
    options = {name: content["options"].get(name, FIELDS[name].default) for name in OPTIONS}
    rotation = float(options["rotation_degrees"])
    facts = {name: str(content[name]) for name in ("task", "method", "setup", "seed")}
    steps, action, unit = (content[name] for name in ("steps", "action", "memory_noise_unit"))
    # Episodes that end early put checkpoints a little behind the step at which they were due.
    steps = min(int(steps) - int(steps) % max(options["save_every"], 1), options["steps"])
    facts["besides"] = f"trained at ±{rotation:g}°", f"{steps:,} steps", f"eval_action={action}"
    amounts = [tuple(float(cell[kind]) for kind in KINDS) for cell in content["cells"]]
    means = [statistics.fmean(cell["returns"]) for cell in content["cells"]]
    if not np.isfinite(np.column_stack([amounts, means])).all():
        raise ValueError("a cell without returns that are finite numbers")
    first, found = amounts[0], []
    for number, (xlabel, _) in enumerate(KINDS.values()):
        others = [other for other in range(len(KINDS)) if other != number]
        points = {
            cell[number]: mean
            for cell, mean in zip(amounts, means, strict=True)
            if all(cell[other] == first[other] for other in others)
        }
        if len(points) > 1:
            xs, ys = np.array(sorted(points.items())).T
            told = [list(KINDS.values())[i][1].format(first[i]) for i in others if first[i]]
            title, order = ", ".join([facts["task"], *told]), (facts["task"], first, unit, number)
            facts["noise"] = Panel(order, title, xlabel.format(UNITS[unit]))
            found.append(Curve(xs=xs, ys=ys, rotation=rotation, source=source, **facts))
    return found


def find(patterns: Patterns, required: bool = True) -> dict[str, list[Curve]]:
    """{real path: curves} of evaluations: files, globs, or folders (other .json there is skipped).

    UsageError if a named file is no evaluation or, with `required`, if a pattern names none.
    """
    found = {}
    for pattern in patterns:
        there = {}
        for path in matches(pattern):
            if not path.is_dir():
                there[os.path.realpath(path)] = load(path)
                continue
            for file in sorted(path.glob("*.json")):
                with contextlib.suppress(UsageError):
                    there[os.path.realpath(file)] = load(file)
        if required and not there:
            raise UsageError(f"{pattern}: no file of tools/evaluate.py there")
        found |= there
    return found


def all_series(evaluations: Mapping[str, Iterable[Curve]]) -> list[Series]:
    """See `series.series_at_amounts`; UsageError if nothing was evaluated at two amounts."""
    found = series.series_at_amounts(one for curves in evaluations.values() for one in curves)
    if not found:
        raise UsageError("no kind of noise was evaluated at two amounts or more")
    return found
