"""Which runs and curve files a page is about."""

import dataclasses
import os
import pathlib
from collections.abc import Iterable, Mapping

from clion_tf.analysis.curves import curve_files, learning_curves, noise_evaluations
from clion_tf.analysis.curves.curve import Curve
from clion_tf.analysis.curves.learning_curves import METRICS
from clion_tf.analysis.curves.noise_evaluations import Evaluation
from clion_tf.command import UsageError
from clion_tf.logdir.run_folder import LogdirError


@dataclasses.dataclass(frozen=True)
class FoundRun:
    """A run's folder.

    Attributes:
      folder: of the run.
      curve: whose task, method, seed and rotation are the run's; its returns may be none. None if
        the run does not say what it is.
      curves: by metric, those that have returns.
      problem: why the run does not say what it is, "" if it does.
    """

    folder: pathlib.Path
    curve: Curve | None
    curves: Mapping[str, Curve]
    problem: str = ""

    @property
    def key(self) -> tuple:
        """Equal for runs that differ in their seed only; sorts runs."""
        if self.curve is None:
            return "~", str(self.folder)
        c = self.curve
        return c.task, str(c.rotation), str(c.test_rotation), c.method, c.setup, c.kind


@dataclasses.dataclass(frozen=True)
class Found:
    """Runs in the order of the page, curves of others by metric, and evaluations under noise."""

    runs: list[FoundRun]
    others: Mapping[str, list[Curve]]
    evaluations: list[Evaluation]

    def curves(self, metric: str) -> list[Curve]:
        """All that have returns of this metric."""
        own = [run.curves[metric] for run in self.runs if metric in run.curves]
        return own + self.others[metric]


def find(
    patterns: Iterable[str], labels: Mapping[str, str], evaluations: Iterable[str] = ()
) -> Found:
    """All runs that the patterns name, damaged ones and those without returns too.

    Evaluations under noise are those named, and those that are in the runs' folders.

    Args:
      patterns, labels: as for `clion_tf.analysis.curves.learning_curves.find`.
      evaluations: patterns as for `clion_tf.analysis.curves.noise_evaluations.find`.

    Raises:
      UsageError: if a pattern names nothing, a file is not what it should be, or there is no run.
    """
    patterns = list(patterns)
    paths = list(learning_curves.expand(patterns))
    files = [path for path in paths if path.is_file()]
    runs = [_run(path, labels) for path in paths if path.is_dir()]
    if not runs:
        raise UsageError(f"no run in {', '.join(map(str, patterns))}")
    files = learning_curves.each(files, _checked)
    others = {metric: _of_files(files, metric, labels) for metric in METRICS}
    if files and not any(others.values()):
        raise UsageError(f"no return in {', '.join(map(str, files))}")
    named = {os.path.realpath(one.source): one for one in noise_evaluations.find(evaluations)}
    own = (one for run in runs for one in noise_evaluations.inside(run.folder))
    named |= {os.path.realpath(one.source): one for one in own}
    runs = sorted(runs, key=lambda run: (run.key, _seed(run)))
    return Found(runs, others, list(named.values()))


def _seed(run: FoundRun) -> tuple[int, str]:
    """Sorts 10 after 9."""
    text = run.curve.seed if run.curve else ""
    return int(text) if text.isdecimal() else 0, text


def _run(folder: pathlib.Path, labels: Mapping[str, str]) -> FoundRun:
    try:
        found = {metric: _curves(folder, metric, labels) for metric in METRICS}
        own = {metric: curves_[0] for metric, curves_ in found.items() if curves_}
        curve = next(iter(own.values())) if own else learning_curves.read_run(folder)
    except (UsageError, LogdirError, OSError) as error:
        return FoundRun(folder, None, {}, str(error))
    return FoundRun(folder, curve, own)


def _curves(path: pathlib.Path, metric: str, labels: Mapping[str, str]) -> list[Curve]:
    """Those with returns of the metric; none for a run that has not got so far."""
    try:
        return learning_curves.find([path], metric, labels)
    except UsageError as error:
        if str(error).startswith(f"no {metric} return"):
            return []
        raise


def _checked(path: pathlib.Path) -> pathlib.Path:
    """The path of a curve file, which can be read."""
    curve_files.load(path)
    return path


def _of_files(files: list[pathlib.Path], metric: str, labels: Mapping[str, str]) -> list[Curve]:
    return [curve for path in files for curve in _curves(path, metric, labels)]
