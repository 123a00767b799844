"""Figures of what evaluations of a run have diagnosed: `diagnostics/<environment steps>.json`.

What the numbers are: `learning.update_metrics` has `weights` and `scores`; `decoding` is the
squared error of reconstructions, by `sigma` of noise on the memory h.
"""

import json
import pathlib
from typing import Any

import numpy as np

from clion_tf.analysis.curves.metrics_files import Points
from clion_tf.analysis.report.small_figures import DOTTED, FIRST, SECOND, Panel, Picture, draw
from clion_tf.logdir.run_folder import RunFolder

# What reading a file raises that holds something else.
DAMAGE = (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError)
COLORS = {"original": FIRST, "augmented": SECOND}  # Of trajectories.


def newest(
    folder: RunFolder, sigma_h: float | None, problems: list[str]
) -> tuple[list[Picture], int | None]:
    """Figures of the newest file that can be read, and its environment steps; None without any.

    What is damaged is left out, and `problems` gets a line for it. `sigma_h`: the noise that the
    decoding constraint was trained with, None without it.
    """
    for path in reversed(folder.diagnostics_files()):
        try:
            steps, entry = _read(path)
        except DAMAGE as error:
            problems.append(f"{path.name}: damaged ({error!r})")
            continue
        points: dict[str, Points] = {}
        for part, read in PARTS.items():
            try:
                if part in entry:
                    points |= _checked(read(entry[part]))
            except DAMAGE as error:
                problems.append(f"{path.name}: {part}: damaged ({error!r})")
        pictures = draw(_panels(points, sigma_h), points)
        return pictures, steps if pictures else None
    return [], None


def shares(folder: RunFolder, logged: Points | None, expected: float | None) -> list[Picture]:
    """The share of weight on augmented trajectories over training, if anything is known of it.

    Beside what each evaluation recorded: `logged` with each line of the log, and what is `expected`
    if all weights are equal.
    """
    points = {} if logged is None else {"logged": logged}
    recorded = []
    for path in folder.diagnostics_files():
        try:
            steps, entry = _read(path)
            recorded.append((steps, float(entry["weights"]["augmented_share"])))
        except DAMAGE:
            continue  # `newest` names what matters.
    if recorded:
        points["recorded"] = tuple(np.array(recorded, np.float64).T)
    title = "Share of weight on augmented trajectories"
    lines = {"logged": "training", "recorded": "evaluations"}
    level = None if expected is None else (expected, "all equal")
    return draw([Panel(title, lines, limits=(0, 1), level=level)], points)


def _read(path: pathlib.Path) -> tuple[int, dict[str, Any]]:
    entry = json.loads(path.read_bytes())
    return int(entry["steps"]), {key: part for key, part in entry.items() if part is not None}


def _checked(points: dict[str, tuple]) -> dict[str, Points]:
    """As float64 [N], null as NaN."""
    checked = {}
    for key, pair in points.items():
        xs, ys = (np.array(values, np.float64) for values in pair)
        if xs.ndim != 1 or xs.shape != ys.shape:
            raise ValueError(f"{key}: a list of shape {list(ys.shape)}, not {list(xs.shape)}")
        checked[key] = xs, np.where(np.isfinite(ys), ys, np.nan)
    return checked


def _weights(weights: dict[str, Any]) -> dict[str, tuple]:
    # Diagnostics of earlier versions began at step 1, and had no shares and scores by step.
    xs = weights.get("first_step", 1) + np.arange(len(weights["original"]["mean"]))
    found = {}
    for kind in COLORS:
        if own := weights.get(kind):
            found |= {f"{kind}/{name}": (xs, ys) for name, ys in own["quantiles"].items()}
            found[f"{kind}/mean"] = xs, own["mean"]
            if own.get("score"):
                found[f"{kind}/score"] = xs, own["score"]
    if "augmented/mean" in found and weights.get("augmented_share_by_step"):
        found["share"] = xs, weights["augmented_share_by_step"]
    return found


def _scores(scores: dict[str, Any]) -> dict[str, tuple]:
    found = {}
    for kind in ("real", "fake"):
        share, by_age = scores[kind]["share"], scores[kind]["by_age"]
        found[f"{kind}/share"] = scores["bins"], [*share, share[-1]]
        found[f"{kind}/age"] = np.arange(1, len(by_age) + 1), by_age
    return found


def _decoding(decoding: dict[str, Any]) -> dict[str, tuple]:
    return {"decoding": (decoding["sigma"], decoding["error"])}


PARTS = {"weights": _weights, "scores": _scores, "decoding": _decoding}


def _panels(points: dict[str, Points], sigma_h: float | None) -> list[Panel]:
    imagined, share, panels = "imagined step", (0, 1), []
    # One scale, so that both kinds can be compared.
    highest = [points[f"{kind}/0.95"][1] for kind in COLORS if f"{kind}/0.95" in points]
    weight = (0, 1.05 * np.nanmax([1.0, *np.ravel(highest)]))
    for kind, color in COLORS.items():
        outer = f"{kind}/0.05", f"{kind}/0.95", 0.15, "5–95 %"
        inner = f"{kind}/0.25", f"{kind}/0.75", 0.3, "25–75 %"
        lines = {f"{kind}/0.5": "median", f"{kind}/mean": "mean"}
        how = {"colors": (color, DOTTED), "bands": (outer, inner), "level": (1, "")}
        panels.append(Panel(f"Weights, {kind} trajectories", lines, imagined, limits=weight, **how))
    of_copies = {"colors": (SECOND,), "limits": share}
    scores = {f"{kind}/score": kind for kind in COLORS}
    histogram = {"real/share": "real", "fake/share": "predicted"}
    ages = {"real/age": "real", "fake/age": "predicted"}
    at = None if sigma_h is None else (sigma_h, "σ in training")
    return [
        *panels,
        Panel("Share of weight on augmented, by step", {"share": ""}, imagined, **of_copies),
        Panel("Mean score by imagined step", scores, imagined, limits=share),
        Panel(
            "Share of transitions by score", histogram, "evaluator's score", filled=True, room=1.35
        ),
        Panel("Mean score by age", ages, "steps since the roll began", limits=share),
        Panel(
            "Decoding error, squared, per frame",
            {"decoding": ""},
            "σ of noise on memory h",
            room=1.2,
            at=at,
        ),
    ]
