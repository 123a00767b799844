"""Makes the runs of a plan: Ray, the schedule and the table of progress put together."""

import contextlib
import os
import pathlib
import sys
from collections.abc import Sequence

from clion_tf.command import UsageError
from clion_tf.console import stop_signals
from clion_tf.sweep import run_progress
from clion_tf.sweep.attempt import Order
from clion_tf.sweep.progress_table import Progress
from clion_tf.sweep.ray_cluster import RayCluster
from clion_tf.sweep.schedule import DONE, WAITING, Job, Schedule
from clion_tf.sweep.sweep_plan import PlannedRun, make_folder

LOGS = "logs"  # Below the sweep's folder: what the runs write to stdout and stderr.


def jobs_of(runs: Sequence[PlannedRun]) -> list[Job]:
    """A job for each run, done if the run is, with the steps that it has made.

    Raises:
      OSError: if a run's metrics cannot be read.
    """
    jobs = []
    for run in runs:
        now = run_progress.read(run.folder)
        state = DONE if run_progress.finished(run.config) else WAITING
        jobs.append(Job(run, state, status=now, best=now.steps))
    return jobs


def make(
    jobs: Sequence[Job], root: pathlib.Path, cpus: float, gpus: float, address: str, retries: int
) -> int:
    """Makes all that is not done, showing it on stderr; the jobs' states tell how it went.

    Args:
      root: the sweep's folder.
      cpus, gpus: of a run; fractions share one.
      address, retries: see `ray_cluster.RayCluster`, `schedule.Schedule`.

    Returns:
      0, or the number of the signal that it was stopped by.

    Raises:
      UsageError: if there is no Ray, no such cluster, no machine large enough, or
        the folder cannot be made.
      Failure: if Ray does not start.
    """
    make_folder(root)
    for job in jobs:
        job.order = Order(
            words=tuple(job.run.words),
            root=root,
            folder=job.run.folder,
            log=(root / LOGS / job.run.name).with_suffix(".log"),
            cpus=cpus,
            gpus=gpus,
            cwd=os.getcwd(),
            python_path=os.environ.get("PYTHONPATH", ""),
        )
    with contextlib.ExitStack() as stack:
        cluster = stack.enter_context(contextlib.closing(RayCluster(address, cpus, gpus)))
        if lacking := cluster.lacking():
            raise UsageError(f"--cpus, --gpus: no machine has what a run is to get: {lacking}")
        progress = stack.enter_context(Progress(sys.stderr))
        # Last, as Ray sets handlers of its own.
        received = stack.enter_context(stop_signals())
        Schedule(jobs, cluster, retries, progress.show, stopping=lambda: bool(received)).run()
        return received[0] if received else 0
