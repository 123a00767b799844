"""Numbers of `judging` for a terminal. Imports no TensorFlow."""

import math
import statistics
from collections.abc import Sequence

COLUMNS = (
    "return", "gain", "gain_error", "image_loss", "kl", "reward_error", "rotated_reward_error",
    "rotation_shift", "decoding_0", "decoding_0.1", "decoding_0.4", "open_loop_error",
    "open_loop_reward_error", "value_error_0", "value_error_0.4", "auc", "rank_correlation", "ess",
)  # fmt: skip


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


def gain(base: Sequence[float], returns: Sequence[float]) -> dict[str, float]:
    """How much higher returns are than a base's, of two episodes or more with the same beginnings.

    Paired, as an easy beginning is one for both: `gain`, the mean of the differences, and
    `gain_error`, its standard error (their standard deviation over the root of their number).
    """
    differences = [mine - its for its, mine in zip(base, returns, strict=True)]
    if len(differences) < 2:
        return {}
    error = statistics.stdev(differences) / math.sqrt(len(differences))
    return {"gain": statistics.fmean(differences), "gain_error": error}


def _short(number: float) -> str:
    return f"{number:.1f}" if abs(number) >= 1000 else f"{number:.4g}"
