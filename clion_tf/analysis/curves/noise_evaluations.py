"""Evaluations under noise, one file for each training, as tools/evaluate.py writes them.

    {"task": "walker_walk", "method": "CLION", "setup": "cpu sizes", "seed": 0, "steps": 50000, ...,
     "cells": [{"rotation_degrees": 0.0, "memory_noise": 0.3, "blank_frames": 0.0,
                "returns": [...], ...}, ...]}

The first cell is what the others are compared with: a line over one kind of noise has the cells
that differ from it in nothing else.
"""

import collections
import dataclasses
import glob
import itertools
import json
import logging
import math
import os
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from clion_tf.analysis.curves.curve import OURS, Curve
from clion_tf.analysis.curves.series import Series, rank
from clion_tf.command import UsageError

_log = logging.getLogger(__name__)

# What may vary between cells, and what to call it on an axis.
KINDS = {
    "memory_noise": "noise on memory h",
    "blank_frames": "probability of a blank frame",
    "rotation_degrees": "rotation of frames, ± degrees",
}
BESIDES = {
    "memory_noise": "memory noise {:g}",
    "blank_frames": "blank frames {:g}",
    "rotation_degrees": "±{:g}° rotation",
}
UNITS = {"relative": "standard deviations of h", "absolute": "absolute"}
Cell = Mapping[str, Any]


@dataclasses.dataclass(frozen=True, eq=False)
class Evaluation:
    """One training's agent under several conditions.

    Attributes:
      task, method, setup, seed: of the training, as of `curve.Curve`.
      rotation: of the frames that it was trained on, degrees.
      steps: environment steps of training.
      action: evaluation policy.
      unit: of the noise on memory.
      cells: by `KINDS` the conditions, and returns.
      source: the file.
    """

    task: str
    method: str
    setup: str
    seed: str
    rotation: float
    steps: int
    action: str
    unit: str
    cells: tuple[Cell, ...]
    source: str


@dataclasses.dataclass(frozen=True)
class Panel:
    """A task, a kind of noise that varies, and the first cell's conditions, as KINDS' order is.

    unit: of noise on memory, "" where there is none.
    """

    task: str
    kind: str
    unit: str
    first: tuple[float, ...]

    @property
    def title(self) -> str:
        """The task, and what else there is that makes it harder."""
        pairs = zip(KINDS, self.first, strict=True)
        besides = (BESIDES[kind].format(x) for kind, x in pairs if x and kind != self.kind)
        return ", ".join([self.task, *besides])

    @property
    def xlabel(self) -> str:
        """Of the axis."""
        name = KINDS[self.kind]
        return f"{name} ({UNITS[self.unit]})" if self.kind == "memory_noise" else name


@dataclasses.dataclass(frozen=True, eq=False)
class NoiseCurve(Curve):
    """Mean returns of one training (ys) against the amount of one kind of noise (xs).

    episodes: how many a mean is of, smallest and largest.
    """

    episodes: tuple[int, int] = (0, 0)


def load(path: str | pathlib.Path) -> Evaluation:
    """The evaluation in a file.

    Raises:
      UsageError: if there is none; the message says where.
    """
    try:
        content = json.loads(pathlib.Path(path).read_bytes())
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: not a file of tools/evaluate.py ({error})") from error
    try:
        options = content["options"]
        return Evaluation(
            str(content["task"]),
            str(content["method"]),
            str(content["setup"]),
            str(content["seed"]),
            float(options.get("rotation_degrees", 0.0)),
            int(content["steps"]),
            str(content["action"]),
            str(content["memory_noise_unit"]),
            tuple(map(_cell, content["cells"])),
            str(path),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        what = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise UsageError(f"{path}: not a file of tools/evaluate.py --json ({what})") from error


def _cell(entry: Cell) -> Cell:
    numbers = {kind: float(entry[kind]) for kind in KINDS}
    returns = [float(value) for value in entry["returns"]]
    if not returns or not all(map(math.isfinite, [*returns, *numbers.values()])):
        raise ValueError("a cell without returns that are finite numbers")
    return {**numbers, "returns": returns}


def find(patterns: Iterable[str | os.PathLike]) -> list[Evaluation]:
    """Evaluations in files, folders (those of their .json files that are some) and globs of both.

    Raises:
      UsageError: if a pattern names nothing, or a named file is none.
    """
    found: dict[str, Evaluation] = {}
    for pattern in patterns:
        text = os.path.expanduser(os.fspath(pattern))
        matches = [text] if os.path.lexists(text) else sorted(glob.glob(text))
        evaluations = list(itertools.chain.from_iterable(map(_at, map(pathlib.Path, matches))))
        if not evaluations:
            raise UsageError(f"{pattern}: no file of tools/evaluate.py there")
        found |= {os.path.realpath(one.source): one for one in evaluations}
    return list(found.values())


def _at(path: pathlib.Path) -> list[Evaluation]:
    return inside(path) if path.is_dir() else [load(path)]


def inside(folder: pathlib.Path) -> list[Evaluation]:
    """Those of a folder's files that hold an evaluation."""
    found = []
    for path in sorted(folder.glob("*.json")):
        try:
            found.append(load(path))
        except UsageError as error:
            _log.info("left out: %s", error)
    return found


def panels(evaluations: Iterable[Evaluation]) -> dict[Panel, list[Series]]:
    """Series of `NoiseCurve` by panel: panels by task and kind of noise, series by the method.

    A series has trainings that differ in their seed only, at the amounts that all of them have.

    Raises:
      UsageError: if a training is there twice, or nothing was evaluated at two amounts.
    """
    groups: dict[Panel, dict[tuple, list[Evaluation]]] = collections.defaultdict(dict)
    for one in evaluations:
        for panel in _panels_of(one):
            groups[panel].setdefault(_key(one), []).append(one)
    labels = _labels({key for found in groups.values() for key in found})
    shown = {}
    for panel in sorted(groups, key=lambda p: (p.task, p.first, list(KINDS).index(p.kind), p.unit)):
        found = [
            Series(labels[key], method, OURS, setup, _curves(panel, labels[key], trainings))
            for key, trainings in groups[panel].items()
            for method, setup in [key[:2]]
        ]
        if found := [series for series in found if series.curves]:
            shown[panel] = sorted(found, key=rank)
    if not shown:
        raise UsageError("no kind of noise was evaluated at two amounts or more")
    return shown


def _panels_of(one: Evaluation) -> list[Panel]:
    """Those in which it has a line."""
    found = []
    for kind in KINDS:
        if len(_points(one, kind)) > 1:
            first = tuple(one.cells[0][other] for other in KINDS)
            unit = one.unit if kind == "memory_noise" or one.cells[0]["memory_noise"] else ""
            found.append(Panel(one.task, kind, unit, first))
    return found


def _points(one: Evaluation, kind: str) -> dict[float, list[float]]:
    """Returns by amount, in cells that differ from the first in nothing else."""
    first = one.cells[0]
    return {
        cell[kind]: cell["returns"]
        for cell in one.cells
        if all(cell[other] == first[other] for other in KINDS if other != kind)
    }


def _key(one: Evaluation) -> tuple[str, str, float, int, str]:
    return one.method, one.setup, one.rotation, one.steps, one.action


def _labels(keys: Iterable[tuple]) -> dict[tuple, str]:
    """A name for each, with what differs between them besides the method."""
    keys = sorted(keys)
    if not keys:
        return {}
    several = [len(set(values)) > 1 for values in zip(*keys, strict=True)]
    labels = {}
    for key in keys:
        method, setup, rotation, steps, action = key
        words = [setup or "paper sizes", f"trained at ±{rotation:g}°", f"{steps:,} steps", action]
        shown = [word for word, differs in zip(words, several[1:], strict=True) if differs]
        labels[key] = ", ".join([method, *shown])
    return labels


def _curves(panel: Panel, label: str, found: Sequence[Evaluation]) -> tuple[NoiseCurve, ...]:
    """At the amounts that all have: means over other seeds at each amount would be no line."""
    seeds: dict[str, Evaluation] = {}
    for one in found:
        if seeds.setdefault(one.seed, one) is not one:
            raise UsageError(
                f"{seeds[one.seed].source} and {one.source} are of one training ({label}, "
                f"seed {one.seed}); give one of them"
            )
    points = [_points(one, panel.kind) for one in found]
    amounts = sorted(set.intersection(*map(set, points)))
    if dropped := sorted(set().union(*points) - set(amounts)):
        listed = ", ".join(f"{amount:g}" for amount in dropped)
        _log.warning(
            "%s, %s, %s: left out, as not all seeds have it: %s",
            panel.title, label, KINDS[panel.kind], listed,
        )  # fmt: skip
    if len(amounts) < 2:
        return ()
    return tuple(
        _curve(one, amounts, [p[a] for a in amounts]) for one, p in zip(found, points, strict=True)
    )


def _curve(
    one: Evaluation, amounts: Sequence[float], returns: Sequence[Sequence[float]]
) -> NoiseCurve:
    counts = [len(each) for each in returns]
    return NoiseCurve(
        one.task, one.method, one.seed, np.array(amounts), np.array([*map(np.mean, returns)]),
        one.source, setup=one.setup, rotation=one.rotation, episodes=(min(counts), max(counts)),
    )  # fmt: skip
