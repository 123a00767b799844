"""All numbers of a run's metrics.jsonl, read once."""

import collections
import dataclasses
import json
import math
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

Points = tuple[np.ndarray, np.ndarray]  # Environment steps and values, float64 [N] each.


@dataclasses.dataclass(frozen=True)
class Metrics:
    """What a run has logged."""

    points: Mapping[str, Points]  # By key, by rising step; only keys that have any.
    damaged: int = 0  # Lines that could not be read; a last one still being written is none.

    def last(self, key: str) -> float | None:
        """The newest value."""
        return float(self.points[key][1][-1]) if key in self.points else None

    def last_step(self) -> int:
        """Environment steps at the newest number, 0 without any."""
        return int(max((xs[-1] for xs, _ in self.points.values()), default=0))

    def total(self, key: str) -> float:
        """The sum of all values."""
        return float(self.points[key][1].sum()) if key in self.points else 0.0


def read(path: pathlib.Path) -> Metrics:
    """The finite numbers of a file; none of a missing one. OSError if it cannot be read."""
    pairs, damaged = collections.defaultdict(list), 0
    lines = path.read_bytes().split(b"\n") if path.is_file() else []
    for number, line in enumerate(lines, 1):
        try:
            entry = json.loads(line, parse_int=float).items()
            numbers = {k: v for k, v in entry if isinstance(v, float) and math.isfinite(v)}
            step = numbers.pop("step")
        except (ValueError, AttributeError, KeyError, RecursionError):
            damaged += bool(line.strip()) and number < len(lines)
            continue
        for key, value in numbers.items():
            pairs[key].append((step, value))
    return Metrics({key: ordered(values) for key, values in pairs.items()}, damaged)


def ordered(pairs: Sequence[tuple[float, float]]) -> Points:
    """(steps, values) by rising step, each step once with the mean of its values."""
    # Several environments, or an evaluation that the original repeats when it is restarted.
    steps, values = np.array(pairs, np.float64).reshape(-1, 2).T
    xs, places = np.unique(steps, return_inverse=True)
    return xs, np.bincount(places, values) / np.bincount(places)
