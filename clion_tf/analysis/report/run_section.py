"""All that the page says of one run."""

import datetime
import logging
import pathlib
from typing import NamedTuple

from clion_tf.analysis.curves import metrics_files
from clion_tf.analysis.curves.curve import METRICS
from clion_tf.analysis.curves.metrics_files import Metrics
from clion_tf.analysis.report import diagnostics_figures, run_clips, training_figures
from clion_tf.analysis.report.report_sources import ReportedRun
from clion_tf.analysis.report.run_clips import Clip
from clion_tf.analysis.report.small_figures import Picture
from clion_tf.config import Config, different
from clion_tf.logdir import code_versions
from clion_tf.logdir.checkpoints import CheckpointError, Checkpoints, Counters, load_counters
from clion_tf.logdir.run_folder import LogdirError, RunFolder
from clion_tf.replay.stopwatch import PARTS

_log = logging.getLogger(__name__)

MISSING = "not recorded"


class Section(NamedTuple):
    """What a page shows of a run; texts are plain, not HTML."""

    title: str  # Task, method, seed.
    folder: str  # As it was named.
    steps: int  # Environment steps so far.
    returns: dict[str, str]  # The newest by metric, "–" where there is none.
    facts: list[tuple[str, str]]  # (name, value)
    options: list[tuple[str, str, str]] | None  # (name, value, default) of those that differ.
    shares: list[tuple[str, float]]  # (part of the loop, share of its time)
    clips: list[Clip] | None  # Video and world-model pictures; None if left out.
    training: dict[str, list[Picture]]  # Figures by group.
    diagnostics: list[Picture]
    diagnosed_at: int | None  # Environment steps then, None if not recorded.
    problems: list[str]  # What is missing or damaged, a line each.


def read(run: ReportedRun, with_media: bool = True) -> Section:
    """Reads and draws what there is; what is not, or is damaged, becomes a problem's line."""
    problems = [run.problem] if run.problem else []
    folder = RunFolder(run.folder)
    try:
        config = folder.options()
    except LogdirError:
        config = None  # The run's problem already.
    logged = _metrics(folder.metrics_file, problems)
    counters = _counters(folder)
    steps = max(logged.last_step(), counters.steps)
    returns = {metric: _text(logged.last(f"{metric}/return"), ".1f") for metric in METRICS}
    options = None
    if config is not None:
        pairs = different(Config(), config).items()
        options = [(n, str(own), str(default)) for n, (default, own) in pairs if n != "logdir"]
    sigma_h = config.sigma_h if config and config.beta2 else None
    diagnostics, diagnosed_at = diagnostics_figures.newest(folder, sigma_h, problems)
    if config is None or config.augmentations:
        equal = config.augmentations / (config.augmentations + 1) if config else None
        known = logged.points.get("weight_augmented")
        diagnostics += diagnostics_figures.shares(folder, known, equal)
    return Section(
        title=_title(run),
        folder=str(run.folder),
        steps=steps,
        returns=returns,
        facts=_facts(folder, config, logged, counters, steps, returns),
        options=options,
        shares=time_shares(logged),
        clips=run_clips.read(folder, problems) if with_media else None,
        training=training_figures.figures(logged),
        diagnostics=diagnostics,
        diagnosed_at=diagnosed_at,
        problems=problems,
    )


def time_shares(logged: Metrics) -> list[tuple[str, float]]:
    """(part, share) of the training loop's time, and what is none of the parts as `other`."""
    total = logged.total("loop_seconds")
    if not total > 0:
        return []
    shares = [(part, max(0.0, logged.total(f"{part}_seconds") / total)) for part in PARTS]
    rest = 1 - sum(share for _, share in shares)
    return [(part, share) for part, share in (*shares, ("other", rest)) if share > 0.0005]


def _title(run: ReportedRun) -> str:
    if run.curve is None:
        return run.folder.name or str(run.folder)
    c = run.curve
    method = f"{c.method}, {c.setup}" if c.setup else c.method
    return f"{c.panel.title} · {method} · seed {c.seed}"


def _metrics(path: pathlib.Path, problems: list[str]) -> Metrics:
    try:
        found = metrics_files.read(path)
    except OSError as error:
        problems.append(f"{path.name}: cannot be read ({error.strerror})")
        return Metrics({})
    if not found.points:
        problems.append(f"{path.name}: no numbers yet")
    if found.damaged:
        problems.append(f"{path.name}: {found.damaged} damaged lines left out")
    return found


def _counters(folder: RunFolder) -> Counters:
    """Of the newest checkpoint that can be read; all 0 without any."""
    for path in Checkpoints.found_in(folder.checkpoints):
        try:
            return load_counters(path)
        except (CheckpointError, OSError) as error:
            _log.warning("%s", error)
    return Counters()


def _facts(
    folder: RunFolder,
    config: Config | None,
    logged: Metrics,
    counters: Counters,
    steps: int,
    returns: dict[str, str],
) -> list[tuple[str, str]]:
    # The log's counter of skipped updates begins anew with each line.
    skipped = logged.total("skipped_updates") + counters.skipped
    try:
        seconds = folder.metrics_file.stat().st_mtime
        written = f"{datetime.datetime.fromtimestamp(seconds).astimezone():%Y-%m-%d %H:%M %Z}"
    except OSError:
        written = "–"
    facts = {
        "environment steps": f"{steps:,} of {config.steps:,}" if config else f"{steps:,}",
        "episodes": _text(max(counters.episodes, logged.last("episodes") or 0) or None, ",.0f"),
        "updates": _text(max(counters.updates, logged.last("updates") or 0) or None, ",.0f"),
        "last evaluation return": returns["test"],
        "last training return": returns["train"],
        "environment steps per second": _text(logged.last("fps"), ".1f"),
        "updates per second": _text(logged.last("updates_per_second"), ".2f"),
        "last written": written,
        "skipped updates": f"{skipped:,.0f}" if skipped else None,
        "failed environments": f"{counters.env_failures:,}" if counters.env_failures else None,
        "clion_tf": code_versions.of_run(folder.path),
    }
    return [(name, value) for name, value in facts.items() if value]


def _text(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)
