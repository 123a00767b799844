"""Colours of methods in figures."""

import itertools
from collections.abc import Iterable

from clion_tf.results import methods
from clion_tf.results.paper import DRQ
from clion_tf.results.series import Series, rank

# Okabe and Ito's colours, which colour-blind readers can tell apart; the same for a method always.
COLORS = {
    methods.CLION: "#d55e00",
    methods.DREAMER: "#0072b2",
    methods.DOUBLED: "#56b4e9",
    methods.CONSTRAINTS: "#009e73",
    methods.EVALUATOR: "#e69f00",
    methods.NO_EVALUATOR: "#cc79a7",
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
