"""Figures of what a run has logged and its evaluations have diagnosed: what is drawn together.

Evaluations write `diagnostics/<environment steps>.json`: `learning.update_metrics`, and as
`decoding` the squared error of reconstructions by `sigma` of noise on the memory h.
"""

import json
import math
from typing import Any

import numpy as np

from clion_tf.analysis.curves.metrics_files import Metrics, Points
from clion_tf.analysis.report.small_figures import FIRST, SECOND, FigurePanel, Picture, draw
from clion_tf.logdir.run_folder import RunFolder

# Of a normal density with standard deviation 1, which Dreamer takes for images and rewards.
CONSTANT = 0.5 * math.log(2 * math.pi)
IMAGE = CONSTANT * 64 * 64 * 3
HELD_OUT = "held-out episode"
SHARE = (0, 1)  # Limits of an axis.
COLORS = {"original": FIRST, "augmented": SECOND}  # Of trajectories.
# What reading a file raises that holds something else.
DAMAGE = (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError)

SCORES = {"evaluator_real": "real", "evaluator_fake": "predicted"}
ACCURACY = {"evaluator_accuracy": "training", "heldout_evaluator_accuracy": HELD_OUT}
GROUPS = {
    "World model": [
        FigurePanel(
            f"Image loss − {IMAGE:,.0f} (constant), nats",
            {"image_loss": "training", "heldout_image_loss": HELD_OUT}, constant=IMAGE, log=True,
        ),
        FigurePanel(
            f"Reward loss − {CONSTANT:.3f} (constant), nats",
            {"reward_loss": "training", "heldout_reward_loss": HELD_OUT},
            constant=CONSTANT, log=True,
        ),
        FigurePanel("KL, nats", {"kl": "KL", "div": "with free nats"}),
        FigurePanel("Entropy of s, nats", {"prior_ent": "prior", "post_ent": "posterior"}),
        FigurePanel("Decoding constraint, squared distance", {"decoding_distance": ""}, log=True),
        FigurePanel("Embedding constraint, squared distance", {"embedding_distance": ""}, log=True),
        FigurePanel("Length of the embedding", {"embed_norm": ""}),
        FigurePanel("Discount loss, scaled", {"pcont_loss": "training"}),
    ],
    "Behaviour": [
        FigurePanel("In imagination", {"imagined_value": "value", "lambda_return": "λ-return"}),
        FigurePanel("Imagined reward", {"imagined_reward": ""}),
        FigurePanel("Entropy of actions, nats", {"action_ent": ""}),
        FigurePanel("Value loss, nats", {"value_loss": ""}),
        FigurePanel("Critic loss", {"critic_loss": ""}),
        FigurePanel("Value of recorded actions", {"value": "critic", "target_value": "target"}),
        FigurePanel("Temperature", {"temperature": ""}),
    ],
    "Evaluator and weights": [
        FigurePanel("Evaluator: mean scores", SCORES, limits=SHARE),
        FigurePanel("Evaluator: accuracy", ACCURACY, limits=SHARE, level=(0.5, "")),
        FigurePanel("Weights: effective sample size", {"weight_ess": ""}, limits=(0, 1.05)),
        FigurePanel("Weights: largest (mean: 1)", {"weight_max": ""}, level=(1, "")),
        FigurePanel(
            "Share of weight on augmented trajectories", {"weight_augmented": ""}, limits=SHARE,
            level=(0.5, "all equal, A = 1"),
        ),
    ],
    "Speed": [FigurePanel("Environment steps per second", {"fps": ""}, limits=(0, None))],
}  # fmt: skip
# Of diagnostics.
IMAGINED = "imagined step"
WEIGHTS = [
    FigurePanel(
        f"Weights, {kind} trajectories", {f"{kind}/0.5": "median", f"{kind}/mean": "mean"},
        IMAGINED, (color, "black"), kind, level=(1, ""),
    )
    for kind, color in COLORS.items()
]  # fmt: skip
JUDGED = [
    FigurePanel("Share of weight on augmented, by step", {"share": ""}, IMAGINED, limits=SHARE),
    FigurePanel(
        "Mean score by imagined step", {f"{kind}/score": kind for kind in COLORS}, IMAGINED,
        limits=SHARE,
    ),
    FigurePanel(
        "Share of transitions by score", {"real/share": "real", "fake/share": "predicted"},
        "evaluator's score", filled=True, limits=(0, None),
    ),
    FigurePanel(
        "Mean score by age", {"real/age": "real", "fake/age": "predicted"},
        "steps since the roll began", limits=SHARE,
    ),
]  # fmt: skip
DECODING = FigurePanel(
    "Decoding error, squared, per frame", {"decoding": ""}, "σ of noise on memory h",
    limits=(0, None),
)  # fmt: skip


def training(metrics: Metrics) -> dict[str, list[Picture]]:
    """Figures by group; only of metrics that a run has, so groups may be empty."""
    return {group: draw(panels, metrics.points) for group, panels in GROUPS.items()}


def diagnostics(
    folder: RunFolder, sigma_h: float | None, problems: list[str]
) -> tuple[list[Picture], int | None]:
    """Figures of the newest file that can be read, and its environment steps; None without any.

    What is damaged is left out, and `problems` gets a line for it. `sigma_h`: the noise that the
    decoding constraint was trained with, None without it.
    """
    for path in reversed(folder.diagnostics_files()):
        try:
            entry = json.loads(path.read_bytes())
            steps, parts = int(entry["steps"]), {key: entry.get(key) for key in PARTS}
        except DAMAGE as error:
            problems.append(f"{path.name}: damaged ({error!r})")
            continue
        points: dict[str, Points] = {}
        for key, part in parts.items():
            try:
                if part is not None:
                    points |= {name: _checked(*pair) for name, pair in PARTS[key](part).items()}
            except DAMAGE as error:
                problems.append(f"{path.name}: {key}: damaged ({error!r})")
        # One scale, so that both kinds can be compared.
        highest = [points[key][1] for kind in COLORS if (key := f"{kind}/0.95") in points]
        limits = (0, 1.05 * np.nanmax([1.0, *np.ravel(highest)]))
        at = None if sigma_h is None else (sigma_h, "σ in training")
        weights = [panel._replace(limits=limits) for panel in WEIGHTS]
        pictures = draw([*weights, *JUDGED, DECODING._replace(at=at)], points)
        return pictures, steps if pictures else None
    return [], None


def _checked(xs: Any, ys: Any) -> Points:
    """As float64 [N], null as NaN."""
    xs, ys = np.array(xs, np.float64), np.array(ys, np.float64)
    if xs.ndim != 1 or xs.shape != ys.shape:
        raise ValueError(f"a list of shape {list(ys.shape)}, not {list(xs.shape)}")
    return xs, np.where(np.isfinite(ys), ys, np.nan)


def _weights(weights: dict[str, Any]) -> dict[str, tuple]:
    # Diagnostics of earlier versions began at step 1, and had no shares and scores by step.
    xs = weights.get("first_step", 1) + np.arange(len(weights["original"]["mean"]))
    lines = {}
    for kind in COLORS:
        if own := weights.get(kind):
            lines |= {f"{kind}/{name}": ys for name, ys in own["quantiles"].items()}
            lines |= {f"{kind}/mean": own["mean"], f"{kind}/score": own.get("score")}
    if weights.get("augmented"):
        lines["share"] = weights.get("augmented_share_by_step")
    return {name: (xs, ys) for name, ys in lines.items() if ys}


def _scores(scores: dict[str, Any]) -> dict[str, tuple]:
    found = {}
    for kind in ("real", "fake"):
        share, by_age = scores[kind]["share"], scores[kind]["by_age"]
        found[f"{kind}/share"] = scores["bins"], [*share, share[-1]]
        found[f"{kind}/age"] = np.arange(1, len(by_age) + 1), by_age
    return found


PARTS = {
    "weights": _weights,
    "scores": _scores,
    "decoding": lambda decoding: {"decoding": (decoding["sigma"], decoding["error"])},
}
