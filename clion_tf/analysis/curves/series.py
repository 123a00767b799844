"""Curves put together: which runs are one series, which series one panel, and what is left out.

Runs are averaged only if they share task, rotation, method, setup and kind.
"""

import collections
import dataclasses
from collections.abc import Iterable, Sequence

import numpy as np

from clion_tf.analysis.curves.curve import ORIGINAL, OURS, PUBLISHED, Curve
from clion_tf.analysis.curves.method_names import ABLATION, DREAMER, DRQ

PEERS = {"dreamer": DREAMER, "drq": DRQ}  # What published files call them.


@dataclasses.dataclass(frozen=True)
class Panel:
    """An experiment: curves of one panel may be compared."""

    task: str
    rotation: float
    test_rotation: float

    xlabel = "environment steps"

    @property
    def title(self) -> str:
        """The task, and the rotation where there is one."""
        if self.rotation == self.test_rotation:
            return self.task + (f", ±{self.rotation:g}° rotation" if self.rotation else "")
        return f"{self.task}, ±{self.rotation:g}° in training, ±{self.test_rotation:g}° in testing"


@dataclasses.dataclass(frozen=True, eq=False)
class Series:
    """Runs that are averaged.

    Attributes:
      label: what tells it from the other series of all panels.
      method: the paper's name, also for other people's curves.
      kind, setup: as in `Curve`.
      curves: one for each run.
    """

    label: str
    method: str
    kind: str
    setup: str
    curves: tuple[Curve, ...]

    @property
    def published(self) -> bool:
        """Whether these are other people's numbers."""
        return self.kind == PUBLISHED

    def grid(self) -> tuple[np.ndarray, np.ndarray]:
        """(steps [N], returns [runs, N]): all evaluations' steps, each run interpolated there.

        Linear, inside a run's own range only; NaN before its first and after its last evaluation.
        """
        xs = np.unique(np.concatenate([curve.xs for curve in self.curves]))
        rows = [np.interp(xs, c.xs, c.ys, left=np.nan, right=np.nan) for c in self.curves]
        return xs, np.array(rows)


def panels(curves: Iterable[Curve]) -> dict[Panel, list[Series]]:
    """Series by panel, panels by rotation and task, series in the paper's order of methods."""
    curves = list(curves)
    labels = _labels(curves)
    groups: dict[Panel, dict[tuple, list[Curve]]] = collections.defaultdict(dict)
    for curve in curves:
        panel = Panel(curve.task, curve.rotation, curve.test_rotation)
        groups[panel].setdefault(_key(curve), []).append(curve)
    return {
        panel: sorted(
            (Series(labels[key], *key, tuple(groups[panel][key])) for key in groups[panel]),
            key=rank,
        )
        for panel in sorted(groups, key=lambda p: (p.rotation, p.test_rotation, p.task))
    }


def rank(series: Series) -> tuple:
    """Sorts series: runs before published curves, fig. 7's order, then by name."""
    known = ABLATION.index(series.method) if series.method in ABLATION else len(ABLATION)
    return series.published, known, series.method, series.kind, series.setup


def repeated_seeds(curves: Iterable[Curve]) -> list[str]:
    """What a reader of averages should know: seeds that count more than once."""
    lines = []
    for panel, found in panels(curves).items():
        for series in found:
            seeds = collections.defaultdict(list)
            for curve in series.curves:
                seeds[curve.seed].append(curve.source)
            lines += [
                f"{panel.title}, {series.label}: seed {seed} counts {len(sources)} times "
                f"({', '.join(sources)})"
                for seed, sources in seeds.items()
                if len(sources) > 1
            ]
    return lines


def smoothed(curve: Curve, steps: float) -> Curve:
    """Each return replaced by the mean of those in the `steps` environment steps up to it."""
    if steps <= 0:
        return curve
    total = np.concatenate([[0.0], np.cumsum(curve.ys)])
    end = np.arange(1, len(curve.xs) + 1)
    start = np.searchsorted(curve.xs, curve.xs - steps, side="right")
    return dataclasses.replace(curve, ys=(total[end] - total[start]) / (end - start))


def cut_at(curves: Iterable[Curve], steps: float) -> list[Curve]:
    """The curves up to these environment steps; those that begin later are left out.

    Published curves keep one point more, so that a line between their rare points is not lost.
    """
    cut = []
    for curve in curves:
        count = int(np.searchsorted(curve.xs, steps, side="right"))
        more = count + (curve.kind == PUBLISHED)
        if count:
            cut.append(dataclasses.replace(curve, xs=curve.xs[:more], ys=curve.ys[:more]))
    return cut


def _key(curve: Curve) -> tuple[str, str, str]:
    """(method, kind, setup)"""
    method = curve.method if curve.kind == OURS else PEERS.get(curve.method, curve.method)
    return method, curve.kind, curve.setup


def setups(curves: Iterable[Curve]) -> list[str]:
    """The different setups of our runs, in words."""
    return sorted({curve.setup or "paper sizes" for curve in curves if curve.kind == OURS})


def _labels(curves: Sequence[Curve]) -> dict[tuple, str]:
    """A name for each (method, kind, setup).

    The setup is in all names as soon as runs of several are put side by side.
    """
    keys = sorted({_key(curve) for curve in curves})
    several = len(setups(curves)) > 1
    labels = {}
    for method, kind, setup in keys:
        label = method
        if kind == PUBLISHED and method in PEERS.values():
            label += " (published)"
        elif kind == PUBLISHED and any(m == method and k != kind for m, k, _ in keys):
            label += " (from file)"
        elif kind == ORIGINAL:
            label += " (original code)"
        elif kind == OURS and several:
            label += f", {setup or 'paper sizes'}"
        labels[method, kind, setup] = label
    return labels
