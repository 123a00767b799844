"""What a setting is, and its numbers for a terminal. Imports no TensorFlow."""

import statistics
from collections.abc import Mapping, Sequence

import scipy  # Its parts load when they are used.

from clion_tf.config import Config, parse, to_flagfile

# {part of an agent that can learn without the others: its losses}.
PARTS = {"model": ("model",), "behaviour": ("actor", "value"), "evaluator": ("evaluator",)}
# Numbers in the table: returns and gains, if episodes were played, and some of `judging`'s.
COLUMNS = (
    "return", "gain", "gain_error", "image_loss", "kl", "reward_error", "rotated_reward_error",
    "rotation_shift", "decoding_0", "decoding_1", "decoding_shift_1", "memory_std",
    "open_loop_error_0", "open_loop_reward_error_0", "open_loop_shift_1", "value_error_0",
    "value_error_1", "auc", "auc_augmented", "rank_correlation", "ess", "augmented_share",
    "augmented_rank",
)  # fmt: skip
# Options that give the world model's variables their shapes.
MODEL_SIZES = ("deter_size", "stoch_size", "hidden_size", "num_units", "cnn_depth")


def variant(config: Config, words: Mapping[str, str]) -> Config:
    """The options with those of `words` changed, values and errors as on the command line."""
    changes = [f"--{name}={value}" for name, value in words.items()]
    return parse([*to_flagfile(config).splitlines(), *changes])


def mean(
    trainings: Sequence[Mapping[str, float]], base: Sequence[Mapping[str, float]] = ()
) -> dict[str, float]:
    """Numbers by name, their means over trainings of a setting, one a seed.

    With a base's trainings, of the same seeds, `gain` is how much higher the setting's `return`s
    are in the mean, and for two trainings or more `gain_error` its standard error. Episodes of one
    training say nothing of how another would have gone.
    """
    found = {name: statistics.fmean(one[name] for one in trainings) for name in trainings[0]}
    gains = [mine["return"] - its["return"] for its, mine in zip(base, trainings, strict=False)]
    if gains:
        found["gain"] = statistics.fmean(gains)
    if len(gains) > 1:
        found["gain_error"] = float(scipy.stats.sem(gains))
    return found


def table(head: str, found: dict[str, dict[str, float]]) -> list[str]:
    """Lines: what was judged as rows by name, the more telling numbers as columns."""
    columns = [c for c in COLUMNS if any(c in row for row in found.values())]
    rows = [[head, *columns]]
    rows += [[name, *(_short(row.get(c)) for c in columns)] for name, row in found.items()]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    rows = [[f"{cell:>{w}}" for cell, w in zip(row, widths, strict=True)] for row in rows]
    return ["  ".join([first.lstrip().ljust(widths[0]), *rest]) for first, *rest in rows]


def _short(number: float | None) -> str:
    if number is None:
        return "-"
    return f"{number:.1f}" if abs(number) >= 1000 else f"{number:.4g}"
