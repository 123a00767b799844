"""Tables of evaluations under noise: how far each kind and amount of it changes returns."""

import collections
import functools
from collections.abc import Mapping, Sequence

from clion_tf.analysis.curves.curve import Curve
from clion_tf.analysis.curves.noise_evaluations import KINDS
from clion_tf.analysis.curves.return_statistics import summary
from clion_tf.analysis.curves.score_tables import MISSING, Table, titled
from clion_tf.analysis.curves.series import Series, pairs

Values = dict[str, dict[str, float]]  # By a method's label and the seed.


def changes(found: Sequence[Series], against: str | None = None) -> Table:
    """A column a method: its return in the evaluations' first cell, and the changes from that.

    Means over trainings (seeds) with their 95 % intervals. With `against`, a method, they are
    differences from that method, seed by seed. The series are `noise_evaluations.all_series`'.
    """
    compared = sorted(pairs(found, against), key=lambda pair: pair[0].rank)
    empty = functools.partial(collections.defaultdict, dict)
    rows: dict[tuple, Values] = collections.defaultdict(empty)  # By what sorts and names a row.
    for one, both in compared:
        *experiment, kind = one.panel.order
        first = experiment[1][kind]
        for curve, base in both:
            mine = _changes(curve, first)
            theirs = _changes(base, first) if base else dict.fromkeys(mine, 0.0)
            for x in mine.keys() & theirs.keys():
                at = (-1, 0.0) if x == first else (kind, x)  # The first cell is of all kinds.
                rows[*experiment, *at][one.label][curve.seed] = mine[x] - theirs[x]
    counts = {
        one.label: max(len(values[one.label]) for values in rows.values() if one.label in values)
        for one, _ in compared
    }
    lines = [(row[0], _name(*row[1:]), *_cells(rows[row], counts)) for row in sorted(rows)]
    notes = (
        "First the return in the first cell, then how far noise changes it: means over trainings, "
        f"number of trainings in brackets, with 95 % intervals. {MISSING}: not evaluated.",
        "Memory noise is in standard deviations of h, unless it is absolute.",
    )
    header = "task", "noise", *(f"{label} ({count})" for label, count in counts.items())
    return Table(titled("Returns under noise", against), header, tuple(lines), notes, ())


def _changes(curve: Curve, first: float) -> dict[float, float]:
    """The return at the first amount, and the changes from there; without what was not played."""
    at = {float(x): float(y) for x, y in zip(curve.xs, curve.ys, strict=True) if y == y}
    return {x: y - (0.0 if x == first else at[first]) for x, y in at.items()}


def _cells(values: Values, counts: Mapping[str, int]) -> list[str]:
    """Of one row; with the number of trainings where it is smaller than the header's."""
    cells = []
    for label, count in counts.items():
        if not (known := list(values.get(label, {}).values())):
            cells.append(MISSING)
            continue
        mean = summary(known)
        interval = "" if mean.low is None else f" [{mean.low:.1f}, {mean.high:.1f}]"
        few = f" ({mean.count})" if mean.count < count else ""
        cells.append(f"{mean.mean:.1f}{interval}{few}")
    return cells


def _name(first: Sequence[float], unit: str, kind: int, amount: float) -> str:
    texts = [text for _, text in KINDS.values()]
    if kind < 0:
        told = [text.format(x) for text, x in zip(texts, first, strict=True) if x]
        return f"{', '.join(told) or 'none'}: return"
    absolute = " (absolute)" if kind == 0 and unit == "absolute" else ""
    return texts[kind].format(amount) + absolute
