"""Where a run stands, told by its logdir; the run may be going on, here or elsewhere."""

import dataclasses
import pathlib

from clion_tf.analysis.curves import metrics_files
from clion_tf.config import Config
from clion_tf.logdir.checkpoints import CheckpointError, Checkpoints, load_counters
from clion_tf.logdir.run_folder import RunFolder


@dataclasses.dataclass(frozen=True)
class RunStatus:
    """What a run has logged last.

    Attributes:
      steps: environment steps.
      train, test: returns of the last training episode and of the last evaluation, if any.
      speed: environment steps a second in the last line of training metrics, if any.
    """

    steps: int = 0
    train: float | None = None
    test: float | None = None
    speed: float | None = None


NOT_BEGUN = RunStatus()


def read(folder: pathlib.Path) -> RunStatus:
    """Of a run's logdir; all zero where there is no run.

    Raises:
      OSError: if the metrics cannot be read.
    """
    found = metrics_files.read(RunFolder(folder).metrics_file)
    numbers = (found.last(key) for key in ("train/return", "test/return", "fps"))
    return RunStatus(found.last_step(), *numbers)


def finished(config: Config) -> bool:
    """Whether the run's newest checkpoint has all its steps, and the evaluation at the end."""
    for path in Checkpoints.found_in(RunFolder(config.logdir).checkpoints):
        try:
            at = load_counters(path)
        except (CheckpointError, OSError):  # The run itself falls back to the one before.
            continue
        return at.steps >= config.steps and (at.evaluated_at == at.steps or not at.updates)
    return False
