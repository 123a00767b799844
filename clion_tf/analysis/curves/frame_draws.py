"""Return against how often each frame is drawn for updates: what a method makes of little data."""

import collections
import dataclasses
import logging
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from clion_tf.analysis.curves.curve import Curve, Panel, short
from clion_tf.analysis.curves.method_names import DOUBLED, DREAMER
from clion_tf.analysis.curves.series import Series, series_at_amounts
from clion_tf.command import UsageError
from clion_tf.config import EARLIER, Config

_log = logging.getLogger(__name__)

# Options that the axis and the series' names tell.
TOLD = ("action_repeat", "batch_size", "train_every", "train_steps")


def draws(options: Mapping[str, Any]) -> float:
    """How many frames a run's updates draw for each new frame of an environment, on average."""
    frames = options["batch_size"] * options["batch_length"] * options["train_steps"]
    return frames * options["action_repeat"] / options["train_every"]


def series(runs: Iterable[Curve], end: int | None = None) -> list[Series]:
    """Mean returns from the prefill to the step `end`; a series for each method and batch size.

    By default the end is the last step that all runs have reached which have returns after their
    prefill. What ends before it, has no options or is no CLION or Dreamer is left out with a
    warning; UsageError if nothing is left.
    """
    ours = []
    for run in runs:
        # The file may be older than an option.
        options = dataclasses.asdict(Config()) | EARLIER | dict(run.options or {})
        if run.options and options["agent"] == "clion":
            ours.append((run, options))
        else:
            _log.warning("%s: left out, no run of CLION or Dreamer with options", run.source)
    ours.sort(key=lambda pair: pair[1]["batch_size"])
    begun = (run.xs[-1] for run, options in ours if run.xs[-1] > options["prefill"])
    end = end or int(min(begun, default=0))
    points: dict[tuple, dict[float, float]] = collections.defaultdict(dict)
    like: dict[tuple, Curve] = {}
    for run, options in ours:
        at = run.xs
        within = (at > options["prefill"]) & (at <= end)
        if at[-1] < end or not within.any():
            _log.warning("%s: left out, ends before %s steps", run.source, short(end))
            continue
        words = (word for word in run.setup.split(", ") if word.partition("=")[0] not in TOLD)
        setup = ", ".join(words)
        method, batch = run.method, f"batch {options['batch_size']}"
        panel = Panel((*run.panel.order, 0), run.panel.title, "frames drawn for each new one", True)
        method = method.replace(DOUBLED, DREAMER)
        facts = {"method": method, "setup": setup, "besides": (batch,), "noise": panel}
        key = (*facts.values(), run.seed)
        like[key] = dataclasses.replace(run, **facts)
        if draws(options) in points[key]:
            raise UsageError(f"{run.source}: seed {run.seed} of {method} is there twice")
        points[key][draws(options)] = float(run.ys[within].mean())
    if not points:
        raise UsageError(f"no run of CLION or Dreamer that gets to {short(end)} steps")
    each = ((like[key], np.array(sorted(points[key].items())).T) for key in points)
    return series_at_amounts(dataclasses.replace(one, xs=xs, ys=ys) for one, (xs, ys) in each)
