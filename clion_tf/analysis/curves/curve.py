"""What a learning curve is: the returns of one run, and which run that was."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

OURS, ORIGINAL, PUBLISHED = "clion_tf", "original", "published"


@dataclasses.dataclass(frozen=True, eq=False)
class Curve:
    """Returns of one run.

    Attributes:
      task: as dm_control's `domain_task`.
      method: see `clion_tf.analysis.curves.method_names.describe`, or what a label or a file says.
      seed: as text; files and folders may name it as they like.
      xs: environment steps, float64 [N], rising, N > 0.
      ys: returns, float64 [N], finite.
      source: the folder or the file.
      kind: OURS, ORIGINAL (the original Dreamer's logdir) or PUBLISHED (a file without options).
      setup: what differs from the paper's sizes, "" if nothing.
      rotation, test_rotation: of observations in training and in testing, degrees.
      options: all options of the run, where known.
      version: of clion_tf that made the run, where known (`logdir.code_versions.of_run`).
    """

    task: str
    method: str
    seed: str
    xs: np.ndarray
    ys: np.ndarray
    source: str
    kind: str = OURS
    setup: str = ""
    rotation: float = 0.0
    test_rotation: float = 0.0
    options: Mapping[str, Any] | None = None
    version: str | None = None


def plain_task(name: str) -> str:
    """`walker_walk` of Dreamer's `dmc_walker_walk`."""
    return name.removeprefix("dmc_")
