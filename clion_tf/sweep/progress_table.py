"""A table of runs, drawn anew in place on a terminal; elsewhere a line for what changes."""

import contextlib
import datetime
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TextIO

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from clion_tf.sweep.schedule import DONE, FAILED, RUNNING, STOPPED, WAITING, Job

COLUMNS = ("run", "node", "state", "steps", "return", "test", "steps/s", "left")
# In the order of what to see first where not all fit.
COLOURS = {FAILED: "red", RUNNING: "green", WAITING: "", STOPPED: "yellow", DONE: "dim"}
SUMMARY_EVERY = 60.0  # Seconds, where there is no terminal.

Show = Callable[[Sequence[Job]], None]


@contextlib.contextmanager
def shown_on(stream: TextIO, clock: Callable[[], float] = time.monotonic) -> Iterator[Show]:
    """A function that shows jobs; on a terminal the last table stays."""
    if not stream.isatty():
        yield _lines(stream, clock)
        return
    with Live(console=Console(file=stream), auto_refresh=False) as live:

        def show(jobs: Sequence[Job]) -> None:
            rows = max(1, live.console.height - 4)
            live.update(Group(table(jobs, rows), Text(summary(jobs))), refresh=True)

        yield show


def _lines(stream: TextIO, clock: Callable[[], float]) -> Show:
    """Writes a line for each change, and a summary at times."""
    states: dict[str, str] = {}
    due = clock() + SUMMARY_EVERY

    def show(jobs: Sequence[Job]) -> None:
        nonlocal due
        for job in jobs:
            # That a run waits is no news before it has begun.
            if state(job) != states.setdefault(job.run.name, WAITING):
                states[job.run.name] = state(job)
                stream.write(f"{line(job)}\n")
        if clock() >= due:
            due = clock() + SUMMARY_EVERY
            stream.write(f"{summary(jobs)}\n")
        stream.flush()

    return show


def state(job: Job) -> str:
    """`running`, or `retry 2` of a run whose last attempts failed."""
    if job.retries and job.state in (WAITING, RUNNING):
        return f"retry {job.retries}" + (", waiting" if job.state == WAITING else "")
    return job.state


def row(job: Job) -> tuple[str, ...]:
    """A line of the table, as `COLUMNS`."""
    returns = [job.metrics.last(key) for key in ("train/return", "test/return")]
    return (
        job.run.name,
        job.node,
        state(job),
        f"{job.steps:,} / {job.run.config.steps:,}",
        *("–" if value is None else f"{value:.1f}" for value in (*returns, job.speed or None)),
        duration(job.left / job.speed) if job.speed else "–",
    )


def line(job: Job) -> str:
    """What became of a run, for a log."""
    text = f"{job.run.name}: {state(job)}"
    if job.node:
        text += f" on {job.node}"
    if job.steps:
        text += f", {job.steps:,} of {job.run.config.steps:,} steps"
    last = job.metrics.last("test/return")
    if job.state == DONE and last is not None:
        text += f", test return {last:.1f}"
    if job.problem and job.state in (WAITING, FAILED):
        text += f" (last failure: {job.problem})"
    return text


def summary(jobs: Sequence[Job]) -> str:
    """`2 running, 3 waiting, 1 done; 30,000 of 120,000 steps, about 2:10 left`."""
    counts = {name: sum(job.state == name for job in jobs) for name in COLOURS}
    text = ", ".join(f"{n} {name}" for name, n in counts.items() if n)
    made = sum(min(job.steps, job.run.config.steps) for job in jobs)
    text += f"; {made:,} of {sum(job.run.config.steps for job in jobs):,} steps"
    speed = sum(job.speed for job in jobs)
    left = sum(job.left for job in jobs if job.state in (RUNNING, WAITING))
    return text + (f", about {duration(left / speed)} left" if speed and left else "")


def duration(seconds: float) -> str:
    """`1:05` is an hour and five minutes; `2 days, 3:00`."""
    return str(datetime.timedelta(minutes=round(seconds / 60))).removesuffix(":00")


def table(jobs: Sequence[Job], rows: int) -> Table:
    """So many rows at most: those that one looks for, in the plan's order."""
    shown = sorted(jobs, key=lambda job: [*COLOURS].index(job.state))[:rows]
    drawn = Table(box=None, pad_edge=False)
    for number, name in enumerate(COLUMNS):
        drawn.add_column(name, justify="left" if number < 3 else "right", no_wrap=True)
    for job in jobs:
        if job in shown:
            drawn.add_row(*map(Text, row(job)), style=COLOURS[job.state])
    return drawn
