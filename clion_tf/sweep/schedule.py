"""Which runs wait, go on, are tried again or are over. Ray is used through `Cluster` only."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from clion_tf.sweep.attempt import Ended, Order, final
from clion_tf.sweep.run_progress import NOWHERE, Standing
from clion_tf.sweep.sweep_plan import PlannedRun

WAITING, RUNNING, DONE, FAILED, STOPPED = "waiting", "running", "done", "failed", "stopped"
OVER = (DONE, FAILED, STOPPED)
POLL = 1.0  # Seconds.
RETRY_DELAY = 30.0  # Seconds; the first attempt that follows a failure waits for none.


@dataclasses.dataclass(frozen=True)
class Lost:
    """An attempt of which nothing is known, as its worker or its machine is gone."""

    why: str


@dataclasses.dataclass(frozen=True)
class Seen:
    """What an attempt has reported last: the machine it is on, and where the run stands."""

    attempt: int
    node: str
    standing: Standing


class Cluster(Protocol):
    """What runs attempts."""

    def submit(self, number: int, order: Order) -> Any:
        """Queues an attempt of the run of that number; returns its ticket."""

    def wait(self, tickets: Sequence[Any], seconds: float) -> list[Any]:
        """Tickets of attempts that have ended, after at most so long."""

    def result(self, ticket: Any) -> Ended | Lost:
        """How one ended."""

    def look(self, stop: bool) -> Mapping[int, Seen]:
        """The newest reports by number of the run; with `stop` the attempts are told to stop."""

    def withdraw(self, ticket: Any) -> None:
        """Takes back an attempt that has not begun."""


@dataclasses.dataclass
class Job:
    """A run and how it is getting on.

    Attributes:
      retries: attempts, after the last that got further than those before, that did not.
      attempts: all of them.
      problem: the last line of the last attempt that failed.
    """

    run: PlannedRun
    state: str = WAITING
    node: str = ""
    standing: Standing = NOWHERE
    best: int = 0
    retries: int = 0
    attempts: int = 0
    problem: str = ""


class Schedule:
    """Makes runs until each is over.

    Args:
      jobs: those that are not done are made.
      order: of a job's next attempt, without number and delay.
      retries: how many attempts in a row may get no further before the run has failed.
      show: told all jobs, about once a second.
      stopping: answers whether to stop.
    """

    def __init__(
        self,
        jobs: Sequence[Job],
        cluster: Cluster,
        order: Callable[[Job], Order],
        retries: int,
        show: Callable[[Sequence[Job]], None],
        stopping: Callable[[], bool],
    ):
        self._jobs, self._cluster, self._order = jobs, cluster, order
        self._retries, self._show, self._stopping = retries, show, stopping
        self._tickets: dict[Any, int] = {}
        self._told = False

    def run(self) -> None:
        """Until all jobs are over."""
        for number, job in enumerate(self._jobs):
            if job.state not in OVER:
                self._submit(number)
        while self._tickets:
            for ticket in self._cluster.wait(list(self._tickets), POLL):
                self._settle(self._tickets.pop(ticket), self._cluster.result(ticket))
            self._look()
            self._show(self._jobs)

    def _submit(self, number: int) -> None:
        job = self._jobs[number]
        job.state, job.node = WAITING, ""
        job.attempts += 1
        delay = max(0, job.retries - 1) * RETRY_DELAY
        order = dataclasses.replace(self._order(job), number=job.attempts, delay=delay)
        self._tickets[self._cluster.submit(number, order)] = number

    def _look(self) -> None:
        stop = self._stopping()
        for number, seen in self._cluster.look(stop).items():
            job = self._jobs[number]
            if job.state not in OVER and seen.attempt == job.attempts:
                job.state, job.node = RUNNING, seen.node
                if seen.standing.steps:
                    job.standing = seen.standing
        if stop and not self._told:
            self._told = True
            for ticket, number in self._tickets.items():
                if self._jobs[number].state == WAITING:
                    self._cluster.withdraw(ticket)

    def _settle(self, number: int, ended: Ended | Lost) -> None:
        """An attempt is over: what becomes of the run."""
        job = self._jobs[number]
        if isinstance(ended, Ended) and ended.standing.steps:
            job.standing = ended.standing
        if isinstance(ended, Ended) and (ended.stopped or ended.code == 0):
            job.state = STOPPED if ended.stopped else DONE
            return
        if self._stopping():
            job.state = STOPPED
            return
        job.problem = ended.why if isinstance(ended, Lost) else ended.line
        # A machine may be lost any number of times, if only the run gets further in between.
        further = job.standing.steps > job.best
        job.best = max(job.best, job.standing.steps)
        job.retries = 1 if further else job.retries + 1
        if job.retries > self._retries or (isinstance(ended, Ended) and final(ended)):
            job.state = FAILED
        else:
            self._submit(number)
