"""Figures of how evaluator and memory behave, from a run's newest diagnostics."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from clion_tf.analysis.curves.metrics_files import Points
from clion_tf.analysis.report import small_figures
from clion_tf.analysis.report.small_figures import FIRST, SECOND, Picture

REAL, FAKE = FIRST, SECOND
ORIGINALS, COPIES = "original", "augmented"
COLORS = {ORIGINALS: FIRST, COPIES: SECOND}


def figures(parts: dict[str, Any], sigma_h: float | None = None) -> list[Picture]:
    """Figures of the parts that there are, see `clion_tf.analysis.report.recorded_diagnostics`.

    Args:
      sigma_h: the noise that the decoding constraint was trained with, None without it.
    """
    found = []
    if "weights" in parts:
        weights = parts["weights"]
        kinds = [name for name in (ORIGINALS, COPIES) if name in weights]
        found += [_weights(name, weights) for name in kinds]
        if "share_by_step" in weights:
            found.append(_share_by_step(weights))
        if all("score" in weights[name] for name in kinds):
            found.append(_scores_by_step(weights, kinds))
    if "scores" in parts:
        found += [_histogram(parts["scores"]), _by_age(parts["scores"])]
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
            small_figures.line(ax, *logged, color=FIRST, label="training")
        if recorded[0].size:
            ax.plot(
                *recorded, color=SECOND, marker="s", markersize=4, linestyle="", label="evaluations"
            )
        if expected is not None:
            ax.axhline(expected, color="#888888", linewidth=0.8, linestyle="--", label="all equal")
        ax.set_ylim(0, 1)
        small_figures.over_steps(ax)

    return small_figures.panel(
        "Share of weight on augmented trajectories", draw, "environment steps"
    )


def _weights(name: str, weights: dict[str, Any]) -> Picture:
    """Both figures have one scale, so that they can be compared."""
    both = [weights[key] for key in ("original", "augmented") if key in weights]
    top = np.nanmax([1.0, *(np.nanmax(_finite(one["quantiles"]["0.95"])) for one in both)])
    color = COLORS[name]

    def draw(ax: Axes) -> None:
        quantiles, mean = weights[name]["quantiles"], weights[name]["mean"]
        xs = _steps(weights)
        for low, high, alpha, label in (
            ("0.05", "0.95", 0.15, "5–95 %"), ("0.25", "0.75", 0.3, "25–75 %"),
        ):  # fmt: skip
            ax.fill_between(
                xs, quantiles[low], quantiles[high], color=color, alpha=alpha, linewidth=0,
                label=label,
            )  # fmt: skip
        small_figures.line(ax, xs, quantiles["0.5"], color, "median")
        ax.plot(xs, mean, color="black", linewidth=1, linestyle=":", label="mean")
        ax.axhline(1, color="#888888", linewidth=0.8, linestyle="--")
        ax.set_ylim(0, 1.05 * top)
        ax.xaxis.set_major_locator(MaxNLocator(8, integer=True))

    return small_figures.panel(f"Weights, {name} trajectories", draw, "imagined step")


def _steps(weights: dict[str, Any]) -> np.ndarray:
    """The imagined steps that the rows of weights are of, [K]."""
    return weights["first_step"] + np.arange(weights[ORIGINALS]["mean"].size)


def _share_by_step(weights: dict[str, Any]) -> Picture:
    def draw(ax: Axes) -> None:
        small_figures.line(ax, _steps(weights), weights["share_by_step"], COLORS[COPIES])
        ax.set_ylim(0, 1)
        ax.xaxis.set_major_locator(MaxNLocator(8, integer=True))

    return small_figures.panel("Share of weight on augmented, by step", draw, "imagined step")


def _scores_by_step(weights: dict[str, Any], kinds: list[str]) -> Picture:
    def draw(ax: Axes) -> None:
        for name in kinds:
            small_figures.line(ax, _steps(weights), weights[name]["score"], COLORS[name], name)
        ax.set_ylim(0, 1)
        ax.xaxis.set_major_locator(MaxNLocator(8, integer=True))

    return small_figures.panel("Mean score by imagined step", draw, "imagined step")


def _finite(values: np.ndarray) -> np.ndarray:
    """Without NaN, 0 if nothing else is there."""
    return np.append(values[np.isfinite(values)], 0.0)


def _histogram(scores: dict[str, Any]) -> Picture:
    def draw(ax: Axes) -> None:
        for name, color, label in (("real", REAL, "real"), ("fake", FAKE, "predicted")):
            share = np.nan_to_num(scores[name]["share"])
            label = f"{label}, mean {scores[name]['mean']:.2f}"
            ax.stairs(share, scores["bins"], fill=True, color=color, alpha=0.35, label=label)
            ax.stairs(share, scores["bins"], color=color, linewidth=1.2)
        ax.set_xlim(scores["bins"][0], scores["bins"][-1])
        ax.set_ylim(0, 1.35 * ax.get_ylim()[1])  # Room for the legend.

    return small_figures.panel("Share of transitions by score", draw, "evaluator's score")


def _by_age(scores: dict[str, Any]) -> Picture:
    def draw(ax: Axes) -> None:
        for name, color, label in (("real", REAL, "real"), ("fake", FAKE, "predicted")):
            ys = scores[name]["by_age"]
            small_figures.line(ax, np.arange(1, ys.size + 1), ys, color, label)
        ax.set_ylim(0, 1)
        ax.xaxis.set_major_locator(MaxNLocator(8, integer=True))

    return small_figures.panel("Mean score by age", draw, "steps since the roll began")


def _decoding(decoding: dict[str, Any], sigma_h: float | None) -> Picture:
    def draw(ax: Axes) -> None:
        small_figures.line(ax, decoding["sigma"], decoding["error"], FIRST)
        if sigma_h is not None:
            ax.axvline(
                sigma_h, color="#888888", linewidth=0.8, linestyle="--", label="σ in training"
            )
        ax.set_ylim(0, 1.2 * ax.get_ylim()[1])
        ax.set_xlim(left=0)

    return small_figures.panel("Decoding error, squared, per frame", draw, "σ of noise on memory h")
