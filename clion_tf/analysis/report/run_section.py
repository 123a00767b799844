"""All that the page says of one run."""

import dataclasses
import datetime
import logging
import pathlib

from clion_tf.analysis.curves import metrics_files
from clion_tf.analysis.curves.curve import METRICS
from clion_tf.analysis.curves.metrics_files import Metrics
from clion_tf.analysis.report import (
    data_uris,
    recorded_diagnostics,
    tensorboard_events,
    training_figures,
    weighting_figures,
)
from clion_tf.analysis.report.report_sources import ReportedRun
from clion_tf.analysis.report.small_figures import Picture
from clion_tf.config import Config, different
from clion_tf.logdir import code_versions
from clion_tf.logdir.checkpoints import CheckpointError, Checkpoints, Counters, load_counters
from clion_tf.logdir.run_folder import LogdirError, RunFolder
from clion_tf.replay.stopwatch import PARTS

_log = logging.getLogger(__name__)

MISSING = "not recorded"
VIDEO_TAG = "test/video"  # Of runs that save no video files.
ROWS = {
    "model/openloop": ("Open-loop prediction", ("truth", "prediction", "error")),
    "model/memory": ("Decoded from noisy memory", ("input", "decoded", "error")),
}


@dataclasses.dataclass(frozen=True)
class Clip:
    """A video or a moving picture.

    Attributes:
      title: what it shows.
      step: environment steps of the run then, None if that is not known.
      uri: with all its content.
      video: whether it is a video, not an image.
      poster: of a video, its first frame: phones show nothing else before it plays.
      rows: names of the picture's rows, from the top.
    """

    title: str
    step: int | None
    uri: str
    video: bool = False
    poster: str | None = None
    rows: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Section:
    """What a page shows of a run; texts are plain, not HTML.

    Attributes:
      title: task, method, seed.
      folder: of the run, as it was named.
      steps: environment steps so far.
      returns: the newest return by metric, "–" where there is none.
      facts: (name, value).
      options: (name, value, default) of those that differ; None if they are not known.
      shares: (part of the loop, share of its time); empty if not recorded.
      clips: video and world-model pictures.
      training: figures by group.
      diagnostics: figures; diagnosed_at: environment steps then, None if not recorded.
      problems: what is missing or damaged, a line each.
    """

    title: str
    folder: str
    steps: int
    returns: dict[str, str]
    facts: list[tuple[str, str]]
    options: list[tuple[str, str, str]] | None
    shares: list[tuple[str, float]]
    clips: list[Clip]
    training: dict[str, list[Picture]]
    diagnostics: list[Picture]
    diagnosed_at: int | None
    problems: list[str]


def read(run: ReportedRun, with_media: bool = True) -> Section:
    """Reads and draws what there is; what is not, or is damaged, becomes a problem's line."""
    problems = [run.problem] if run.problem else []
    config = _options(run.folder)
    logged = _metrics(RunFolder(run.folder).metrics_file, problems)
    counters = _counters(run.folder)
    steps = max(logged.last_step(), counters.steps if counters else 0)
    clips = _clips(run.folder, problems) if with_media else []
    figures, at = _diagnostics(run.folder, config, logged, problems)
    return Section(
        title=_title(run),
        folder=str(run.folder),
        steps=steps,
        returns={metric: _text(logged.last(f"{metric}/return"), ".1f") for metric in METRICS},
        facts=_facts(run, config, logged, counters, steps),
        options=differing(config) if config else None,
        shares=time_shares(logged),
        clips=clips,
        training=training_figures.figures(logged),
        diagnostics=figures,
        diagnosed_at=at,
        problems=problems,
    )


def differing(config: Config) -> list[tuple[str, str, str]]:
    """(name, value, default) of the options that differ from the defaults, but for the folder."""
    pairs = different(Config(), config).items()
    return [(n, str(value), str(default)) for n, (default, value) in pairs if n != "logdir"]


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


def _options(folder: pathlib.Path) -> Config | None:
    try:
        return RunFolder(folder).options()
    except LogdirError:
        return None  # A problem of the run already, see `clion_tf.analysis.report.report_sources`.


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


def _counters(folder: pathlib.Path) -> Counters | None:
    """Of the newest checkpoint that can be read; without reading its weights."""
    for path in Checkpoints.found_in(RunFolder(folder).checkpoints):
        try:
            return load_counters(path)
        except (CheckpointError, OSError) as error:
            _log.warning("%s", error)
    return None


def _facts(
    run: ReportedRun, config: Config | None, logged: Metrics, counters: Counters | None, steps: int
) -> list[tuple[str, str]]:
    def count(name: str, key: str) -> str:
        own = getattr(counters, name) if counters else None
        return _text(
            max((x for x in (own, logged.last(key)) if x is not None), default=None), ",.0f"
        )

    of = f" of {config.steps:,}" if config else ""
    facts = [
        ("environment steps", f"{steps:,}{of}"),
        ("episodes", count("episodes", "episodes")),
        ("updates", count("updates", "updates")),
        ("last evaluation return", _text(logged.last("test/return"), ".1f")),
        ("last training return", _text(logged.last("train/return"), ".1f")),
        ("environment steps per second", _text(logged.last("fps"), ".1f")),
        ("updates per second", _text(logged.last("updates_per_second"), ".2f")),
        ("last written", _written(RunFolder(run.folder).metrics_file)),
    ]
    # The counter of skipped updates begins anew with each line of the log.
    skipped = logged.total("skipped_updates") + (counters.skipped if counters else 0)
    failures = counters.env_failures if counters else 0
    for name, number in (("skipped updates", skipped), ("failed environments", failures)):
        if number:
            facts.append((name, f"{number:,.0f}"))
    made = code_versions.of_run(run.folder)
    return [*facts, ("clion_tf", made)] if made else facts


def _text(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)


def _written(path: pathlib.Path) -> str:
    try:
        seconds = path.stat().st_mtime
    except OSError:
        return "–"
    return f"{datetime.datetime.fromtimestamp(seconds).astimezone():%Y-%m-%d %H:%M %Z}"


def _clips(folder: pathlib.Path, problems: list[str]) -> list[Clip]:
    pictures, damage = tensorboard_events.newest(
        RunFolder(folder).tensorboard, (VIDEO_TAG, *ROWS), data_uris.is_gif
    )
    problems += damage
    clips = [_video(RunFolder(folder).videos, pictures.get(VIDEO_TAG))]
    for tag, (title, rows) in ROWS.items():
        if tag in pictures:
            shown = pictures[tag]
            clips.append(
                Clip(title, shown.step, data_uris.uri(shown.content, "image/gif"), rows=rows)
            )
    return [clip for clip in clips if clip is not None]


def _video(folder: pathlib.Path, logged: tensorboard_events.Shown | None) -> Clip | None:
    found = data_uris.newest_video(folder)
    if found is None:
        if logged is None:
            return None
        return Clip("Evaluation", logged.step, data_uris.uri(logged.content, "image/gif"))
    path, content = found
    kind = data_uris.KINDS[path.suffix.lower()]
    video = kind.startswith("video/")
    frame = data_uris.first_frame(path) if video else None
    poster = data_uris.uri(frame, "image/png") if frame else None
    return Clip(
        "Evaluation", data_uris.video_step(path), data_uris.uri(content, kind), video, poster
    )


def _diagnostics(
    folder: pathlib.Path, config: Config | None, logged: Metrics, problems: list[str]
) -> tuple[list[Picture], int | None]:
    """Figures, and the environment steps they are from."""
    found = recorded_diagnostics.newest(folder)
    steps, parts, damage = found or (None, {}, [])
    problems += damage
    figures = weighting_figures.figures(parts, config.sigma_h if config and config.beta2 else None)
    expected = config.augmentations / (config.augmentations + 1) if config else None
    if config is None or config.augmentations:
        share = weighting_figures.share(
            logged.points.get("weight_augmented"),
            recorded_diagnostics.augmented_shares(folder),
            expected,
        )
        figures += [share] if share else []
    return figures, steps if parts else None
