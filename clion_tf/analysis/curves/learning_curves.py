"""Learning curves of runs: of ours, of the original Dreamer's, and of curve files.

Steps are environment steps, action repeat included, in all three: the original's `step` is the
number of agent steps in its episodes times the action repeat, the finished episode included.
"""

import dataclasses
import glob
import itertools
import logging
import os
import pathlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TypeVar

import numpy as np

from clion_tf.analysis.curves import curve_files, metrics_files
from clion_tf.analysis.curves.curve import ORIGINAL, Curve, plain_task
from clion_tf.analysis.curves.method_names import describe
from clion_tf.analysis.curves.metrics_files import Points
from clion_tf.command import UsageError
from clion_tf.logdir import code_versions
from clion_tf.logdir.checkpoints import CheckpointError
from clion_tf.logdir.run_folder import LogdirError, RunFolder

_log = logging.getLogger(__name__)

T, P = TypeVar("T"), TypeVar("P")

# What is wrong with one run or file among others; the message names it.
UNREADABLE = (UsageError, LogdirError, CheckpointError, OSError)
METRICS = ("test", "train")
DEPTH = 3  # Folders below a named one in which runs are looked for.


@dataclasses.dataclass(frozen=True)
class Label:
    """What a user calls a run; None: as it calls itself."""

    method: str
    task: str | None = None
    seed: str | None = None


Labels = Mapping[str, Label]  # By the real path of a folder, for all below it.


def find(
    patterns: Iterable[str | os.PathLike],
    metric: str = "test",
    labels: Mapping[str, str] | None = None,
) -> list[Curve]:
    """Curves of all runs and curve files that the patterns name.

    A pattern is a run's folder, a folder with runs up to three levels below, a curve file (`.json`,
    see `curve_files`) or a folder with nothing but these, or a glob of those. A
    run without a return yet, and one that cannot be read, is left out with a warning.

    Args:
      metric: `test` for returns of evaluations, `train` for those of training episodes.
      labels: {folder: "NAME" or "TASK/NAME/SEED"} for runs there and below, see `parse_label`.

    Raises:
      UsageError: if a pattern names nothing, or nothing holds a curve.
      UsageError, LogdirError, OSError: if the only run or file cannot be read.
    """
    named = parse_labels(labels or {})
    patterns = list(patterns)
    paths = list(paths_of_runs(patterns))
    found = [
        curve
        for curves in read_each(paths, lambda path: curves_at(path, metric, label_of(path, named)))
        for curve in curves
    ]
    if not found:
        raise UsageError(f"no {metric} return in {', '.join(map(str, paths or patterns))}")
    return found


def read_each(paths: Iterable[P], read: Callable[[P], T]) -> list[T]:
    """What `read` makes of each run or file; one that cannot be read is left out with a warning.

    Raises:
      UsageError, LogdirError, CheckpointError, OSError: if none can be read, what is wrong with
        the first.
    """
    found, problems = [], []
    for path in paths:
        try:
            found.append(read(path))
        except UNREADABLE as error:
            problems.append(error)
    if problems and not found:
        raise problems[0]
    for problem in problems:
        _log.warning("left out: %s", problem)
    return found


def parse_labels(labels: Mapping[str, str]) -> Labels:
    """Of {folder: "NAME" or "TASK/NAME/SEED"}."""
    return {os.path.realpath(folder): parse_label(name) for folder, name in labels.items()}


def parse_label(text: str) -> Label:
    """`Dreamer`, or `walker_walk/Dreamer/0`: task, method and seed."""
    match = re.fullmatch(r"([a-z]+(?:_[a-z0-9]+)+)/(.+)/(\w+)", text)
    if not match:
        return Label(text)
    return Label(match[2], plain_task(match[1]), match[3])


def read_run(folder: pathlib.Path, metric: str = "test", label: Label | None = None) -> Curve:
    """The curve of a run, ours or the original Dreamer's; N may be 0.

    The original saves no options: task, method and seed are the names of its folders,
    `.../dmc_walker_walk/dreamer/0` as its README has them, or the label's.

    Raises:
      UsageError: if there are no options and no such names.
      LogdirError: if the options cannot be read.
    """
    run = RunFolder(folder)
    config = run.options()
    xs, ys = read_metrics(run.metrics_file, f"{metric}/return")
    if config is None:
        label = label if label and label.task else _folder_names(folder, label)
        return Curve(label.task, label.method, label.seed, xs, ys, str(folder), ORIGINAL)
    method, setup = describe(config)
    options = dataclasses.asdict(config)
    del options["logdir"]  # A place on this machine, no property of the run.
    return Curve(
        (label and label.task) or plain_task(config.task),
        label.method if label else method,
        (label and label.seed) or str(config.seed),
        xs,
        ys,
        str(folder),
        setup=setup,
        rotation=config.rotation_degrees,
        test_rotation=config.test_rotation,
        options=options,
        version=code_versions.of_run(folder),
    )


def read_metrics(path: pathlib.Path, key: str) -> Points:
    """(steps, values) of one key of a metrics.jsonl, float64 [N] each, by rising step.

    See `clion_tf.analysis.curves.metrics_files`; damaged lines are warned about.
    """
    found = metrics_files.read(path)
    if found.damaged:
        _log.warning("%s: %d damaged lines left out", path, found.damaged)
    return found.points.get(key, (np.zeros(0), np.zeros(0)))


def _folder_names(folder: pathlib.Path, label: Label | None) -> Label:
    task, method, seed = ("", "", "", *folder.absolute().parts)[-3:]
    if not re.fullmatch(r"(dmc|atari)_\w+|[a-z]+_[a-z_]+", task):
        raise UsageError(
            f"{folder}: no {RunFolder(folder).options_file.name}, and its path does not end as in "
            f"dmc_walker_walk/dreamer/0; say --label={folder}=walker_walk/Dreamer/0"
        )
    return Label(label.method if label else method, plain_task(task), seed)


def label_of(path: pathlib.Path, labels: Labels) -> Label | None:
    """That of the folder itself or of the nearest one above."""
    real = pathlib.Path(os.path.realpath(path))
    return next((labels[str(p)] for p in (real, *real.parents) if str(p) in labels), None)


def curves_at(path: pathlib.Path, metric: str, label: Label | None) -> list[Curve]:
    """Of a run or a file, those that have returns of the metric; one without is warned about."""
    if path.suffix == ".json":
        found = curve_files.load(path, metric)
        if label:
            found = [dataclasses.replace(curve, method=label.method) for curve in found]
    else:
        found = [read_run(path, metric, label)]
    for curve in found:
        if not curve.xs.size:
            _log.warning("%s: no %s return in it", curve.source, metric)
    return [curve for curve in found if curve.xs.size]


def paths_of_runs(patterns: Iterable[str | os.PathLike]) -> Iterator[pathlib.Path]:
    """Runs and curve files that the patterns name, each once.

    Raises:
      UsageError: if one names nothing.
    """
    seen = set()
    for pattern in patterns:
        text = os.path.expanduser(os.fspath(pattern))
        matches = [text] if os.path.lexists(text) else sorted(glob.glob(text))
        if not matches:
            raise UsageError(f"{pattern}: no such folder or file")
        for path in itertools.chain.from_iterable(map(_inside, map(pathlib.Path, matches))):
            real = os.path.realpath(path)
            if real not in seen:
                seen.add(real)
                yield path


def _inside(path: pathlib.Path) -> list[pathlib.Path]:
    """A curve file itself; a folder's runs, or else its curve files; nothing for other files."""
    if path.is_dir():
        try:
            found = list(_runs(path, DEPTH)) or sorted(path.glob("*.json"))
        except OSError as error:  # A folder that cannot be looked into.
            _log.warning("left out: %s", error)
            return []
        if not found:
            _log.warning("%s: no run in it", path)
        return found
    if path.suffix == ".json":
        return [path]
    _log.warning("%s: neither a folder nor a curve file (.json)", path)
    return []


def _runs(folder: pathlib.Path, depth: int) -> Iterator[pathlib.Path]:
    if RunFolder(folder).holds_run():
        yield folder
    elif depth:
        for below in sorted(folder.iterdir()):
            if below.is_dir() and not below.name.startswith("."):
                yield from _runs(below, depth - 1)
