"""Which runs and curve files a page is about."""

import dataclasses
import pathlib
from collections.abc import Iterable, Mapping

from clion_tf.analysis.curves import learning_curves, noise_evaluations
from clion_tf.analysis.curves.curve import METRICS, Curve
from clion_tf.analysis.curves.learning_curves import Labels
from clion_tf.command import UsageError
from clion_tf.logdir.run_folder import LogdirError


@dataclasses.dataclass(frozen=True)
class ReportedRun:
    """A run's folder.

    Attributes:
      folder: of the run.
      curve: whose task, method, seed and rotation are the run's; its returns may be none. None if
        the run does not say what it is.
      problem: why the run does not say what it is, "" if it does.
    """

    folder: pathlib.Path
    curve: Curve | None
    problem: str = ""

    @property
    def key(self) -> tuple:
        """Equal for runs that differ in their seed only; sorts runs."""
        if self.curve is None:
            return "~", str(self.folder)
        c = self.curve
        return c.task, str(c.rotation), str(c.test_rotation), c.method, c.setup, c.kind


@dataclasses.dataclass(frozen=True)
class Sources:
    """Runs in the order of the page, curves of others, and evaluations under noise by file."""

    runs: list[ReportedRun]
    others: list[Curve]
    evaluations: Mapping[str, list[Curve]]

    def curves(self, metric: str) -> list[Curve]:
        """All that have returns of this metric."""
        own = [run.curve for run in self.runs if run.curve]
        curves = [curve.of(metric) for curve in own + self.others]
        return [curve for curve in curves if curve.xs.size]


def find(
    patterns: Iterable[str], labels: Mapping[str, str], evaluations: Iterable[str] = ()
) -> Sources:
    """All runs that the patterns name, damaged ones and those without returns too.

    Evaluations under noise are those named, and those that are in the runs' folders.

    Args:
      patterns, labels: as for `clion_tf.analysis.curves.learning_curves.find`.
      evaluations: patterns as for `clion_tf.analysis.curves.noise_evaluations.find`.

    Raises:
      UsageError: if a pattern names nothing, a file is not what it should be, or there is no run.
    """
    patterns = list(patterns)
    paths = learning_curves.paths_of_runs(patterns)
    runs = [_run(path, labels) for path in paths if path.is_dir()]
    if not runs:
        raise UsageError(f"no run in {', '.join(map(str, patterns))}")
    files = [path for path in paths if path.is_file()]
    others = learning_curves.read_runs(files, labels)
    if files and not any(curve.of(metric).xs.size for curve in others for metric in METRICS):
        raise UsageError(f"no return in {', '.join(map(str, files))}")
    named = noise_evaluations.find(evaluations)
    named |= noise_evaluations.find([run.folder for run in runs], required=False)
    runs = sorted(runs, key=lambda run: (run.key, _seed(run)))
    return Sources(runs, others, named)


def _seed(run: ReportedRun) -> tuple[int, str]:
    """Sorts 10 after 9."""
    text = run.curve.seed if run.curve else ""
    return int(text) if text.isdecimal() else 0, text


def _run(folder: pathlib.Path, labels: Labels) -> ReportedRun:
    try:
        return ReportedRun(folder, learning_curves.read_run(folder, labels))
    except (UsageError, LogdirError, OSError) as error:
        return ReportedRun(folder, None, str(error))
