"""A run of the page, and all that is said of it."""

import contextlib
import datetime
import logging
import pathlib
from typing import NamedTuple

from clion_tf.analysis.curves import metrics_files
from clion_tf.analysis.curves.curve import METRICS, Curve
from clion_tf.analysis.curves.metrics_files import Metrics
from clion_tf.analysis.report import run_clips, run_figures
from clion_tf.config import Config, different
from clion_tf.logdir import code_versions
from clion_tf.logdir.checkpoints import CheckpointError, Checkpoints, Counters, load_counters
from clion_tf.logdir.run_folder import LogdirError, RunFolder
from clion_tf.replay.stopwatch import PARTS

_log = logging.getLogger(__name__)

MISSING = "not recorded"


class ReportedRun(NamedTuple):
    """A run's folder, and what it says that it is."""

    folder: pathlib.Path
    curve: Curve | None  # Its task, method, seed and rotation are the run's; returns may be none.
    problem: str = ""  # Why there is no curve.

    @property
    def key(self) -> tuple:
        """Equal for runs that differ in their seed only; sorts runs."""
        if self.curve is None:
            return "~", str(self.folder)
        c = self.curve
        return c.task, str(c.rotation), str(c.test_rotation), c.method, c.setup, c.kind

    @property
    def title(self) -> str:
        """Task, method, seed."""
        if self.curve is None:
            return self.folder.name or str(self.folder)
        c = self.curve
        method = f"{c.method}, {c.setup}" if c.setup else c.method
        return f"{c.panel.title} · {method} · seed {c.seed}"


class Section:
    """What the page shows of a run; texts are plain, not HTML."""

    def __init__(self, run: ReportedRun, with_media: bool = True):
        folder, config = RunFolder(run.folder), None
        self.title, self.folder = run.title, str(run.folder)
        self.problems = [run.problem] if run.problem else []  # What is missing or damaged.
        with contextlib.suppress(LogdirError):  # The run's problem already.
            config = folder.options()
        logged, counters = self._metrics(folder.metrics_file), _counters(folder)
        self.steps = max(logged.last_step(), counters.steps)  # Environment steps so far.
        # The newest by metric, "–" where there is none.
        self.returns = {metric: _text(logged.last(f"{metric}/return"), ".1f") for metric in METRICS}
        self.facts = self._facts(folder, config, logged, counters)
        self.options = None  # (name, value, default) of those that differ.
        if config:
            pairs = different(Config(), config).items()
            self.options = [(n, str(own), str(old)) for n, (old, own) in pairs if n != "logdir"]
        self.shares = time_shares(logged)
        self.clips = run_clips.read(folder, self.problems) if with_media else None
        self.training = run_figures.training(logged, config.augmentations if config else None)
        sigma_h = config.sigma_h if config and config.beta2 else None
        # And the environment steps then, None if not recorded.
        self.diagnostics, self.diagnosed_at = run_figures.diagnostics(
            folder, sigma_h, self.problems
        )

    def _metrics(self, path: pathlib.Path) -> Metrics:
        try:
            found = metrics_files.read(path)
        except OSError as error:
            self.problems.append(f"{path.name}: cannot be read ({error.strerror})")
            return Metrics({})
        if not found.points:
            self.problems.append(f"{path.name}: no numbers yet")
        if found.damaged:
            self.problems.append(f"{path.name}: {found.damaged} damaged lines left out")
        return found

    def _facts(
        self, folder: RunFolder, config: Config | None, logged: Metrics, counters: Counters
    ) -> dict[str, str]:
        # The log's counter of skipped updates begins anew with each line.
        skipped = logged.total("skipped_updates") + counters.skipped
        written = "–"
        with contextlib.suppress(OSError):
            written = at(folder.metrics_file.stat().st_mtime)
        facts = {
            "environment steps": f"{self.steps:,}" + (f" of {config.steps:,}" if config else ""),
            "episodes": _text(max(counters.episodes, logged.last("episodes") or 0) or None, ",.0f"),
            "updates": _text(max(counters.updates, logged.last("updates") or 0) or None, ",.0f"),
            "last evaluation return": self.returns["test"],
            "last training return": self.returns["train"],
            "environment steps per second": _text(logged.last("fps"), ".1f"),
            "updates per second": _text(logged.last("updates_per_second"), ".2f"),
            "last written": written,
            "skipped updates": f"{skipped:,.0f}" if skipped else None,
            "failed environments": f"{counters.env_failures:,}" if counters.env_failures else None,
            "clion_tf": code_versions.of_run(folder.path),
        }
        return {name: value for name, value in facts.items() if value}


def _counters(folder: RunFolder) -> Counters:
    """Of the newest checkpoint that can be read; all 0 without any."""
    for path in Checkpoints.found_in(folder.checkpoints):
        try:
            return load_counters(path)
        except (CheckpointError, OSError) as error:
            _log.warning("%s", error)
    return Counters()


def _text(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)


def at(seconds: float) -> str:
    """A time since 1970, as people here read it."""
    return f"{datetime.datetime.fromtimestamp(seconds).astimezone():%Y-%m-%d %H:%M %Z}"


def time_shares(logged: Metrics) -> list[tuple[str, float]]:
    """(part, share) of the training loop's time, and what is none of the parts as `other`."""
    total = logged.total("loop_seconds")
    if not total > 0:
        return []
    shares = [(part, max(0.0, logged.total(f"{part}_seconds") / total)) for part in PARTS]
    rest = 1 - sum(share for _, share in shares)
    return [(part, share) for part, share in (*shares, ("other", rest)) if share > 0.0005]
