"""The page: what is told of all runs together, then a section for each."""

import datetime
import importlib.resources
from collections.abc import Callable, Sequence

import jinja2
import markupsafe

from clion_tf.analysis.curves import curve_plots, noise_evaluations, score_tables
from clion_tf.analysis.curves.curve import METRICS, warnings
from clion_tf.analysis.report import run_section
from clion_tf.analysis.report.report_sources import ReportedRun, Sources
from clion_tf.analysis.report.small_figures import Picture, png
from clion_tf.command import UsageError
from clion_tf.logdir import code_versions

LARGE = 30_000_000  # Bytes that a phone loads with pains.
OPEN = 2  # Up to so many runs are shown without a click.
MEDIA = ("all", "one", "none")
METRIC_NAMES = {"test": "Evaluation returns", "train": "Training returns"}


def build(
    found: Sources,
    title: str,
    metric: str = "test",
    media: str = "all",
    progress: Callable[[str], None] = lambda line: None,
) -> str:
    """The page as one HTML text that needs no other file and no JavaScript.

    Args:
      metric: of the table, and of the first figure.
      media: embed videos and moving pictures of `all` runs, of `one` of those that differ in their
        seed only, or of `none`.
      progress: told what is done, a line each.
    """
    progress("drawing the learning curves")
    figures, notes = _curve_figures(found, metric)
    noisy, noisy_notes = _robustness(found)
    shown = _with_media(found.runs, media)
    sections = []
    for i, run in enumerate(found.runs):
        progress(f"reading {run.folder} ({i + 1} of {len(found.runs)})")
        sections.append(run_section.read(run, run in shown))
    progress("writing the page")
    return _render(
        title=title,
        made=f"{datetime.datetime.now().astimezone():%Y-%m-%d %H:%M %Z}",
        versions=code_versions.current(),
        figures=figures,
        tables=score_tables.fitting(found.curves(metric)),
        notes=notes,
        robustness=noisy,
        robustness_notes=noisy_notes,
        sections=sections,
        left_out=[run not in shown for run in found.runs],
        media=media,
        open=len(sections) <= OPEN,
        missing=run_section.MISSING,
    )


def _with_media(runs: Sequence[ReportedRun], media: str) -> list[ReportedRun]:
    if media == "one":
        return list({run.key: run for run in reversed(runs)}.values())
    return list(runs) if media == "all" else []


def _curve_figures(found: Sources, metric: str) -> tuple[list[tuple[str, int, Picture]], list[str]]:
    """([(title, panels in a row, figure)], what to know about them); none without returns."""
    figures, notes = [], []
    for one in sorted(METRICS, key=lambda name: name != metric):
        curves = found.curves(one)
        if not curves:
            notes.append(f"{METRIC_NAMES[one]}: none yet.")
            continue
        notes += [line for line in warnings(curves) if line not in notes]
        try:
            figure = curve_plots.learning_curves(curves, metric=one)
        except UsageError as error:
            notes.append(f"{METRIC_NAMES[one]}: {error}")
            continue
        columns = min(3, len({curve.panel for curve in curves}))
        figures.append((METRIC_NAMES[one], columns, png(figure, METRIC_NAMES[one])))
    return figures, notes


def _robustness(found: Sources) -> tuple[list[tuple[int, Picture]], list[str]]:
    """([(panels in a row, figure)] of evaluations under noise, what to know); none without any."""
    if not found.evaluations:
        return [], []
    try:
        series = noise_evaluations.all_series(found.evaluations)
    except UsageError as error:
        return [], [str(error)]
    columns = len({one.panel.order[-1] for one in series})  # Kinds of noise.
    return [(columns, png(curve_plots.robustness(series), "Return against noise"))], []


def _render(**values: object) -> str:
    folder = importlib.resources.files(__package__)
    # Names of tasks and folders may hold anything: they must stay text.
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    template = environment.from_string(folder.joinpath("template.html").read_text("utf-8"))
    style = markupsafe.Markup(folder.joinpath("style.css").read_text("utf-8"))
    return template.render(style=style, **values)
