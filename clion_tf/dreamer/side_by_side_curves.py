"""Learning curves of our runs and of the original's, for one figure and one table."""

import re
from collections.abc import Iterable, Sequence

from clion_tf.analysis.curves.curve import OURS, Curve
from clion_tf.analysis.curves.learning_curves import find
from clion_tf.command import UsageError


def read(ours: Sequence[str], its: Sequence[str], metric: str = "test") -> list[Curve]:
    """The curves of both.

    Args:
      ours: runs of ours, folders of them, or globs.
      its: the same of the original. One whose folders do not name task, method and seed, as its
        README has them (`dmc_walker_walk/dreamer/0`), is taken to be of our runs' task.
      metric: `test` for returns of evaluations, `train` for those of training episodes.

    Raises:
      UsageError: if one side has no curve, or has runs of the other.
    """
    found = find(ours, metric)
    if odd := [curve.source for curve in found if curve.kind != OURS]:
        raise UsageError(f"--logdir: {odd[0]} is no run of clion_tf")
    for number, pattern in enumerate(its):
        theirs = _original(pattern, metric, {curve.task for curve in found}, number)
        if odd := [curve.source for curve in theirs if curve.kind == OURS]:
            raise UsageError(f"--dreamer_logdir: {odd[0]} is a run of clion_tf")
        found += theirs
    return found


def _original(pattern: str, metric: str, tasks: Iterable[str], number: int) -> list[Curve]:
    try:
        return find([pattern], metric)
    except UsageError as error:
        tasks = list(tasks)
        # Only what the folder's names do not say is added here.
        if not re.search(r"say --label", str(error)) or len(tasks) != 1:
            raise
        return find([pattern], metric, {pattern: f"{tasks[0]}/Dreamer/{number}"})
