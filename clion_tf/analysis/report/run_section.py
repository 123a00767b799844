"""A run of the page, and all that is said of it."""

import contextlib
import datetime
import pathlib

from clion_tf.analysis.curves import metrics_files
from clion_tf.analysis.curves.curve import METRICS
from clion_tf.analysis.curves.learning_curves import UNREADABLE, Labels, read_run
from clion_tf.analysis.curves.metrics_files import Metrics
from clion_tf.analysis.report import run_clips, run_figures
from clion_tf.config import Config, different
from clion_tf.logdir import code_versions
from clion_tf.logdir.checkpoints import Counters, newest
from clion_tf.logdir.run_folder import LogdirError, RunFolder
from clion_tf.replay.stopwatch import PARTS

MISSING = "not recorded"


class Section:
    """A run of the page; once `read`, all that is shown of it, as plain texts, not HTML."""

    def __init__(self, folder: pathlib.Path, labels: Labels):
        self.folder, self.problems = folder, []  # What is missing or damaged.
        self.curve = None  # Its task, method, seed and rotation are the run's.
        self.name = self.title = folder.name or str(folder)
        try:
            self.curve = c = read_run(folder, labels)
        except UNREADABLE as error:
            self.problems.append(str(error))
            self.order = True, self.name  # At the end.
            return
        self.name = f"{c.panel.title} · {c.method}" + (f", {c.setup}" if c.setup else "")
        self.title = f"{self.name} · seed {c.seed}"
        self.order = False, self.name, int(c.seed) if c.seed.isdecimal() else 0, c.seed

    def read(self, with_media: bool = True) -> "Section":
        """Itself, with what there is; what is not, or is damaged, is told by `problems`."""
        folder, config = RunFolder(self.folder), None
        with contextlib.suppress(LogdirError):  # An error here is in `problems` already.
            config = folder.options()
        logged, (*_, counters) = Metrics({}), newest(folder.checkpoints, arrays=False)
        with contextlib.suppress(OSError):  # Here, too.
            logged = metrics_files.read(folder.metrics_file)
        if not logged.points:
            self.problems.append("metrics.jsonl: no numbers yet")
        if logged.damaged:
            self.problems.append(f"metrics.jsonl: {logged.damaged} damaged lines left out")
        self.steps = max(logged.last_step(), counters.steps)  # Environment steps so far.
        # The newest by metric, "–" where there is none.
        self.returns = {metric: _text(logged.last(f"{metric}/return"), ".1f") for metric in METRICS}
        self.facts = self._facts(folder, config, logged, counters)
        self.options = None  # (name, value, default) of those that differ.
        if config:
            pairs = different(Config(), config).items()
            self.options = [(n, str(own), str(old)) for n, (old, own) in pairs if n != "logdir"]
        self.shares = time_shares(logged)
        self.clips = run_clips.read(folder) if with_media else None
        self.training = run_figures.training(logged)
        absolute = config and config.beta2 and config.sigma_units == "absolute"
        sigma_h = config.sigma_h if config and absolute else None
        found = run_figures.diagnostics(folder, sigma_h, self.problems)
        self.diagnostics, self.diagnosed_at = found  # At these steps, None if not recorded.
        return self

    def _facts(
        self, folder: RunFolder, config: Config | None, logged: Metrics, counters: Counters
    ) -> dict[str, str]:
        # Each line of the log counts the updates skipped since the line before it. A line after
        # the checkpoint therefore includes the checkpoint's own count.
        skipped = logged.total("skipped_updates")
        with contextlib.suppress(OSError):
            after = folder.metrics_file.read_bytes()[counters.metrics_bytes :]
            skipped += 0 if b'"skipped_updates"' in after else counters.skipped
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
    shares = {part: logged.total(f"{part}_seconds") / total for part in PARTS}
    shares["other"] = 1 - sum(shares.values())
    return [(part, share) for part, share in shares.items() if share > 0.0005]
