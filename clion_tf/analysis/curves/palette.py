"""Colours of methods in figures."""

import itertools
from collections.abc import Iterable

from clion_tf.analysis.curves import method_names
from clion_tf.analysis.curves.paper_scores import DRQ
from clion_tf.analysis.curves.series import Series, rank

# Okabe and Ito's colours, which colour-blind readers can tell apart; the same for a method always.
COLORS = {
    method_names.CLION: "#d55e00",
    method_names.DREAMER: "#0072b2",
    method_names.DOUBLED: "#56b4e9",
    method_names.CONSTRAINTS: "#009e73",
    method_names.EVALUATOR: "#e69f00",
    method_names.NO_EVALUATOR: "#cc79a7",
    DRQ: "#4d4d4d",
}
OTHER_COLORS = ("#332288", "#999933", "#882255", "#44aa99", "#661100", "#6699cc", "#aa4499")


def colors(series: Iterable[Series]) -> dict[str, str]:
    """A colour for each label: the method's own for the paper's, else one of the others."""
    chosen: dict[str, str] = {}
    others = itertools.cycle(OTHER_COLORS)
    taken = set()
    for one in sorted({s.label: s for s in series}.values(), key=rank):
        own = COLORS.get(one.method)
        # A second of our series of the same method must look different; a published one is dashed.
        if own and (own, one.published) not in taken:
            chosen[one.label] = own
        else:
            chosen[one.label] = next(others)
        taken.add((chosen[one.label], one.published))
    return chosen
