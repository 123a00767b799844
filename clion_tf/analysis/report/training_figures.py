"""Figures of what a run has logged while it was trained."""

import dataclasses
import math

import numpy as np
from matplotlib.axes import Axes

from clion_tf.analysis.curves.metrics_files import Metrics
from clion_tf.analysis.report import small_figures
from clion_tf.analysis.report.small_figures import FIRST, SECOND, THIRD, Line, Picture

COLORS = (FIRST, SECOND, THIRD)
# Of a normal density with standard deviation 1, which Dreamer takes for images and rewards.
CONSTANT = 0.5 * math.log(2 * math.pi)
PIXELS = 64 * 64 * 3


@dataclasses.dataclass(frozen=True)
class Panel:
    """Metrics that are drawn together.

    Attributes:
      title: with the unit.
      lines: {key of metrics.jsonl: what to call it}.
      constant: subtracted, because it is most of the value and no error.
      log: with a logarithmic axis, if all values are positive.
      limits: of the axis.
      level: a value to compare with, drawn as a dashed line.
    """

    title: str
    lines: dict[str, str]
    constant: float = 0.0
    log: bool = False
    limits: tuple[float, float] | None = None
    level: float | None = None


HELD_OUT = "held-out episode"
IMAGE = CONSTANT * PIXELS
MODEL = (
    Panel(
        f"Image loss − {IMAGE:,.0f} (constant), nats",
        {"image_loss": "training", "heldout_image_loss": HELD_OUT},
        constant=IMAGE, log=True,
    ),
    Panel(
        f"Reward loss − {CONSTANT:.3f} (constant), nats",
        {"reward_loss": "training", "heldout_reward_loss": HELD_OUT},
        constant=CONSTANT, log=True,
    ),
    Panel("KL, nats", {"kl": "KL", "div": "with free nats"}),
    Panel("Entropy of s, nats", {"prior_ent": "prior", "post_ent": "posterior"}),
    Panel(
        "Decoding constraint, squared error",
        {"decoding_constraint": "from noisy memory"}, log=True,
    ),
    Panel("Embedding constraint", {"embedding_constraint": "distance", "embed_norm": "norm of e"}),
    Panel("Discount loss, nats", {"pcont_loss": "training"}),
)  # fmt: skip
BEHAVIOUR = (
    Panel("In imagination", {"imagined_value": "value", "lambda_return": "λ-return"}),
    Panel("Imagined reward", {"imagined_reward": ""}),
    Panel("Entropy of actions, nats", {"action_ent": ""}),
    Panel("Value loss, nats", {"value_loss": ""}),
)
EVALUATOR = (
    Panel(
        "Evaluator: mean scores",
        {"evaluator_real": "real", "evaluator_fake": "predicted"}, limits=(0, 1),
    ),
    Panel(
        "Evaluator: accuracy",
        {"evaluator_accuracy": "training", "heldout_evaluator_accuracy": HELD_OUT},
        limits=(0, 1), level=0.5,
    ),
    Panel("Weights: effective sample size", {"weight_ess": ""}, limits=(0, 1.05), level=1),
    Panel("Weights: largest (mean: 1)", {"weight_max": ""}, level=1),
)  # fmt: skip
SPEED = (Panel("Environment steps per second", {"fps": ""}, limits=(0, math.nan)),)
GROUPS = {
    "World model": MODEL,
    "Behaviour": BEHAVIOUR,
    "Evaluator and weights": EVALUATOR,
    "Speed": SPEED,
}


def figures(metrics: Metrics) -> dict[str, list[Picture]]:
    """Figures by group; only of metrics that a run has, so groups may be empty."""
    return {
        group: [_figure(panel, metrics) for panel in panels if panel.lines.keys() & metrics.points]
        for group, panels in GROUPS.items()
    }


def _figure(panel: Panel, metrics: Metrics) -> Picture:
    def draw(ax: Axes) -> None:
        smallest = math.inf
        for color, (key, label) in zip(COLORS, panel.lines.items(), strict=False):
            if key in metrics.points:
                xs, ys = metrics.points[key]
                small_figures.line(ax, Line(xs, ys - panel.constant, color, label))
                smallest = min(smallest, float(np.min(ys - panel.constant)))
        if panel.log and smallest > 0:
            small_figures.logarithmic(ax)
        if panel.limits:
            low, high = panel.limits
            ax.set_ylim(low, None if math.isnan(high) else high)
        if panel.level is not None:
            ax.axhline(panel.level, **small_figures.LEVEL)
        small_figures.over_steps(ax)

    return small_figures.panel(panel.title, draw, "environment steps")
