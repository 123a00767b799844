"""Evaluations under noise, one file for each training, as tools/evaluate.py writes them.

    {"task": "walker_walk", "method": "CLION", "setup": "cpu sizes", "seed": 0, "steps": 50000, ...,
     "cells": [{"rotation_degrees": 0.0, "memory_noise": 0.3, "blank_frames": 0.0,
                "returns": [...], ...}, ...]}

The first cell is what the others are compared with: a curve over one kind of noise has the cells
that differ from it in nothing else.
"""

import contextlib
import dataclasses
import functools
import json
import logging
import os
import pathlib
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from clion_tf.analysis.curves import curve
from clion_tf.analysis.curves.curve import Curve, Panel, Series
from clion_tf.analysis.curves.learning_curves import Patterns, matches
from clion_tf.command import UsageError

_log = logging.getLogger(__name__)

# What may vary between cells, memory first: its name on an axis, and besides what varies.
KINDS = {
    "memory_noise": ("noise on memory h", "memory noise {:g}"),
    "blank_frames": ("probability of a blank frame", "blank frames {:g}"),
    "rotation_degrees": ("rotation of frames, ± degrees", "±{:g}° rotation"),
}
UNITS = {"relative": "standard deviations of h", "absolute": "absolute"}


def load(path: str | pathlib.Path) -> list[Curve]:
    """A file's curves, one for each kind of noise that has two amounts or more.

    UsageError if it holds no evaluation.
    """
    try:
        return _curves(json.loads(pathlib.Path(path).read_bytes()), str(path))
    except (OSError, KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        what = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise UsageError(f"{path}: not a file of tools/evaluate.py --json ({what})") from error


def _curves(content: Mapping, source: str) -> list[Curve]:
    rotation = float(content["options"].get("rotation_degrees", 0.0))
    facts = {name: str(content[name]) for name in ("task", "method", "setup", "seed")}
    steps, action, unit = (content[name] for name in ("steps", "action", "memory_noise_unit"))
    facts |= {"besides": (f"trained at ±{rotation:g}°", f"{int(steps):,} steps", str(action))}
    facts |= {"rotation": rotation, "source": source}
    cells = content["cells"]
    amounts = np.array([[cell[kind] for kind in KINDS] for cell in cells], np.float64)
    returns = [np.array(cell["returns"], np.float64) for cell in cells]
    if not cells or not all(x.size and np.isfinite(x).all() for x in (amounts, *returns)):
        raise ValueError("a cell without returns that are finite numbers")
    same = amounts == amounts[0]
    found = []
    for number in range(len(KINDS)):
        rows = np.flatnonzero(np.delete(same, number, axis=1).all(axis=1))
        points = {amounts[row, number]: returns[row] for row in rows}
        if len(points) > 1:
            xs = np.array(sorted(points))
            ys = np.array([points[x].mean() for x in xs])
            counts = [points[x].size for x in xs]
            panel = _panel(facts["task"], amounts[0].tolist(), str(unit), number)
            episodes = min(counts), max(counts)
            found.append(Curve(xs=xs, ys=ys, noise=panel, episodes=episodes, **facts))
    return found


def _panel(task: str, first: Sequence[float], unit: str, number: int) -> Panel:
    """Of a kind of noise, and what else in the first cell makes the task harder."""
    title, (xlabel, _) = [task], list(KINDS.values())[number]
    for other, (_, text) in enumerate(KINDS.values()):
        if first[other] and other != number:
            title.append(text.format(first[other]))
    if number == 0:
        xlabel += f" ({UNITS[unit]})"
    return Panel((task, tuple(first), unit, number), ", ".join(title), xlabel)


def find(patterns: Patterns, required: bool = True) -> dict[str, list[Curve]]:
    """{real path: curves} of files, folders (those of their .json files that are some) and globs.

    UsageError if a named file is none, and where it is required that a pattern names some.
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
    """See `curve.all_series`; at the amounts that all trainings of a series have.

    UsageError if a training is there twice, or nothing was evaluated at two amounts.
    """
    curves = [one for found in evaluations.values() for one in found]
    found = [_at_shared_amounts(one) for one in curve.all_series(curves)]
    found = [one for one in found if one.curves[0].xs.size > 1]
    if not found:
        raise UsageError("no kind of noise was evaluated at two amounts or more")
    return found


def _at_shared_amounts(series: Series) -> Series:
    """Means over other seeds at each amount would be no line."""
    for seed, sources in series.repeated().items():
        told = f"({series.label}, seed {seed}); give one of them"
        raise UsageError(f"{' and '.join(sources)} are of one training {told}")
    every = [one.xs for one in series.curves]
    shared = functools.reduce(np.intersect1d, every)
    if (dropped := np.setdiff1d(np.concatenate(every), shared)).size:
        listed = ", ".join(f"{amount:g}" for amount in dropped)
        where = f"{series.panel.title}, {series.label}, {series.panel.xlabel}"
        _log.warning("%s: left out, as not all seeds have it: %s", where, listed)
    at = [np.isin(one.xs, shared) for one in series.curves]
    curves = [
        dataclasses.replace(one, xs=one.xs[kept], ys=one.ys[kept])
        for one, kept in zip(series.curves, at, strict=True)
    ]
    return dataclasses.replace(series, curves=tuple(curves))
