"""Tables of evaluations under noise: how far each kind and amount of it changes returns."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from clion_tf.analysis.curves.curve import Curve, Series, pairs
from clion_tf.analysis.curves.noise_evaluations import KINDS
from clion_tf.analysis.curves.return_statistics import summary
from clion_tf.analysis.curves.score_tables import MISSING, Table, titled

Pairs = Iterable[tuple[Curve, Curve | None]]


def changes(found: Sequence[Series], against: str | None = None) -> Table:
    """A column a method: its return in the evaluations' first cell, and the changes from that.

    Means over trainings (seeds) with their 95 % intervals. With `against`, a method's label, they
    are differences from that method, seed by seed. The series are `noise_evaluations.all_series`'.
    """
    compared = pairs(found, against)
    counts = {one.label: 0 for one, _ in sorted(compared, key=lambda pair: pair[0].rank)}
    experiments: dict[tuple, dict[int, dict[str, tuple[Series, Pairs]]]] = {}
    for one, curves in compared:
        *experiment, kind = one.panel.order
        counts[one.label] = max(counts[one.label], len(curves))
        experiments.setdefault(tuple(experiment), {}).setdefault(kind, {})[one.label] = one, curves
    lines = []
    for (task, first, _), kinds in sorted(experiments.items()):
        every = {label: one for methods in kinds.values() for label, one in methods.items()}
        told = [_name(kind, amount) for kind, amount in enumerate(first) if amount]
        lines.append((task, f"{', '.join(told) or 'none'}: return", *_row(every, counts, None)))
        for kind, methods in sorted(kinds.items()):
            others = {x for one, _ in methods.values() for x in one.grid()[0]} - {first[kind]}
            for x in sorted(others):
                lines.append((task, _name(kind, x), *_row(methods, counts, x)))
    notes = (
        "First the return in the first cell, then how far noise changes it: means over trainings, "
        f"number of trainings in brackets, with 95 % intervals. {MISSING}: not evaluated.",
    )
    header = "task", "noise", *(f"{label} ({count})" for label, count in counts.items())
    return Table(titled("Returns under noise", against), header, tuple(lines), notes, ())


def _row(
    methods: Mapping[str, tuple[Series, Pairs]], labels: Iterable[str], amount: float | None
) -> list[str]:
    """Of the return in the first cell, or of the changes at an amount."""
    cells = []
    for label in labels:
        values = []
        if label in methods:
            one, curves = methods[label]
            first = one.panel.order[1][one.panel.order[-1]]
            x = first if amount is None else amount
            for curve, base in curves:
                values.append(_value(curve, x, first) - (_value(base, x, first) if base else 0.0))
        cells.append(_text([value for value in values if np.isfinite(value)], len(values)))
    return cells


def _value(curve: Curve, x: float, first: float) -> float:
    """The return at the first amount, else the change from there; NaN if it was not evaluated."""
    at = dict(zip(curve.xs, curve.ys, strict=True))
    return at.get(x, np.nan) - (0.0 if x == first else at[first])


def _text(values: Sequence[float], count: int) -> str:
    if not values:
        return MISSING
    known = summary(values)
    few = f" ({known.count})" if known.count < count else ""
    interval = "" if known.low is None else f" [{known.low:.1f}, {known.high:.1f}]"
    return f"{known.mean:.1f}{interval}{few}"


def _name(kind: int, amount: float) -> str:
    return list(KINDS.values())[kind][1].format(amount)
