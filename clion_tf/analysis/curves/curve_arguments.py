"""Arguments that tools share which read learning curves: which ones, and where to write."""

import argparse
import os
from collections.abc import Iterable

from clion_tf.analysis.curves import series
from clion_tf.analysis.curves.curve import Curve
from clion_tf.analysis.curves.learning_curves import METRICS, find
from clion_tf.command import UsageError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds --logdirs, --curves, --label and --metric."""
    add = parser.add_argument
    add("--logdirs", nargs="+", default=[], metavar="DIR", help="runs, folders of runs, or globs")
    add("--curves", nargs="+", default=[], metavar="FILE", help="curve files (.json) of others")
    text = "what to call the method of runs there; DIR=TASK/NAME/SEED for a run of the original"
    add("--label", action="append", default=[], metavar="DIR=NAME", help=text)
    text = "returns of evaluations, or of training"
    add("--metric", choices=METRICS, default="test", help=text)


def read(options: argparse.Namespace, metric: str | None = None) -> list[Curve]:
    """The curves that the arguments name; of another metric if one is given.

    Raises:
      UsageError: if there are none, or a label has no folder.
    """
    if not options.logdirs and not options.curves:
        raise UsageError("say what to read: --logdirs or --curves")
    patterns = [*options.logdirs, *options.curves]
    return find(patterns, metric or options.metric, dict(map(parse_label, options.label)))


def parse_label(text: str) -> tuple[str, str]:
    """(folder, name) of `DIR=NAME`, where both may hold further signs of equality.

    Raises:
      UsageError: if it has none, or there is no such folder.
    """
    words = text.split("=")
    for i in range(1, len(words)):
        folder, name = os.path.expanduser("=".join(words[:i])), "=".join(words[i:])
        if name and os.path.exists(folder):
            return folder, name
    raise UsageError(f"--label={text}: must be DIR=NAME, with a folder that exists")


def warnings(curves: Iterable[Curve]) -> list[str]:
    """What someone who looks at averages of these curves should be told, a line each."""
    curves = list(curves)
    lines = series.repeated_seeds(curves)
    different = series.setups(curves)
    if len(different) > 1:
        lines.append(f"runs differ in more than the method: {'; '.join(different)}")
    return lines
