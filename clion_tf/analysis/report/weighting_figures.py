"""Figures of how evaluator and memory behave, from a run's newest diagnostics."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes

from clion_tf.analysis.curves.metrics_files import Points
from clion_tf.analysis.report import small_figures
from clion_tf.analysis.report.small_figures import FIRST, SECOND, Line, Picture

ORIGINALS, COPIES = "original", "augmented"
COLORS = {ORIGINALS: FIRST, COPIES: SECOND}
BANDS = (("0.05", "0.95", 0.15, "5–95 %"), ("0.25", "0.75", 0.3, "25–75 %"))  # Of weights.
KINDS = (("real", FIRST, "real"), ("fake", SECOND, "predicted"))  # Of transitions.


def figures(parts: dict[str, Any], sigma_h: float | None = None) -> list[Picture]:
    """Figures of the parts that there are, see `clion_tf.analysis.report.recorded_diagnostics`.

    Args:
      sigma_h: the noise that the decoding constraint was trained with, None without it.
    """
    found = []
    if "weights" in parts:
        weights = parts["weights"]
        kinds = [name for name in COLORS if name in weights]
        xs = steps_of(weights)
        found += [_weights(name, weights, xs) for name in kinds]
        if COPIES in weights and "augmented_share_by_step" in weights:
            shares = [Line(xs, weights["augmented_share_by_step"], SECOND)]
            title = "Share of weight on augmented, by step"
            found.append(small_figures.shares(title, shares, "imagined step"))
        if all("score" in weights[name] for name in kinds):
            scores = [Line(xs, weights[name]["score"], COLORS[name], name) for name in kinds]
            title = "Mean score by imagined step"
            found.append(small_figures.shares(title, scores, "imagined step"))
    if "scores" in parts:
        scores = parts["scores"]
        ages = np.arange(1, scores["real"]["by_age"].size + 1)
        lines = [Line(ages, scores[name]["by_age"], color, label) for name, color, label in KINDS]
        by_age = small_figures.shares("Mean score by age", lines, "steps since the roll began")
        found += [_histogram(scores), by_age]
    if "decoding" in parts:
        found.append(_decoding(parts["decoding"], sigma_h))
    return found


def share(logged: Points | None, recorded: Points, expected: float | None) -> Picture | None:
    """The share of weight on augmented trajectories over training; None if nothing is known.

    Args:
      logged: `weight_augmented` of metrics.jsonl, means over updates.
      recorded: of the diagnostics, one batch each.
      expected: the share if all weights were equal.
    """
    if logged is None and not recorded[0].size:
        return None

    def draw(ax: Axes) -> None:
        if logged is not None:
            small_figures.line(ax, Line(*logged, FIRST, "training"))
        if recorded[0].size:
            style = {"marker": "s", "markersize": 4, "linestyle": "", "label": "evaluations"}
            ax.plot(*recorded, color=SECOND, **style)
        if expected is not None:
            ax.axhline(expected, label="all equal", **small_figures.LEVEL)
        ax.set_ylim(0, 1)
        small_figures.over_steps(ax)

    title = "Share of weight on augmented trajectories"
    return small_figures.panel(title, draw, "environment steps")


def steps_of(weights: dict[str, Any]) -> np.ndarray:
    """The imagined steps that the rows of weights are of, [K]."""
    return weights["first_step"] + np.arange(weights[ORIGINALS]["mean"].size)


def _weights(name: str, weights: dict[str, Any], xs: np.ndarray) -> Picture:
    """Both figures have one scale, so that they can be compared."""
    largest = [weights[key]["quantiles"]["0.95"] for key in COLORS if key in weights]
    top = np.nanmax([1.0, *np.ravel(largest)])
    quantiles, color = weights[name]["quantiles"], COLORS[name]

    def draw(ax: Axes) -> None:
        for low, high, alpha, label in BANDS:
            band = {"color": color, "alpha": alpha, "linewidth": 0, "label": label}
            ax.fill_between(xs, quantiles[low], quantiles[high], **band)
        small_figures.line(ax, Line(xs, quantiles["0.5"], color, "median"))
        ax.plot(xs, weights[name]["mean"], color="black", linewidth=1, linestyle=":", label="mean")
        ax.axhline(1, **small_figures.LEVEL)
        ax.set_ylim(0, 1.05 * top)
        small_figures.over_whole_numbers(ax)

    return small_figures.panel(f"Weights, {name} trajectories", draw, "imagined step")


def _histogram(scores: dict[str, Any]) -> Picture:
    def draw(ax: Axes) -> None:
        for name, color, label in KINDS:
            share = np.nan_to_num(scores[name]["share"])
            label = f"{label}, mean {scores[name]['mean']:.2f}"
            ax.stairs(share, scores["bins"], fill=True, color=color, alpha=0.35, label=label)
            ax.stairs(share, scores["bins"], color=color, linewidth=1.2)
        ax.set_xlim(scores["bins"][0], scores["bins"][-1])
        ax.set_ylim(0, 1.35 * ax.get_ylim()[1])  # Room for the legend.

    return small_figures.panel("Share of transitions by score", draw, "evaluator's score")


def _decoding(decoding: dict[str, Any], sigma_h: float | None) -> Picture:
    def draw(ax: Axes) -> None:
        small_figures.line(ax, Line(decoding["sigma"], decoding["error"], FIRST))
        if sigma_h is not None:
            ax.axvline(sigma_h, label="σ in training", **small_figures.LEVEL)
        ax.set_ylim(0, 1.2 * ax.get_ylim()[1])
        ax.set_xlim(left=0)

    return small_figures.panel("Decoding error, squared, per frame", draw, "σ of noise on memory h")
