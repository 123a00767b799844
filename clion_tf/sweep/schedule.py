"""Which runs wait, go on, are tried again or are over. Knows Ray by its cluster only.

Retries are counted here, not by Ray, so that an attempt that fails and one whose machine dies are
counted and shown alike.
"""

import contextlib
import dataclasses
import time
from collections.abc import Callable, Sequence
from typing import Any

from clion_tf.analysis.curves import metrics_files
from clion_tf.analysis.curves.metrics_files import Metrics
from clion_tf.config import Config
from clion_tf.console import REFUSED
from clion_tf.logdir.checkpoints import CheckpointError, Checkpoints, load_counters
from clion_tf.logdir.run_folder import RunFolder
from clion_tf.sweep.attempt import Ended, node_of
from clion_tf.sweep.sweep_plan import PlannedRun

WAITING, RUNNING, DONE, FAILED, STOPPED = "waiting", "running", "done", "failed", "stopped"
OVER = (DONE, FAILED, STOPPED)
POLL = 1.0  # Seconds.
RETRY_DELAY = 30.0  # Seconds; the first attempt that follows a failure waits for none.

NOTHING = Metrics({})


@dataclasses.dataclass(eq=False)
class Job:
    """A run and how it is getting on."""

    run: PlannedRun
    state: str = WAITING
    metrics: Metrics = NOTHING
    node: str = ""  # The machine that it is on, "" while it waits.
    best: int = 0  # Environment steps at the end of the attempt that got furthest.
    attempts: int = 0
    retries: int = 0  # Of these, those after the last that got further than those before.
    problem: str = ""  # The last line of the last attempt that failed.
    ticket: Any = None  # Of the attempt that is queued or goes on.
    due: float = 0.0  # The time before which no attempt is queued.
    log_size: int = 0  # Bytes of the log before that attempt.
    read_at: float = 0.0  # The time of the last reading of its metrics.

    @property
    def steps(self) -> int:
        """Environment steps that it has logged."""
        return self.metrics.last_step()

    @property
    def left(self) -> int:
        """Those that it is still to make."""
        return max(0, self.run.config.steps - self.steps)

    @property
    def speed(self) -> float:
        """Environment steps a second, as it has logged last; 0 while it waits."""
        return self.metrics.last("fps") or 0.0 if self.state == RUNNING else 0.0

    def read(self) -> None:
        """Where its run stands now; as before, while a file server is away for a moment."""
        with contextlib.suppress(OSError):
            self.metrics = metrics_files.read(RunFolder(self.run.folder).metrics_file)


def jobs_of(runs: Sequence[PlannedRun]) -> list[Job]:
    """A job for each run, done if the run is, with the steps that it has made."""
    jobs = [Job(run, DONE if finished(run.config) else WAITING) for run in runs]
    for job in jobs:
        job.read()
        job.best = job.steps
    return jobs


def finished(config: Config) -> bool:
    """Whether the run's newest checkpoint has all its steps, and the evaluation at the end."""
    for path in Checkpoints.found_in(RunFolder(config.logdir).checkpoints):
        # The run itself falls back to the one before.
        with contextlib.suppress(CheckpointError, OSError):
            at = load_counters(path)
            return at.steps >= config.steps and (at.evaluated_at == at.steps or not at.updates)
    return False


@dataclasses.dataclass
class Schedule:
    """Makes runs until each is over."""

    jobs: Sequence[Job]  # Those that are not done are made.
    cluster: Any  # `ray_cluster.RayCluster`, or what acts as one.
    retries: int  # How many attempts in a row may get no further before the run has failed.
    show: Callable[[Sequence[Job]], None]  # Told all jobs, about once a second.
    stopping: Callable[[], bool]  # Answers whether to stop.
    clock: Callable[[], float] = time.monotonic  # Seconds.
    cancelled: bool = False

    def run(self) -> None:
        """Until all jobs are over."""
        while going := [job for job in self.jobs if job.state not in OVER]:
            if self.stopping():
                self._stop(going)
            else:
                self._submit([j for j in going if j.ticket is None and j.due <= self.clock()])
            queued = {job.ticket: job for job in going if job.ticket is not None}
            for ticket in self.cluster.wait(list(queued), POLL):
                self._settle(queued[ticket], self.cluster.result(ticket))
            self._look([job for job in queued.values() if job.ticket is not None])
            self.show(self.jobs)

    def _submit(self, jobs: Sequence[Job]) -> None:
        for job in jobs:
            job.attempts += 1
            job.log_size = job.run.log.stat().st_size if job.run.log.exists() else 0
            job.ticket = self.cluster.submit(job.run, job.attempts)

    def _stop(self, jobs: Sequence[Job]) -> None:
        """Asked again and again; runs that go on save and end, which takes a while."""
        for job in jobs:
            if job.ticket is None:
                job.state = STOPPED
            elif not self.cancelled:
                self.cluster.cancel(job.ticket)
        self.cancelled = True

    def _look(self, jobs: Sequence[Job]) -> None:
        """Whether what is queued has begun; and where that stands which was read longest ago."""
        for job in jobs:
            job.node = job.node or node_of(job.run.log, job.log_size)
            job.state = RUNNING if job.node else WAITING
        if running := [job for job in jobs if job.node]:
            job = min(running, key=lambda job: job.read_at)
            job.read_at = self.clock()
            job.read()

    def _settle(self, job: Job, ended: Ended) -> None:
        """An attempt is over: what becomes of the run."""
        job.ticket, job.node, job.state = None, "", WAITING
        job.read()
        if ended.code == 0 or self.stopping():
            job.state = STOPPED if ended.code else DONE
            return
        job.problem = ended.line
        # A machine may be lost any number of times, if only the run gets further in between.
        job.retries = 1 if job.steps > job.best else job.retries + 1
        job.best = max(job.best, job.steps)
        job.due = self.clock() + (job.retries - 1) * RETRY_DELAY
        if job.retries > self.retries or ended.code == REFUSED:
            job.state = FAILED
