"""The page: which runs it is about, what is told of all of them together, a section for each."""

import importlib.resources
import time
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import jinja2
import markupsafe

from clion_tf.analysis.curves import curve_plots, learning_curves, noise_evaluations, score_tables
from clion_tf.analysis.curves.curve import METRICS, Curve
from clion_tf.analysis.curves.learning_curves import Labels, Patterns
from clion_tf.analysis.curves.series import warnings
from clion_tf.analysis.report import run_section
from clion_tf.analysis.report.run_section import Section
from clion_tf.analysis.report.small_figures import Picture, png
from clion_tf.command import UsageError
from clion_tf.logdir import code_versions

LARGE = 30_000_000  # Bytes that a phone loads with pains.
METRIC_NAMES = {"test": "Evaluation returns", "train": "Training returns"}
NOISE = "Return against noise"


class Sources(NamedTuple):
    """Runs in the order of the page, curves of others, and evaluations under noise by file."""

    runs: list[Section]
    others: list[Curve]
    evaluations: Mapping[str, list[Curve]]

    def curves(self, metric: str) -> list[Curve]:
        """All that have returns of this metric."""
        every = [*(run.curve for run in self.runs if run.curve), *self.others]
        return [curve for curve in (one.of(metric) for one in every) if curve.xs.size]


def find(patterns: Iterable[str], labels: Labels, evaluations: Patterns = ()) -> Sources:
    """All runs that the patterns name, damaged ones and those without returns too.

    Patterns and labels are as for `learning_curves.find` and `noise_evaluations.find`, errors too;
    evaluations in the runs' folders are found by themselves. UsageError if there is no run.
    """
    patterns = list(patterns)
    paths = learning_curves.paths_of_runs(patterns)
    runs = [Section(path, labels) for path in paths if path.is_dir()]
    if not runs:
        raise UsageError(f"no run in {', '.join(map(str, patterns))}")
    others = learning_curves.read_runs([path for path in paths if path.is_file()], labels)
    noisy = noise_evaluations.find(evaluations)
    noisy |= noise_evaluations.find([run.folder for run in runs], required=False)
    return Sources(sorted(runs, key=lambda run: run.order), others, noisy)


def build(
    found: Sources, title: str, metric: str = "test", media: str = "all",
    progress: Callable[[str], None] = lambda line: None,
) -> str:  # fmt: skip
    """The page as one HTML text that needs no other file and no JavaScript.

    `metric` is that of the tables and of the first figure. Videos are shown of `all` runs, of
    `one` of each task, rotation, method and setup, or of `none`. `progress` gets a line a stage.
    """
    progress("drawing returns")
    figures, notes = _figures(found, metric)
    sections, shown = [], set()
    for i, run in enumerate(found.runs):
        progress(f"reading {run.folder} ({i + 1} of {len(found.runs)})")
        with_media = media == "all" or (media == "one" and run.name not in shown)
        sections.append(run.read(with_media))
        shown.add(run.name)
    progress("writing the page")
    # Names of tasks and folders may hold anything: they must stay text.
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    folder = importlib.resources.files(__package__)
    template = environment.from_string(folder.joinpath("template.html").read_text("utf-8"))
    return template.render(
        style=markupsafe.Markup(folder.joinpath("style.css").read_text("utf-8")),
        title=title,
        made=run_section.at(time.time()),
        versions=code_versions.current(),
        figures=figures,
        tables=score_tables.fitting(found.curves(metric)),
        notes=notes,
        sections=sections,
        media=media,
        open=len(sections) <= 2,  # More take a click.
        missing=run_section.MISSING,
    )


def _figures(found: Sources, metric: str) -> tuple[list[tuple[str, int, Picture]], list[str]]:
    """([(title, panels in a row, figure)], what to know about them)."""
    figures, notes = [], []
    for one in sorted(METRICS, key=lambda name: name != metric):
        curves, name = found.curves(one), METRIC_NAMES[one]
        if curves:
            notes += [line for line in warnings(curves) if line not in notes]
            columns = min(3, len({curve.panel for curve in curves}))
            figure = curve_plots.learning_curves(curves, metric=one)
            figures.append((name, columns, png(figure, name)))
        else:
            notes.append(f"{name}: none yet.")
    if found.evaluations:
        try:
            series = noise_evaluations.all_series(found.evaluations)
            columns = len({one.panel.order[-1] for one in series})  # Kinds of noise.
            figures.append((NOISE, columns, png(curve_plots.amounts(series), NOISE)))
        except UsageError as error:
            notes.append(f"{NOISE}: {error}.")
    return figures, notes
