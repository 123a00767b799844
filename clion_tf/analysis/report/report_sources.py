"""Which runs and curve files a page is about."""

import os
import pathlib
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from clion_tf.analysis.curves import learning_curves, noise_evaluations
from clion_tf.analysis.curves.curve import Curve
from clion_tf.analysis.curves.learning_curves import METRICS, Labels
from clion_tf.analysis.curves.noise_evaluations import Evaluation
from clion_tf.command import UsageError
from clion_tf.logdir.run_folder import LogdirError


class ReportedRun(NamedTuple):
    """A run's folder, and what it says that it is."""

    folder: pathlib.Path
    curve: Curve | None  # Its task, method, seed and rotation are the run's; returns may be none.
    curves: Mapping[str, Curve]  # By metric, those that have returns.
    problem: str = ""  # Why there is no curve.

    @property
    def key(self) -> tuple:
        """Equal for runs that differ in their seed only; sorts runs."""
        if self.curve is None:
            return "~", str(self.folder)
        c = self.curve
        return c.task, str(c.rotation), str(c.test_rotation), c.method, c.setup, c.kind


class Sources(NamedTuple):
    """Runs in the order of the page, curves of others by metric, and evaluations under noise."""

    runs: list[ReportedRun]
    others: Mapping[str, list[Curve]]
    evaluations: list[Evaluation]

    def curves(self, metric: str) -> list[Curve]:
        """All that have returns of this metric."""
        own = [run.curves[metric] for run in self.runs if metric in run.curves]
        return own + self.others[metric]


def find(
    patterns: Iterable[str], labels: Mapping[str, str], evaluations: Iterable[str] = ()
) -> Sources:
    """All runs that the patterns name, damaged ones and those without returns too.

    Patterns and labels are as for `learning_curves.find` and `noise_evaluations.find`. Evaluations
    in the runs' folders are found by themselves.

    Raises:
      UsageError: if a pattern names nothing, a file is not what it should be, or there is no run.
    """
    patterns = list(patterns)
    paths = list(learning_curves.paths_of_runs(patterns))
    labels = learning_curves.parse_labels(labels)
    runs = [_run(path, labels) for path in paths if path.is_dir()]
    if not runs:
        raise UsageError(f"no run in {', '.join(map(str, patterns))}")
    files = [path for path in paths if path.is_file()]
    read = learning_curves.read_each(files, lambda path: _by_metric(path, labels))
    others = {metric: [c for found in read for c in found[metric]] for metric in METRICS}
    if files and not any(others.values()):
        raise UsageError(f"no return in {', '.join(map(str, files))}")
    noisy = noise_evaluations.find(evaluations)
    for run in runs:
        noisy += noise_evaluations.inside(run.folder)
    once = {os.path.realpath(one.source): one for one in noisy}
    return Sources(sorted(runs, key=_order), others, list(once.values()))


def _order(run: ReportedRun) -> tuple:
    """Seed 10 after 9."""
    seed = run.curve.seed if run.curve else ""
    return run.key, int(seed) if seed.isdecimal() else 0, seed


def _run(folder: pathlib.Path, labels: Labels) -> ReportedRun:
    label = learning_curves.label_of(folder, labels)
    try:
        found = {name: learning_curves.read_run(folder, name, label) for name in METRICS}
    except (UsageError, LogdirError, OSError) as error:
        return ReportedRun(folder, None, {}, str(error))
    returns = {metric: curve for metric, curve in found.items() if curve.xs.size}
    return ReportedRun(folder, found["test"], returns)


def _by_metric(path: pathlib.Path, labels: Labels) -> dict[str, list[Curve]]:
    """The curves of a file."""
    label = learning_curves.label_of(path, labels)
    return {metric: learning_curves.curves_at(path, metric, label) for metric in METRICS}
