"""What becomes of runs, and a table of it. Knows Ray by its cluster only.

Retries are counted here, so that an attempt that fails and one whose machine dies count alike.
"""

import contextlib
import dataclasses
import datetime
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TextIO

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from clion_tf.console import REFUSED
from clion_tf.sweep.job import DONE, GIVEN_UP, OVER, RUNNING, STOPPED, WAITING, Job

POLL = 1.0  # Seconds.
RETRY_DELAY = 30.0  # Seconds; k - 1 times this pass before retry k, so the first starts at once.
SUMMARY_EVERY = 60.0  # Seconds, where there is no terminal.
COLUMNS = ("run", "node", "state", "steps", "return", "test", "steps/s", "left")
# In the order of what to see first where not all fit.
COLOURS = {GIVEN_UP: "red", RUNNING: "green", WAITING: "", STOPPED: "yellow", DONE: "dim"}

Show = Callable[[Sequence[Job]], None]


@dataclasses.dataclass
class Schedule:
    """Makes runs until each is over."""

    jobs: Sequence[Job]  # Those that are not done are made.
    cluster: Any  # `sweep_runner.RayCluster`, or what acts as one.
    retries: int  # A run has failed after this many retries in a row without progress.
    show: Show  # Told all jobs, about once a second.
    stopping: Callable[[], bool]  # Answers whether to stop.
    clock: Callable[[], float] = time.monotonic  # Seconds.
    cancelled: bool = False

    def run(self) -> None:
        while going := [job for job in self.jobs if job.state not in OVER]:
            stopping = self.stopping()
            for job in going:
                if job.ticket is None and stopping:
                    job.state = STOPPED
                elif job.ticket is None and job.due <= self.clock():
                    job.mark_log()
                    job.attempts += 1
                    job.ticket = self.cluster.submit(job)
            queued = {job.ticket: job for job in going if job.ticket is not None}
            if stopping and not self.cancelled:
                self.cancelled = True  # Once: runs save and end, which takes a while.
                for ticket in queued:
                    self.cluster.cancel(ticket)
            for ticket in self.cluster.wait(list(queued), POLL):
                self._settle(queued.pop(ticket), *self.cluster.result(ticket))
            for job in queued.values():
                job.find_node()
            # One at a time: files may be long, and far away.
            if running := [job for job in queued.values() if job.node]:
                job = min(running, key=lambda job: job.read_at)
                job.read_at = self.clock()
                job.read()
            self.show(self.jobs)

    def _settle(self, job: Job, code: int, line: str) -> None:
        """What becomes of a run whose attempt is over."""
        job.ticket, job.node, job.state = None, "", WAITING
        job.read()
        if code == 0 or self.stopping():
            job.state = STOPPED if code else DONE
            return
        job.problem = line
        # A machine may be lost any number of times, if only the run gets further in between.
        job.retries = 1 if job.steps > job.best else job.retries + 1
        job.best = max(job.best, job.steps)
        job.due = self.clock() + (job.retries - 1) * RETRY_DELAY
        # One refusal may be the machine's, two before the first step are of the run.
        job.refusals = job.refusals + 1 if code == REFUSED else 0
        if job.retries > self.retries or (job.refusals > 1 and not job.best):
            job.state = GIVEN_UP


@contextlib.contextmanager
def shown_on(stream: TextIO, clock: Callable[[], float] = time.monotonic) -> Iterator[Show]:
    """A function that shows jobs; on a terminal the last table stays."""
    if stream.isatty():
        with Live(console=Console(file=stream), auto_refresh=False) as live:
            yield lambda jobs: live.update(Group(Text(summary(jobs)), table(jobs)), refresh=True)
        return
    states: dict[str, str] = {}
    due = clock() + SUMMARY_EVERY

    def show(jobs: Sequence[Job]) -> None:
        nonlocal due
        for job in jobs:
            # That a run waits is no news before it has begun.
            if state(job) != states.setdefault(job.name, WAITING):
                states[job.name] = state(job)
                stream.write(f"{line(job)}\n")
        if clock() >= due:
            due = clock() + SUMMARY_EVERY
            stream.write(f"{summary(jobs)}\n")
        stream.flush()

    yield show


def state(job: Job) -> str:
    """`running`, or `retry 2` of a run whose last attempts failed."""
    if job.retries and job.state in (WAITING, RUNNING):
        return f"retry {job.retries}" + (", waiting" if job.state == WAITING else "")
    return job.state


def row(job: Job) -> tuple[str, ...]:
    """A line of the table, as `COLUMNS`."""
    returns = [job.metrics.last(key) for key in ("train/return", "test/return")]
    return (
        job.name,
        job.node,
        state(job),
        f"{job.steps:,} / {job.config.steps:,}",
        *("–" if value is None else f"{value:.1f}" for value in (*returns, job.speed or None)),
        duration(job.left / job.speed) if job.speed else "–",
    )


def line(job: Job) -> str:
    """What became of a run, for a log."""
    text = f"{job.name}: {state(job)}"
    if job.node:
        text += f" on {job.node}"
    if job.steps:
        text += f", {job.steps:,} of {job.config.steps:,} steps"
    last = job.metrics.last("test/return")
    if job.state == DONE and last is not None:
        text += f", test return {last:.1f}"
    if job.problem and job.state in (WAITING, GIVEN_UP):
        text += f" (last failure: {job.problem})"
    return text


def summary(jobs: Sequence[Job]) -> str:
    """`2 running, 3 waiting, 1 done; 30,000 of 120,000 steps, about 2:10 left`."""
    counts = {name: sum(job.state == name for job in jobs) for name in COLOURS}
    text = ", ".join(f"{n} {name}" for name, n in counts.items() if n)
    made = sum(min(job.steps, job.config.steps) for job in jobs)
    text += f"; {made:,} of {sum(job.config.steps for job in jobs):,} steps"
    speed = sum(job.speed for job in jobs)
    left = sum(job.left for job in jobs if job.state in (RUNNING, WAITING))
    return text + (f", about {duration(left / speed)} left" if speed and left else "")


def duration(seconds: float) -> str:
    """`1:05` is an hour and five minutes; `2 days, 3:00`."""
    return str(datetime.timedelta(minutes=round(seconds / 60))).removesuffix(":00")


def table(jobs: Sequence[Job]) -> Table:
    """Of all runs; what a terminal has no room for is cut at the end."""
    drawn = Table(box=None, pad_edge=False)
    for number, name in enumerate(COLUMNS):
        drawn.add_column(name, justify="left" if number < 3 else "right", no_wrap=True)
    for job in sorted(jobs, key=lambda job: [*COLOURS].index(job.state)):
        drawn.add_row(*map(Text, row(job)), style=COLOURS[job.state])
    return drawn
