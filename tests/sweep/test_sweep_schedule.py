"""What becomes of runs, with attempts that end as they are told; and how that is shown."""

import errno
import io
import pathlib
import types

import numpy as np
import pytest

from clion_tf.analysis.curves.metrics_files import Metrics
from clion_tf.sweep import job as module
from clion_tf.sweep import schedule
from clion_tf.sweep.schedule import Schedule, duration, line, row, shown_on, state, summary
from clion_tf.sweep.sweep_plan import plan_runs


def standing(steps=0, train=0.0, test=0.0, speed=0.0):
    """Metrics of a run that has logged once."""
    values = {"train/return": train, "test/return": test, "fps": speed}
    points = {key: (np.array([steps]), np.array([value])) for key, value in values.items()}
    return Metrics(points if steps else {})


class FakeCluster:
    """Attempts that end one at a time, each run's as its script says; it keeps the time, too.

    A script has (how the attempt ended, where the run stands then).
    """

    def __init__(self, scripts):
        self._scripts = {str(number): list(script) for number, script in enumerate(scripts)}
        self.orders, self.cancelled, self.standing, self.now = [], [], {}, 0.0

    def submit(self, job):
        self.orders.append((job.config.seed, job.attempts, self.now))
        return str(job.config.seed), job.attempts

    def wait(self, tickets, seconds):
        self.now += seconds
        return [t for t in tickets if t in self.cancelled or self._scripts[t[0]]][:1]

    def result(self, ticket):
        name, _ = ticket
        if ticket in self.cancelled and not self._scripts[name]:
            return (1, "cancelled")
        ended, self.standing[name] = self._scripts[name].pop(0)
        return ended

    def cancel(self, ticket):
        self.cancelled.append(ticket)


def jobs(count=1, steps=1000, root="/s"):
    return plan_runs(
        pathlib.Path(root), ["walker_walk"], ["clion"], range(count), [f"--steps={steps}"]
    )


@pytest.fixture
def play(monkeypatch):
    """Function of scripts: (jobs, cluster) once all are over."""

    def go(scripts, retries=3, made=None, stopping=lambda: False):
        made = jobs(len(scripts)) if made is None else made
        cluster = FakeCluster(scripts)
        names = {str(job.folder): str(job.config.seed) for job in made}
        read = lambda file: cluster.standing.get(names[str(file.parent)], Metrics({}))  # noqa: E731
        monkeypatch.setattr(module, "metrics_files", types.SimpleNamespace(read=read))
        show = lambda jobs: None  # noqa: E731
        Schedule(made, cluster, retries, show, stopping, lambda: cluster.now).run()
        return made, cluster

    return go


def failed(steps=0, code=1, line="broke"):
    return (code, line), standing(steps)


DONE = (0, "done"), standing(1000)


def test_done_at_once_and_after_failures(play):
    made, cluster = play([[DONE], [failed(), failed(line="machine gone"), DONE]])
    assert [job.state for job in made] == ["done", "done"]
    assert [job.attempts for job in made] == [1, 3]
    assert made[1].steps == 1000
    # (run, attempt, when): the first retry comes at once, the next one later.
    at = {(run, attempt): when for run, attempt, when in cluster.orders}
    assert at.keys() == {(0, 1), (1, 1), (1, 2), (1, 3)}
    assert at[1, 2] - at[1, 1] <= 3 and 30 <= at[1, 3] - at[1, 2] <= 33


def test_given_up_when_it_gets_no_further(play):
    (job,), _ = play([[failed(line=f"broke {i}") for i in range(9)]], retries=2)
    assert (job.state, job.attempts, job.problem) == ("failed", 3, "broke 2")
    (job,), _ = play([[failed()]], retries=0)
    assert (job.state, job.attempts) == ("failed", 1)


def test_progress_starts_the_count_anew(play):
    script = [failed(i * 100) for i in range(1, 9)] + [DONE]
    (job,), cluster = play([script], retries=1)
    assert (job.state, job.attempts) == ("done", 9)
    assert cluster.now <= 10
    # Steps made before this sweep are no progress of its own.
    made = jobs()
    made[0].best = 500
    (job,), _ = play([[failed(500), failed(500), DONE]], retries=1, made=made)
    assert job.state == "failed"


def test_refused_twice_is_not_tried_again(play):
    """Once it may be the machine: no OpenGL there, or a card that is busy."""
    refused = failed(code=2, line="no such task")
    (job,), cluster = play([[refused, refused, DONE]])
    assert (job.state, job.problem, len(cluster.orders)) == ("failed", "no such task", 2)
    (job,), _ = play([[refused, failed(), refused, DONE]])
    assert (job.state, job.attempts) == ("done", 4)


def test_a_run_that_has_begun_is_refused_like_any_failure(play):
    refused = failed(300, code=2, line="stale file handle")
    (job,), _ = play([[failed(300), refused, refused, refused, DONE]], retries=4)
    assert (job.state, job.attempts) == ("done", 5)


def test_what_is_done_already_is_not_made(play):
    made = jobs(2)
    made[0].state = module.DONE
    made, cluster = play([[], [DONE]], made=made)
    assert [number for number, *_ in cluster.orders] == [1]


def test_stopping_takes_back_what_waits_and_tries_nothing_again(play):
    looks = iter([False] * 2)
    made, cluster = play(
        [[((143, "saved"), standing(300))], [], [failed()]],
        stopping=lambda: next(looks, True),
    )
    assert [job.state for job in made] == ["stopped"] * 3
    assert cluster.cancelled and len(cluster.orders) == 3
    made, cluster = play([[], []], stopping=lambda: True)  # Before anything was queued.
    assert [job.state for job in made] == ["stopped"] * 2 and not cluster.orders


def test_what_goes_on_is_told_by_its_log_and_its_metrics(monkeypatch, tmp_path):
    """While an attempt waits for its turn, the one of an earlier sweep in its log is not taken."""
    (job,) = jobs(root=tmp_path)
    log = job.log
    log.parent.mkdir(parents=True)
    log.write_text("--- attempt 1 on old/1, long ago\n")
    seen = []

    class Slow(FakeCluster):
        def submit(self, job):
            return 1

        def wait(self, tickets, seconds):
            self.now += 10.0
            if len(seen) == 1:
                log.write_text(log.read_text() + "--- attempt 1 on new/2, now\n[1] train\n")
            return [1] if len(seen) == 3 else []

        def result(self, ticket):
            return DONE[0]

    cluster = Slow([])
    read = lambda file: standing(int(cluster.now))  # noqa: E731
    monkeypatch.setattr(module, "metrics_files", types.SimpleNamespace(read=read))
    show = lambda made: seen.append((job.state, job.node, job.steps))  # noqa: E731
    Schedule([job], cluster, 3, show, lambda: False, lambda: cluster.now).run()
    assert seen == [
        ("waiting", "", 0), ("running", "new/2", 20), ("running", "new/2", 30), ("done", "", 40),
    ]  # fmt: skip


def test_a_file_server_that_is_away_for_a_moment_ends_no_sweep(play, monkeypatch):
    def gone(path, *_, **__):
        raise OSError(errno.EIO, "Input/output error", str(path))

    monkeypatch.setattr(pathlib.Path, "stat", gone)
    made, _ = play([[failed(), DONE], [DONE]])
    assert [(job.state, job.attempts) for job in made] == [("done", 2), ("done", 1)]


@pytest.mark.parametrize("state, retries, shown", [
    ("running", 0, "running"), ("running", 2, "retry 2"), ("waiting", 1, "retry 1, waiting"),
    ("done", 2, "done"), ("failed", 4, "failed"),
])  # fmt: skip
def test_state(state, retries, shown):
    (job,) = jobs()
    job.state, job.retries = state, retries
    assert schedule.state(job) == shown


def running():
    going, waiting, over = jobs(3, steps=100_000)
    going.state, going.node = module.RUNNING, "host/1"
    going.metrics = standing(28_000, 51.26, 80.04, 10.0)
    over.state, over.metrics = module.DONE, standing(100_000, 1.0, 900.04, 9.0)
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
    assert [duration(s) for s in (20, 90, 3600, 100 * 3600)] == [
        "0:00",
        "0:02",
        "1:00",
        "4 days, 4:00",
    ]


def test_lines_where_there_is_no_terminal():
    now, out = [0.0], io.StringIO()
    made = running()
    with shown_on(out, lambda: now[0]) as show:
        show(made)
        show(made)
        assert out.getvalue().splitlines() == [line(made[0]), line(made[2])]
        now[0] = 61.0
        made[1].retries, made[1].problem = 1, "broke"
        show(made)
    assert out.getvalue().splitlines()[2:] == [
        "walker_walk/clion/seed1: retry 1, waiting (last failure: broke)", summary(made),
    ]  # fmt: skip


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_table_on_a_terminal(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setenv("LINES", "9")
    made = running()
    made[1].state, made[1].problem = module.GIVEN_UP, "broke"
    out = Terminal()
    with shown_on(out) as show:
        show(made)
        first = out.getvalue()
        show(made)
    # What is drawn again begins where it began.
    for job in made:
        assert job.name in first and state(job) in first
    assert "\x1b[1A" in out.getvalue()[len(first) :]
    # What one looks for comes first, as there may be no room for all.
    names = [str(cell) for cell in schedule.table(made).columns[0].cells]
    assert names == [made[1].name, made[0].name, made[2].name]
