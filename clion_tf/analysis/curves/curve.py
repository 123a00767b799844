"""Curves: returns of one run, against environment steps or amounts of noise."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from clion_tf.analysis.curves.method_names import DREAMER, DRQ
from clion_tf.analysis.curves.metrics_files import Points

OURS, ORIGINAL, PUBLISHED = "clion_tf", "original", "published"
METRICS = ("test", "train")
PEERS = {"dreamer": DREAMER, "drq": DRQ}  # What published files call them.


@dataclasses.dataclass(frozen=True, order=True)
class Panel:
    """An experiment: curves of one panel may be compared."""

    order: tuple  # Sorts panels, and tells them apart.
    title: str
    xlabel: str = "environment steps"
    log: bool = False  # Whether that axis is logarithmic.


@dataclasses.dataclass(frozen=True, eq=False)
class Curve:
    """Returns of one run, against environment steps or, of one agent, against amounts of noise.

    `xs` and `ys` are those of evaluations until `of` takes another metric; where there is `noise`,
    `xs` are amounts of it.
    """

    task: str  # As dm_control's `domain_task`.
    method: str  # See `method_names.describe`, or what a label or a file says.
    seed: str  # Files and folders may name it as they like.
    xs: np.ndarray  # Environment steps or amounts of noise, float64 [N], rising.
    ys: np.ndarray  # Returns, float64 [N], finite; NaN at an amount of noise that only others have.
    source: str  # The folder or the file.
    kind: str = OURS  # ORIGINAL: the original Dreamer's logdir; PUBLISHED: a file without options.
    setup: str = ""  # What differs from the paper's sizes.
    rotation: float = 0.0  # Of observations in training and in testing, degrees.
    test_rotation: float = 0.0
    options: Mapping[str, Any] | None = None  # All of the run, where known.
    version: str | None = None  # Of clion_tf that made the run, where known.
    points: Mapping[str, Points] = dataclasses.field(default_factory=dict)  # By metric.
    metric: str = "test"  # That of `xs` and `ys`, where these are steps and returns.
    noise: Panel | None = None  # Where the xs are amounts of it.
    besides: tuple[str, ...] = ()  # What else tells it from others, in words.

    def of(self, metric: str) -> "Curve":
        """The run's returns of this metric; N may be 0."""
        xs, ys = self.points[metric]
        return dataclasses.replace(self, xs=xs, ys=ys, metric=metric)

    def part(self, smooth: int, end: float) -> "Curve":
        """Up to the step `end`, each return the mean of those in the `smooth` steps up to it."""
        xs, ys = self.xs, self.ys
        if smooth:
            ys = np.array([ys[(xs > x - smooth) & (xs <= x)].mean() for x in xs])
        count = np.searchsorted(xs, end, side="right")
        if count and self.kind == PUBLISHED:
            count += 1  # So that a line between its rare points is not lost.
        return dataclasses.replace(self, xs=xs[:count], ys=ys[:count])

    @property
    def panel(self) -> Panel:
        """Its title has the rotation where there is one."""
        if self.noise:
            return self.noise
        told = f", ±{self.rotation:g}° rotation" if self.rotation else ""
        if self.rotation != self.test_rotation:
            told = f", ±{self.rotation:g}° in training, ±{self.test_rotation:g}° in testing"
        return Panel((self.rotation, self.test_rotation, self.task), self.task + told)

    @property
    def key(self) -> tuple[str, ...]:
        """(method, kind, setup, ...): equal for the runs of a panel that are averaged."""
        method = self.method if self.kind == OURS else PEERS.get(self.method, self.method)
        return method, self.kind, self.setup, *self.besides


def plain_task(name: str) -> str:
    """`walker_walk` of Dreamer's `dmc_walker_walk`."""
    return name.removeprefix("dmc_")


def short(step: float) -> str:
    """`105K` of 105,000."""
    return f"{step / 1e6:g}M" if step >= 1e6 else f"{step / 1e3:g}K" if step >= 1e3 else f"{step:g}"
