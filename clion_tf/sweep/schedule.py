"""Which runs wait, go on, are tried again or are over. Ray is used through its cluster only.

Retries are counted here, not by Ray, so that an attempt that fails and one whose machine dies are
counted and shown alike.
"""

import dataclasses
import time
from collections.abc import Callable, Sequence
from typing import Any

from clion_tf.console import REFUSED
from clion_tf.sweep import run_progress
from clion_tf.sweep.attempt import Ended, Order, node_of
from clion_tf.sweep.run_progress import NOT_BEGUN, RunStatus
from clion_tf.sweep.sweep_plan import PlannedRun

WAITING, RUNNING, DONE, FAILED, STOPPED = "waiting", "running", "done", "failed", "stopped"
OVER = (DONE, FAILED, STOPPED)
POLL = 1.0  # Seconds.
READ_EVERY = 5.0  # Seconds between readings of a run's metrics,
READ_AT_ONCE = 10  # of which so many are read in one look.
RETRY_DELAY = 30.0  # Seconds; the first attempt that follows a failure waits for none.


@dataclasses.dataclass(eq=False)
class Job:
    """A run and how it is getting on.

    Attributes:
      order: of its next attempt, None until it is to be made.
      node: the machine that it is on, "" while it waits.
      best: environment steps at the end of the attempt that got furthest.
      retries: attempts, after the last that got further than those before, that did not.
      attempts: all of them.
      problem: the last line of the last attempt that failed.
      ticket: of the attempt that is queued or goes on.
      due: the time before which no attempt is queued.
      log_size: bytes of the log before that attempt.
      read_at: the time of the last reading of its metrics.
    """

    run: PlannedRun
    state: str = WAITING
    status: RunStatus = NOT_BEGUN
    order: Order | None = None
    node: str = ""
    best: int = 0
    retries: int = 0
    attempts: int = 0
    problem: str = ""
    ticket: Any = None
    due: float = 0.0
    log_size: int = 0
    read_at: float = 0.0


class Schedule:
    """Makes runs until each is over.

    Args:
      jobs: those that are not done are made.
      cluster: `ray_cluster.RayCluster`, or what acts as one.
      retries: how many attempts in a row may get no further before the run has failed.
      show: told all jobs, about once a second.
      stopping: answers whether to stop.
      clock: seconds.
    """

    def __init__(
        self,
        jobs: Sequence[Job],
        cluster: Any,
        retries: int,
        show: Callable[[Sequence[Job]], None],
        stopping: Callable[[], bool],
        clock: Callable[[], float] = time.monotonic,
    ):
        self._jobs, self._cluster = jobs, cluster
        self._retries, self._show, self._stopping = retries, show, stopping
        self._clock = clock
        self._cancelled = False

    def run(self) -> None:
        """Until all jobs are over."""
        while going := [job for job in self._jobs if job.state not in OVER]:
            if self._stopping():
                self._stop(going)
            else:
                self._submit([j for j in going if j.ticket is None and j.due <= self._clock()])
            queued = {job.ticket: job for job in going if job.ticket is not None}
            for ticket in self._cluster.wait(list(queued), POLL):
                self._settle(queued[ticket], self._cluster.result(ticket))
            self._look([job for job in queued.values() if job.ticket is not None])
            self._show(self._jobs)

    def _submit(self, jobs: Sequence[Job]) -> None:
        for job in jobs:
            job.attempts += 1
            job.log_size = job.order.log.stat().st_size if job.order.log.exists() else 0
            order = dataclasses.replace(job.order, number=job.attempts)
            job.ticket = self._cluster.submit(order)

    def _stop(self, jobs: Sequence[Job]) -> None:
        """Asked again and again; runs that go on save and end, which takes a while."""
        for job in jobs:
            if job.ticket is None:
                job.state = STOPPED
            elif not self._cancelled:
                self._cluster.cancel(job.ticket)
        self._cancelled = True

    def _look(self, jobs: Sequence[Job]) -> None:
        """Whether what is queued has begun, and where it stands."""
        for job in jobs:
            job.node = job.node or node_of(job.order.log, job.log_size)
            job.state = RUNNING if job.node else WAITING
        now = self._clock()
        due = [job for job in jobs if job.node and now >= job.read_at + READ_EVERY]
        for job in sorted(due, key=lambda job: job.read_at)[:READ_AT_ONCE]:
            job.read_at = now
            _read(job)

    def _settle(self, job: Job, ended: Ended) -> None:
        """An attempt is over: what becomes of the run."""
        job.ticket, job.node, job.state = None, "", WAITING
        _read(job)
        if ended.code == 0 or self._stopping():
            job.state = STOPPED if ended.code else DONE
            return
        job.problem = ended.line
        # A machine may be lost any number of times, if only the run gets further in between.
        further = job.status.steps > job.best
        job.best = max(job.best, job.status.steps)
        job.retries = 1 if further else job.retries + 1
        job.due = self._clock() + (job.retries - 1) * RETRY_DELAY
        if job.retries > self._retries or ended.code == REFUSED:
            job.state = FAILED


def _read(job: Job) -> None:
    """Where its run stands now; as before, while a file server is away for a moment."""
    try:
        job.status = run_progress.read(job.run.folder)
    except OSError:
        return
