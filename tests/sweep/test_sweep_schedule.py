"""What becomes of runs, with attempts that end as they are told; and how that is shown."""

import io

import pytest

from clion_tf.sweep import progress_table, schedule
from clion_tf.sweep.attempt import STOPPED, Ended, Order
from clion_tf.sweep.progress_table import Progress, duration, line, row, state, summary
from clion_tf.sweep.run_progress import Standing
from clion_tf.sweep.schedule import Job, Lost, Schedule, Seen
from clion_tf.sweep.sweep_plan import expand


class FakeCluster:
    """Attempts that end one at a time, each run's as its script says."""

    def __init__(self, scripts):
        self._scripts = {number: list(script) for number, script in enumerate(scripts)}
        self.orders, self.withdrawn, self._queue = [], [], []

    def submit(self, number, order):
        self.orders.append((number, order.number, order.delay))
        ticket = (number, order.number)
        self._queue.append(ticket)
        return ticket

    def wait(self, tickets, seconds):
        assert sorted(tickets) == sorted(self._queue)
        ready = next(t for t in self._queue if t in self.withdrawn or self._scripts[t[0]])
        self._queue.remove(ready)
        return [ready]

    def result(self, ticket):
        return STOPPED if ticket in self.withdrawn else self._scripts[ticket[0]].pop(0)

    def look(self, stop):
        return {
            number: Seen(attempt, f"host/{number}", Standing())
            for number, attempt in self._queue
            if self._scripts[number]
        }

    def withdraw(self, ticket):
        self.withdrawn.append(ticket)


def jobs(count=1, steps=1000):
    options = [f"--steps={steps}"]
    return [Job(run) for run in expand("/s", ["walker_walk"], ["clion"], range(count), [], options)]


def play(scripts, retries=3, made=None, stopping=lambda: False, show=lambda jobs: None):
    made = jobs(len(scripts)) if made is None else made
    cluster = FakeCluster(scripts)
    order = Order((), "/s", "/s/run", "/s/log")
    Schedule(made, cluster, lambda job: order, retries, show, stopping).run()
    return made, cluster


def failed(steps=0, code=1, line="broke"):
    return Ended(code, line, Standing(steps))


DONE = Ended(0, "done", Standing(1000))


def test_done_at_once_and_after_failures():
    made, cluster = play([[DONE], [failed(), Lost("machine gone"), DONE]])
    assert [job.state for job in made] == ["done", "done"]
    assert [job.attempts for job in made] == [1, 3]
    # (run, attempt, delay): the first retry comes at once, the next one later.
    assert sorted(cluster.orders) == [(0, 1, 0), (1, 1, 0), (1, 2, 0), (1, 3, 30.0)]


def test_given_up_when_it_gets_no_further():
    (job,), _ = play([[failed(line=f"broke {i}") for i in range(9)]], retries=2)
    assert (job.state, job.attempts, job.problem) == ("failed", 3, "broke 2")
    (job,), _ = play([[failed()]], retries=0)
    assert (job.state, job.attempts) == ("failed", 1)


def test_progress_starts_the_count_anew():
    script = [failed(i * 100) for i in range(1, 9)] + [DONE]
    (job,), cluster = play([script], retries=1)
    assert (job.state, job.attempts) == ("done", 9)
    assert all(delay == 0 for _, _, delay in cluster.orders)
    # Steps made before this sweep are no progress of its own.
    made = jobs()
    made[0].best = 500
    (job,), _ = play([[failed(500), failed(500), DONE]], retries=1, made=made)
    assert job.state == "failed"


def test_refused_is_not_tried_again():
    (job,), cluster = play([[failed(code=2, line="no such task"), DONE]])
    assert (job.state, job.problem, len(cluster.orders)) == ("failed", "no such task", 1)


def test_what_is_done_already_is_not_made():
    made = jobs(2)
    made[0].state = schedule.DONE
    made, cluster = play([[], [DONE]], made=made)
    assert [number for number, *_ in cluster.orders] == [1]


def test_stopping_takes_back_what_waits_and_tries_nothing_again():
    made, cluster = play(
        [[Ended(143, "saved", Standing(300), stopped=True)], [], [failed()]],
        stopping=lambda: True,
    )
    assert [job.state for job in made] == ["stopped"] * 3
    assert cluster.withdrawn and len(cluster.orders) == 3


@pytest.mark.parametrize("state, retries, shown", [
    ("running", 0, "running"), ("running", 2, "retry 2"), ("waiting", 1, "retry 1, waiting"),
    ("done", 2, "done"), ("failed", 4, "failed"),
])  # fmt: skip
def test_state(state, retries, shown):
    (job,) = jobs()
    job.state, job.retries = state, retries
    assert progress_table.state(job) == shown


def running():
    going, waiting, over = jobs(3, steps=100_000)
    going.state, going.node = schedule.RUNNING, "host/1"
    going.standing = Standing(28_000, 51.26, 80.04, 10.0)
    over.state, over.standing = schedule.DONE, Standing(100_000, 1.0, 900.04, 9.0)
    return [going, waiting, over]


def test_row_and_summary():
    going, waiting, over = made = running()
    assert row(going) == (
        "walker_walk/clion/seed0", "host/1", "running", "28,000 / 100,000", "51.3", "80.0", "10.0",
        "2:00",
    )  # fmt: skip
    assert row(waiting)[1:] == ("", "waiting", "0 / 100,000", "–", "–", "–", "–")
    assert row(over)[1:] == ("", "done", "100,000 / 100,000", "1.0", "900.0", "–", "–")
    # 72,000 and 100,000 steps at 10 a second.
    assert summary(made) == (
        "1 running, 1 waiting, 1 done; 128,000 of 300,000 steps, about 4:47 left"
    )
    assert line(over).endswith("seed2: done, 100,000 of 100,000 steps, test return 900.0")


def test_duration():
    assert [duration(s) for s in (20, 90, 3600, 100 * 3600)] == ["0:00", "0:02", "1:00", "4d 04:00"]


def test_lines_where_there_is_no_terminal():
    now, out = [0.0], io.StringIO()
    made = running()
    with Progress(out, lambda: now[0]) as shown:
        shown.show(made)
        shown.show(made)
        assert out.getvalue().splitlines() == [line(made[0]), line(made[2])]
        now[0] = 61.0
        made[1].retries, made[1].problem = 1, "broke"
        shown.show(made)
    assert out.getvalue().splitlines()[2:] == [
        "walker_walk/clion/seed1: retry 1, waiting (last failure: broke)", summary(made),
    ]  # fmt: skip


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_table_on_a_terminal(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setenv("LINES", "7")
    made = running()
    made[1].state, made[1].problem = schedule.FAILED, "broke"
    out = Terminal()
    with Progress(out) as shown:
        shown.show(made)
        first = out.getvalue()
        shown.show(made)
    # Three rows have room: all; what is drawn again begins where it began.
    for job in made:
        assert job.run.name in first and state(job) in first
    assert "\x1b[1A" in out.getvalue()[len(first) :]
    lines = progress_table.table(made, 1)
    assert lines.row_count == 1 and str(next(lines.columns[0].cells)) == made[1].run.name
