"""A table of runs, drawn anew in place on a terminal; elsewhere a line for what changes."""

import time
from collections.abc import Callable, Sequence
from typing import TextIO

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from clion_tf.sweep.schedule import DONE, FAILED, RUNNING, STOPPED, WAITING, Job

COLUMNS = ("run", "node", "state", "steps", "return", "test", "steps/s", "left")
# What to see first where not all fit.
ORDER = (FAILED, RUNNING, WAITING, STOPPED, DONE)
COLOURS = {FAILED: "red", RUNNING: "green", DONE: "dim", WAITING: "", STOPPED: "yellow"}
SUMMARY_EVERY = 60.0  # Seconds, where there is no terminal.
ABSENT = "–"


class Progress:
    """Shows jobs on a stream; a context manager, on leaving which the last table stays."""

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic):
        self._stream, self._clock = stream, clock
        self._console = Console(file=stream)
        self._live = None
        if stream.isatty():
            self._live = Live(console=self._console, auto_refresh=False)
        self._states: dict[str, str] = {}
        self._summary_at = clock() + SUMMARY_EVERY

    def __enter__(self) -> "Progress":
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *exception) -> None:
        if self._live:
            self._live.stop()

    def show(self, jobs: Sequence[Job]) -> None:
        """The table, or lines of what has changed."""
        if self._live:
            self._live.update(_page(jobs, self._console.height - 4), refresh=True)
            return
        for job in jobs:
            text = state(job)
            # That a run waits is no news before it has begun.
            if text != self._states.setdefault(job.run.name, WAITING):
                self._states[job.run.name] = text
                self._write(line(job))
        if self._clock() >= self._summary_at:
            self._summary_at = self._clock() + SUMMARY_EVERY
            self._write(summary(jobs))

    def _write(self, text: str) -> None:
        self._stream.write(f"{text}\n")
        self._stream.flush()


def state(job: Job) -> str:
    """`running`, or `retry 2` of a run whose last attempts failed."""
    if job.retries and job.state in (WAITING, RUNNING):
        return f"retry {job.retries}" + (", waiting" if job.state == WAITING else "")
    return job.state


def row(job: Job) -> tuple[str, ...]:
    """A line of the table, as `COLUMNS`."""
    now = job.status
    going = job.state == RUNNING
    return (
        job.run.name,
        job.node if going else "",
        state(job),
        f"{now.steps:,} / {job.run.config.steps:,}",
        _number(now.train),
        _number(now.test),
        _number(now.speed) if going else ABSENT,
        duration(remaining(job) / now.speed) if going and now.speed else ABSENT,
    )


def line(job: Job) -> str:
    """What became of a run, for a log."""
    text = f"{job.run.name}: {state(job)}"
    if job.state == RUNNING:
        text += f" on {job.node}"
    if job.status.steps:
        text += f", {job.status.steps:,} of {job.run.config.steps:,} steps"
    if job.state == DONE and job.status.test is not None:
        text += f", test return {job.status.test:.1f}"
    if job.problem and job.state in (WAITING, FAILED):
        text += f" (last failure: {job.problem})"
    return text


def summary(jobs: Sequence[Job]) -> str:
    """`2 running, 3 waiting, 1 done; 30,000 of 120,000 steps, about 2:10 left`."""
    counts = {name: sum(job.state == name for job in jobs) for name in ORDER}
    text = ", ".join(f"{n} {name}" for name, n in counts.items() if n)
    made = sum(min(job.status.steps, job.run.config.steps) for job in jobs)
    text += f"; {made:,} of {sum(job.run.config.steps for job in jobs):,} steps"
    speed = sum(job.status.speed or 0.0 for job in jobs if job.state == RUNNING)
    left = sum(remaining(job) for job in jobs if job.state in (RUNNING, WAITING))
    return text + (f", about {duration(left / speed)} left" if speed and left else "")


def remaining(job: Job) -> int:
    """Environment steps."""
    return max(0, job.run.config.steps - job.status.steps)


def duration(seconds: float) -> str:
    """`1:05` is an hour and five minutes, `2d 03:00` two days and three hours."""
    minutes = round(seconds / 60)
    hours, minutes = divmod(minutes, 60)
    days, rest = divmod(hours, 24)
    return f"{days}d {rest:02}:{minutes:02}" if days else f"{hours}:{minutes:02}"


def table(jobs: Sequence[Job], rows: int) -> Table:
    """So many rows at most: those that one looks for, in the plan's order."""
    shown = sorted(jobs, key=lambda job: ORDER.index(job.state))[:rows]
    drawn = Table(box=None, pad_edge=False)
    for name in COLUMNS:
        right = name in ("steps", "return", "test", "steps/s", "left")
        drawn.add_column(name, justify="right" if right else "left", no_wrap=True)
    for job in jobs:
        if job in shown:
            drawn.add_row(*map(Text, row(job)), style=COLOURS[job.state])
    return drawn


def _page(jobs: Sequence[Job], rows: int) -> Group:
    return Group(table(jobs, max(1, rows)), Text(summary(jobs)))


def _number(value: float | None) -> str:
    return ABSENT if value is None else f"{value:.1f}"
