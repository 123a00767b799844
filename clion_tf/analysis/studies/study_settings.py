"""What a setting is, and its numbers for a terminal. Imports no TensorFlow."""

import dataclasses
import math
import statistics
from collections.abc import Mapping, Sequence

from clion_tf.config import Config, parse

# Of an agent that can learn without the others, and their losses.
PARTS = {"model": ("model",), "behaviour": ("actor", "value"), "evaluator": ("evaluator",)}
# Of `judging`, the more telling numbers.
COLUMNS = (
    "return", "gain", "gain_error", "image_loss", "kl", "reward_error", "rotated_reward_error",
    "rotation_shift", "decoding_0", "decoding_0.1", "decoding_0.4", "open_loop_error",
    "open_loop_reward_error", "value_error_0", "value_error_0.4", "auc", "rank_correlation", "ess",
    "augmented_share", "augmented_rank",
)  # fmt: skip
# Options that give the world model's variables their shapes.
MODEL_SIZES = ("deter_size", "stoch_size", "hidden_size", "num_units", "cnn_depth")


def variant(config: Config, words: Mapping[str, str]) -> Config:
    """The options with those of `words` changed, values as on the command line.

    Raises:
      ConfigError: for an unknown option or a value that cannot be.
    """
    given = [f"--{name}={value}" for name, value in dataclasses.asdict(config).items()]
    return parse([*given, *(f"--{name}={value}" for name, value in words.items())])


def table(head: str, found: dict[str, dict[str, float]]) -> list[str]:
    """Lines: what was judged as rows by name, the more telling numbers as columns."""
    columns = [c for c in COLUMNS if any(c in row for row in found.values())]
    rows = [[head, *columns]]
    for name, row in found.items():
        rows.append([name, *(_short(row[c]) if c in row else "-" for c in columns)])
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    first, *rest = widths
    return [
        row[0].ljust(first) + "".join(f"  {c:>{w}}" for c, w in zip(row[1:], rest, strict=True))
        for row in rows
    ]


def mean(trainings: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Numbers by name, their means over trainings."""
    return {name: statistics.fmean(one[name] for one in trainings) for name in trainings[0]}


def gain(base: Sequence[float], returns: Sequence[float]) -> dict[str, float]:
    """How much higher a setting's mean returns are than a base's, a training each, seed by seed.

    `gain`, the mean of the differences, and of two trainings or more `gain_error`, its standard
    error. Episodes of one training say nothing of how another would have gone.
    """
    differences = [mine - its for its, mine in zip(base, returns, strict=True)]
    found = {"gain": statistics.fmean(differences)}
    if len(differences) > 1:
        found["gain_error"] = statistics.stdev(differences) / math.sqrt(len(differences))
    return found


def _short(number: float) -> str:
    return f"{number:.1f}" if abs(number) >= 1000 else f"{number:.4g}"
