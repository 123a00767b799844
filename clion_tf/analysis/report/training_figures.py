"""Figures of what a run has logged while it was trained: which metrics are drawn together."""

import math

from clion_tf.analysis.curves.metrics_files import Metrics
from clion_tf.analysis.report.small_figures import Panel, Picture, draw

# Of a normal density with standard deviation 1, which Dreamer takes for images and rewards.
CONSTANT = 0.5 * math.log(2 * math.pi)
IMAGE = CONSTANT * 64 * 64 * 3
HELD_OUT = "held-out episode"

GROUPS = {
    "World model": [
        Panel(
            f"Image loss − {IMAGE:,.0f} (constant), nats",
            {"image_loss": "training", "heldout_image_loss": HELD_OUT}, constant=IMAGE, log=True,
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
        Panel(
            "Embedding constraint", {"embedding_constraint": "distance", "embed_norm": "norm of e"}
        ),
        Panel("Discount loss, nats", {"pcont_loss": "training"}),
    ],
    "Behaviour": [
        Panel("In imagination", {"imagined_value": "value", "lambda_return": "λ-return"}),
        Panel("Imagined reward", {"imagined_reward": ""}),
        Panel("Entropy of actions, nats", {"action_ent": ""}),
        Panel("Value loss, nats", {"value_loss": ""}),
    ],
    "Evaluator and weights": [
        Panel(
            "Evaluator: mean scores",
            {"evaluator_real": "real", "evaluator_fake": "predicted"}, limits=(0, 1),
        ),
        Panel(
            "Evaluator: accuracy",
            {"evaluator_accuracy": "training", "heldout_evaluator_accuracy": HELD_OUT},
            limits=(0, 1), level=(0.5, ""),
        ),
        Panel(
            "Weights: effective sample size", {"weight_ess": ""}, limits=(0, 1.05), level=(1, "")
        ),
        Panel("Weights: largest (mean: 1)", {"weight_max": ""}, level=(1, "")),
    ],
    "Speed": [Panel("Environment steps per second", {"fps": ""}, limits=(0, None))],
}  # fmt: skip


def figures(metrics: Metrics) -> dict[str, list[Picture]]:
    """Figures by group; only of metrics that a run has, so groups may be empty."""
    return {group: draw(panels, metrics.points) for group, panels in GROUPS.items()}
