"""Learning curves of runs: of ours, of the original Dreamer's, and of curve files.

Steps are environment steps, action repeat included, in all three: the original's `step` is the
number of agent steps in its episodes times the action repeat, the finished episode included.
"""

import argparse
import dataclasses
import glob
import logging
import os
import pathlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping

import numpy as np

from clion_tf.analysis.curves import curve_files, metrics_files
from clion_tf.analysis.curves.curve import METRICS, ORIGINAL, Curve, plain_task
from clion_tf.analysis.curves.method_names import describe
from clion_tf.command import UsageError
from clion_tf.console import Refused
from clion_tf.logdir import code_versions
from clion_tf.logdir.run_folder import RunFolder

_log = logging.getLogger(__name__)

Patterns = Iterable[str | os.PathLike]
Labels = Mapping[str, str]  # By folder, what a user calls the runs there and below.

# What is wrong with one run or file among others; the message names it.
UNREADABLE = (Refused, OSError)
DEPTH = 3  # Folders below a named one in which runs are looked for.


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds --logdirs, --curves, --label and --metric, for all tools that read learning curves."""
    add = parser.add_argument
    add("--logdirs", nargs="+", default=[], metavar="DIR", help="runs, folders of runs, or globs")
    add("--curves", nargs="+", default=[], metavar="FILE", help="curve files (.json) of others")
    text = "what to call the method of runs there; DIR=TASK/NAME/SEED for a run of the original"
    add("--label", action="append", default=[], metavar="DIR=NAME", help=text)
    text = "returns of evaluations, or of training"
    add("--metric", choices=METRICS, default="test", help=text)


def arguments(options: argparse.Namespace) -> tuple[list[str], Labels]:
    """The patterns and the labels that a user named."""
    if not options.logdirs and not options.curves:
        raise UsageError("say what to read: --logdirs or --curves")
    patterns = [*options.logdirs, *options.curves]
    labels = dict(map(_folder_and_name, options.label))
    paths = paths_of_runs(patterns) if labels else []
    for folder, name in labels.items():
        if not any(_label(path, {folder: name}) for path in paths):
            raise UsageError(f"--label={folder}={name}: no run that was named is there")
    return patterns, labels


def _folder_and_name(text: str) -> tuple[str, str]:
    """Of `DIR=NAME`, where both may hold further signs of equality."""
    for sign in re.finditer("=", text):
        folder, name = os.path.expanduser(text[: sign.start()]), text[sign.end() :]
        if name and os.path.exists(folder):
            return folder, name
    raise UsageError(f"--label={text}: must be DIR=NAME, with a folder that exists")


def find(patterns: Patterns, metric: str = "test", labels: Labels | None = None) -> list[Curve]:
    """Curves of all runs and curve files that the patterns name.

    A pattern is a run's folder, a folder with runs up to three levels below, a curve file (`.json`,
    see `curve_files`) or a folder of these without runs, or a glob of those. A run without a
    return yet, and one that cannot be read, is left out with a warning; UNREADABLE if a pattern
    names nothing, or nothing is left. Labels are {folder: "NAME" or "TASK/NAME/SEED"}.
    """
    patterns = list(patterns)
    return with_returns(read_runs(patterns, labels), metric, patterns)


def read_runs(patterns: Patterns, labels: Labels | None = None) -> list[Curve]:
    """As `find`, with all metrics, also of runs that have no return yet."""

    def read(path: pathlib.Path) -> list[Curve]:
        if path.suffix != ".json":
            return [read_run(path, labels)]
        named = {key: name for key, name in _label(path, labels).items() if key == "method"}
        return [dataclasses.replace(curve, **named) for curve in curve_files.load(path)]

    return [curve for found in read_each(paths_of_runs(patterns), read) for curve in found]


def with_returns(runs: Iterable[Curve], metric: str, patterns: Patterns) -> list[Curve]:
    """Their curves of one metric; a run without a return is left out with a warning."""
    found = []
    for curve in (run.of(metric) for run in runs):
        if curve.xs.size:
            found.append(curve)
        else:
            _log.warning("%s: no %s return in it", curve.source, metric)
    if not found:
        raise UsageError(f"no {metric} return in {', '.join(map(str, patterns))}")
    return found


def read_each(paths: Iterable, read: Callable) -> list:
    """What `read` makes of each run or file; one that cannot be read is left out with a warning.

    If none can be read it raises what is wrong with the first, of `UNREADABLE`.
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


def read_run(folder: pathlib.Path, labels: Labels | None = None) -> Curve:
    """The curve of a run, ours or the original Dreamer's, of evaluations; N may be 0.

    The original saves no options: its folders' names or the label tell what it is, else UsageError.
    """
    run, label = RunFolder(folder), _label(folder, labels)
    config, logged = run.options(), metrics_files.read(run.metrics_file)
    if logged.damaged:
        _log.warning("%s: %d damaged lines left out", run.metrics_file, logged.damaged)
    none = np.zeros(0), np.zeros(0)
    points = {metric: logged.points.get(f"{metric}/return", none) for metric in METRICS}
    if config is None:
        facts = {"kind": ORIGINAL, **({} if "task" in label else _folder_names(folder))}
    else:
        facts = {"task": config.task, "seed": str(config.seed)}
        facts["method"], facts["setup"] = describe(config)
        facts["rotation"], facts["test_rotation"] = config.rotation_degrees, config.test_rotation
        facts["options"] = dataclasses.asdict(config)
        facts["version"] = code_versions.of_run(folder)
        del facts["options"]["logdir"]  # A place on this machine, no property of the run.
    facts |= label
    facts["task"] = plain_task(facts["task"])
    xs, ys = points["test"]
    return Curve(xs=xs, ys=ys, source=str(folder), points=points, **facts)


def _folder_names(folder: pathlib.Path) -> dict[str, str]:
    task, method, seed = ("", "", "", *folder.absolute().parts)[-3:]
    if not re.fullmatch(r"(dmc|atari)_\w+", task):
        raise UsageError(
            f"{folder}: no {RunFolder(folder).options_file.name}, and its path does not end as in "
            f"dmc_walker_walk/dreamer/0; say --label={folder}=walker_walk/Dreamer/0"
        )
    return {"task": task, "method": method, "seed": seed}


def _label(path: pathlib.Path, labels: Labels | None) -> dict[str, str]:
    """{fact: value} of the label of this path, or of the nearest folder above with one; else {}."""
    named = {os.path.realpath(folder): name for folder, name in (labels or {}).items()}
    real = pathlib.Path(os.path.realpath(path))
    for above in map(str, (real, *real.parents)):
        if above in named:
            words = r"(?P<task>[a-z]+(_[a-z0-9]+)+)/(?P<method>.+)/(?P<seed>\w+)"
            parts = re.fullmatch(words, named[above])
            return parts.groupdict() if parts else {"method": named[above]}
    return {}


def matches(pattern: str | os.PathLike) -> list[pathlib.Path]:
    """The file or folder of this name, or what there is of the glob."""
    text = os.path.expanduser(os.fspath(pattern))
    return list(map(pathlib.Path, [text] if os.path.lexists(text) else sorted(glob.glob(text))))


def paths_of_runs(patterns: Patterns) -> list[pathlib.Path]:
    """Runs and curve files that the patterns name, each once; UsageError if one names nothing."""
    found: dict[str, pathlib.Path] = {}
    for pattern in patterns:
        named = matches(pattern)
        if not named:
            raise UsageError(f"{pattern}: no such folder or file")
        for run in (run for path in named for run in _inside(path)):
            found.setdefault(os.path.realpath(run), run)
    return list(found.values())


def _inside(path: pathlib.Path) -> list[pathlib.Path]:
    """A curve file itself; a folder's runs, or else its curve files; nothing for other files."""
    if path.suffix == ".json" and not path.is_dir():
        return [path]
    found, problem = [], "no run in it"
    try:
        found = list(_runs(path, DEPTH)) or sorted(path.glob("*.json"))
    except OSError as error:
        problem = error if path.is_dir() else "neither a folder nor a curve file (.json)"
    if not found:
        _log.warning("%s: %s", path, problem)
    return found


def _runs(folder: pathlib.Path, depth: int) -> Iterator[pathlib.Path]:
    if RunFolder(folder).holds_run():
        yield folder
    elif depth:
        for below in sorted(folder.iterdir()):
            try:
                if below.is_dir() and not below.name.startswith("."):
                    yield from _runs(below, depth - 1)
            except OSError as error:  # No reason to miss the runs beside it.
                _log.warning("left out: %s", error)
