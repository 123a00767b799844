"""The bounds at what a run tells of its errors, and their figure. Imports no TensorFlow."""

import math
import pathlib
from typing import NamedTuple

import numpy as np

from clion_tf.analysis.theory import bounds as theory
from clion_tf.config import Config

LONGEST = 1000  # Steps that the figure shows at most.
# Of a model's errors, the equation that bounds returns by it, a name and a colour.
KINDS = {
    "model": (10, r"model error $\epsilon_m$", "#0072b2"),
    "weighted": (13, r"reweighted model's $\epsilon_w$", "#d55e00"),
}


class Bound(NamedTuple):
    """Eq. 10 or 13 at the corner of the estimates where k* is smallest, or largest."""

    equation: int
    kind: str  # `model` or `weighted`.
    side: str  # `least` or `most`.
    policy_error: float
    model_error: float
    best: float  # k*, infinite where the bound falls for ever.

    def value(self, k, discount: float, reward_max: float) -> np.ndarray:
        """The bound at finite rollout lengths."""
        errors = (self.policy_error, self.model_error)
        return theory.returns_error_bound(k, *errors, discount, reward_max)

    @property
    def best_text(self) -> str:
        """k* in words."""
        return f"{self.best:.0f}" if math.isfinite(self.best) else "infinity"


def corners(found, discount: float) -> list[Bound]:
    """Eq. 10, and with an evaluator eq. 13, each where k* is smallest and where it is largest."""
    lines = []
    for kind, (equation, *_) in KINDS.items():
        low, high = getattr(found.newest, f"{kind}_floor"), getattr(found.newest, kind)
        if high is None:
            continue
        # Floor and estimate come from different samples.
        ends = {"least": (found.replay.policy, max(low, high)), "most": (1.0, min(low, high))}
        for side, errors in ends.items():
            best = float(theory.best_rollout_length(*errors, discount))
            lines.append(Bound(equation, kind, side, *errors, best))
    return lines


def draw(out: pathlib.Path, config: Config, found, lines: list[Bound], reward_max: float) -> None:
    """Left: bounds against k; right: what they are made of, by episode."""
    import matplotlib
    from matplotlib.figure import Figure

    from clion_tf.analysis.curves import curve_plots

    with matplotlib.rc_context(curve_plots.STYLE):
        figure = Figure(figsize=(9.6, 4.8), layout="constrained")
        panels = figure.subplots(1, 2, width_ratios=(1.25, 1))
        _draw_bounds(panels[0], config, lines, reward_max)
        _draw_errors(panels[1], found)
        for axes in panels:  # The legend, where it covers nothing.
            axes.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.15))
    curve_plots.save(figure, out)


def _draw_bounds(axes, config: Config, lines: list[Bound], reward_max: float) -> None:
    """Each bound with its k*, the run's horizon, and where bounds become vacuous."""
    finite = [line.best for line in lines if math.isfinite(line.best)]
    end = min(LONGEST, max(4 * config.horizon, 1.25 * max(finite, default=0)))
    k = np.arange(math.ceil(end) + 1)
    for line in lines:
        color, style = KINDS[line.kind][2], "-" if line.side == "least" else "--"
        # Equal ones must both be seen.
        width = 3.2 if line.kind == "model" else 1.3
        label = f"eq. {line.equation}, k* at {line.side} {line.best_text}: "
        label += rf"$\epsilon_\pi={line.policy_error:.3f}$, $\epsilon'={line.model_error:.3f}$"
        bound = line.value(k, config.discount, reward_max)
        axes.plot(k, bound, style, color=color, linewidth=width, label=label)
        if line.best <= end:
            axes.plot(line.best, bound[int(line.best)], "o", color=color, markersize=3 * width)
    largest = theory.largest_returns_error(config.discount, reward_max)
    axes.axhline(largest, color="black", linewidth=1)
    axes.text(end, largest, "vacuous above ", ha="right", va="bottom", size=8)
    axes.axvline(config.horizon, color="#777777", linewidth=1, linestyle=":")
    place = axes.get_xaxis_transform()  # Steps, and the height of the panel as 1.
    axes.text(config.horizon, 0.97, f" H = {config.horizon}", size=8, va="top", transform=place)
    axes.set(
        yscale="log",
        xlim=(0, end),
        xlabel="rollout length k, agent steps",
        ylabel=rf"bound on the error of returns ($r_{{max}}={reward_max:.3g}$)",
        title="Bounds; dots: their smallest value",
    )


def _draw_errors(axes, found) -> None:
    """Each episode's estimates as intervals from the lower to the upper one."""
    numbers, each = np.array(list(found.episodes)), list(found.episodes.values())
    width = 0.012 * (numbers.max() - numbers.min())
    policy, label = [one.policy for one in each], r"policy divergence $\epsilon_\pi$, at least"
    axes.plot(numbers, policy, "^", color="#4d4d4d", markersize=5, label=label)
    for (kind, (_, label, color)), shift in zip(KINDS.items(), (-width, width), strict=True):
        if getattr(found.newest, kind) is not None:
            ends = np.array([[getattr(one, f"{kind}_floor"), getattr(one, kind)] for one in each])
            axes.vlines(numbers + shift, *ends.T, color=color, linewidth=2.5, label=label)
    axes.axvspan(numbers.max() - 4 * width, numbers.max() + 4 * width, color="#eeeeee", zorder=0)
    axes.set(
        ylim=(0, 1.05),
        xlabel=r"episode; grey: the newest, for $\epsilon'$",
        ylabel="total variation",
        title="Errors, from lower to upper estimate",
    )
