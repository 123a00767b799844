"""Series: curves that are averaged, what they are called, and which of them are compared."""

import collections
import dataclasses
import itertools
from collections.abc import Iterable, Sequence

import numpy as np

from clion_tf.analysis.curves.curve import ORIGINAL, OURS, PEERS, PUBLISHED, Curve, Panel
from clion_tf.analysis.curves.method_names import ABLATION, EVALUATOR_SIZES
from clion_tf.analysis.curves.metrics_files import Points
from clion_tf.command import UsageError

PAPER_SIZES = "paper sizes"


@dataclasses.dataclass(frozen=True, eq=False)
class Series:
    """Runs that are averaged: of one panel, method, kind and setup."""

    panel: Panel
    label: str  # What tells it from all other series of a panel.
    method: str  # The paper's name, also for other people's curves.
    kind: str
    setup: str
    curves: tuple[Curve, ...]

    @property
    def published(self) -> bool:
        """Whether these are other people's numbers."""
        return self.kind == PUBLISHED

    @property
    def rank(self) -> tuple:
        """Sorts ours before published ones, then by fig. 7's order, then by name."""
        known = ABLATION.index(self.method) if self.method in ABLATION else len(ABLATION)
        return self.published, known, self.method, self.kind, self.setup

    def repeated(self) -> dict[str, list[str]]:
        """By seed, where curves are from, of seeds that are there more than once."""
        sources = collections.defaultdict(list)
        for curve in self.curves:
            sources[curve.seed].append(curve.source)
        return {seed: names for seed, names in sources.items() if len(names) > 1}

    def grid(self) -> Points:
        """All evaluations' steps [N], returns [runs, N] interpolated there; NaN outside a run."""
        xs = np.unique(np.concatenate([curve.xs for curve in self.curves]))
        rows = [np.interp(xs, c.xs, c.ys, left=np.nan, right=np.nan) for c in self.curves]
        return xs, np.array(rows)


def all_series(curves: Iterable[Curve]) -> list[Series]:
    """By rotation and task, those of one panel in the paper's order of methods."""
    groups = collections.defaultdict(list)
    for curve in curves:
        groups[curve.panel, curve.key].append(curve)
    labels = _labels({key for _, key in groups}, *_told_by_labels(groups))
    found = [
        Series(panel, labels[key], *key[:3], tuple(same)) for (panel, key), same in groups.items()
    ]
    return sorted(found, key=lambda one: (one.panel, one.rank))


def series_at_amounts(curves: Iterable[Curve]) -> list[Series]:
    """As `all_series`, for curves over amounts; those of a series get the union of its amounts.

    Nothing is interpolated: a return is NaN where a training has none.
    UsageError if a training is there twice.
    """
    found = []
    for one in all_series(curves):
        for seed, sources in one.repeated().items():
            told = f"({one.label}, seed {seed}); give one of them"
            raise UsageError(f"{' and '.join(sources)} are of one training {told}")
        xs = one.grid()[0]
        every = [dict(zip(c.xs, c.ys, strict=True)) for c in one.curves]
        each = (
            dataclasses.replace(c, xs=xs, ys=np.array([ys.get(x, np.nan) for x in xs]))
            for c, ys in zip(one.curves, every, strict=True)
        )
        found.append(dataclasses.replace(one, curves=tuple(each)))
    return found


def pairs(
    found: Sequence[Series], against: str | None = None
) -> list[tuple[Series, list[tuple[Curve, Curve | None]]]]:
    """[(series, [(curve, partner)])]; a partner is the curve of method `against` and equal seed.

    It has the same panel, kind and setup, or a setup that differs in the evaluator's sizes only;
    curves without a partner are left out. Without `against` all partners are None. UsageError if
    no pair is left, if a series has a seed twice, or if two series of the method fit.
    """
    if against is None:
        return [(one, [(curve, None) for curve in one.curves]) for one in found]
    paired, bases = [], collections.defaultdict(list)
    for one in found:
        if one.method == against:
            bases[_experiment(one)].append(one)
    for one in (one for one in found if one.method != against and _experiment(one) in bases):
        alike = bases[_experiment(one)]
        alike = [base for base in alike if base.setup == one.setup] or alike
        if len(alike) > 1:
            told = " or ".join(base.label for base in alike)
            raise UsageError(f"--against={against}: for {one.label} give one of {told}")
        for each in (one, *alike):
            for seed, sources in each.repeated().items():
                both = f"seed {seed} of {each.label}: {' and '.join(sources)}"
                raise UsageError(f"--against: give one run of {both}")
        base = {curve.seed: curve for curve in alike[0].curves}
        if both := [(curve, base[curve.seed]) for curve in one.curves if curve.seed in base]:
            paired.append((one, both))
    if not paired:
        there = ", ".join(dict.fromkeys(one.label for one in found))
        raise UsageError(f"--against={against}: no seed of it and of another method in {there}")
    return paired


def _experiment(one: Series) -> tuple:
    """What a series' runs have in common with those of other methods."""
    words = one.setup.split(", ")
    setup = tuple(word for word in words if _option(word) not in EVALUATOR_SIZES)
    return one.panel, one.kind, one.curves[0].besides, setup


def _labels(
    keys: set[tuple[str, ...]], told: set[str], different: Sequence[bool]
) -> dict[tuple[str, ...], str]:
    """A name for each, with what `_told_by_labels` says."""
    labels = {}
    for key in keys:
        label, kind, setup, *besides = key
        namesake = any(other[0] == label and other[1] != kind for other in keys)
        if kind == PUBLISHED and (namesake or label in PEERS.values()):
            label += " (published)"
        elif kind == ORIGINAL:
            label += " (original code)"
        elif kind == OURS:
            own = [word for word in setup.split(", ") if _option(word) in told]
            label = ", ".join([label, *(word or PAPER_SIZES for word in own)])
        labels[key] = ", ".join([label, *itertools.compress(besides, different)])
    return labels


def _told_by_labels(groups: Iterable[tuple[Panel, tuple]]) -> tuple[set[str], list[bool]]:
    """(options, flags for the words `besides`) in which runs of one panel differ: labels say these.

    All else is equal, or differs between panels only: titles say that.
    """
    keys, told, different = collections.defaultdict(list), set(), []
    for panel, key in groups:
        keys[panel].append(key)
    for each in keys.values():
        setups = [setup for _, kind, setup, *_ in each if kind == OURS]
        shared = in_common(setups)
        words = (word for setup in setups for word in setup.split(", "))
        told |= {_option(word) for word in words if word not in shared}
        different.append([len(set(w)) > 1 for w in zip(*(key[3:] for key in each), strict=True)])
    return told, [any(flags) for flags in zip(*different, strict=True)]


def _option(word: str) -> str:
    return word.partition("=")[0]


def titles(found: Sequence[Series], between: str = ", ") -> dict[Panel, str]:
    """Each panel's title, and after `between` what its runs have in common and others' have not."""
    ours = [one for one in found if one.kind == OURS]
    told, different = _told_by_labels((one.panel, one.curves[0].key) for one in found)
    words = [one.curves[0].besides for one in found]
    others = [
        len(set(each)) > 1 and not flag
        for each, flag in zip(zip(*words, strict=True), different, strict=True)
    ]
    shared, result = in_common(one.setup for one in ours), {}
    for panel in dict.fromkeys(one.panel for one in found):
        common = in_common(one.setup for one in ours if one.panel == panel)
        own = [word for word in common if word not in shared and _option(word) not in told]
        besides = next(one.curves[0].besides for one in found if one.panel == panel)
        own = [*(word or PAPER_SIZES for word in own), *itertools.compress(besides, others)]
        result[panel] = between.join(filter(None, [panel.title, ", ".join(own)]))
    return result


def in_common(setups: Iterable[str]) -> list[str]:
    """What all of these have in common, in words; titles and labels say the rest."""
    first, *others = [setup.split(", ") for setup in setups] or [[]]
    return [word for word in first if all(word in other for other in others)]


def setups(curves: Iterable[Curve]) -> list[str]:
    """The different setups of our runs, in words; none if all have the paper's sizes."""
    found = {curve.setup or PAPER_SIZES for curve in curves if curve.kind == OURS}
    return sorted(found) if found != {PAPER_SIZES} else []


def repeats(curves: Iterable[Curve]) -> list[str]:
    """Those that count more than once in an average, a line each."""
    return [
        f"{one.panel.title}, {one.label}: seed {seed} counts {len(sources)} times "
        f"({', '.join(sources)})"
        for one in all_series(curves)
        for seed, sources in one.repeated().items()
    ]


def warnings(curves: Sequence[Curve]) -> list[str]:
    """What someone who looks at averages of these curves should be told, a line each."""
    lines, different = repeats(curves), setups(curves)
    if len(different) > 1:
        lines.append(f"runs differ in more than the method: {'; '.join(different)}")
    return lines
