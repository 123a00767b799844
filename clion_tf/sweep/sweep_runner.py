"""Makes the runs of a plan by Ray, on one machine or on many, and gathers what they came to."""

import contextlib
import logging
import os
import pathlib
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from clion_tf.analysis.curves import curve_files, learning_curves, score_tables
from clion_tf.analysis.curves.series import warnings
from clion_tf.command import UsageError
from clion_tf.console import FAILED, UserError, stop_signals
from clion_tf.files import atomic_write, python_path
from clion_tf.sweep.job import LOGS, Job, Resources, attempt
from clion_tf.sweep.schedule import Schedule, shown_on

RESULTS = "results"  # Below the sweep's folder.
# Of a Ray of this machine; the store's bytes are about Ray's least, as nothing large travels.
LOCAL = {"include_dashboard": False, "object_store_memory": 80 * 2**20}


def attempt_there(job: Job, given: Resources) -> tuple[int, str]:
    """The task: an attempt on the machine that Ray has chosen."""
    import ray

    node = f"{socket.gethostname()}/{ray.get_runtime_context().get_node_id()[:6]}"
    # Ray cancels by an interrupt, which a cluster that was started in the background would ignore.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    return attempt(job, given, node)


class RayCluster:
    """A running cluster (`auto`: that this machine is part of), or with "" a Ray of this machine.

    Raises UsageError if there is no Ray, no such cluster, or no machine in it that has what is
    given to each attempt; UserError if a Ray of this machine does not start.
    """

    def __init__(self, address: str, given: Resources):
        try:
            import ray
        except ImportError as error:
            raise UsageError(f"{error}; pip install 'clion_tf[sweep]'") from error
        self._ray = ray
        if address not in ("", "auto"):
            _require_answer(address)
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        # Ray leaves CUDA_VISIBLE_DEVICES alone without GPUs: clion_tf.sweep.job sets it then.
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        options = {"log_to_driver": False, "logging_level": logging.ERROR}
        try:
            ray.init(address or "local", **options, **({} if address else LOCAL))
        except Exception as error:  # Among them bare ones, when Ray's own processes do not start.
            reason = " ".join(str(error).split())
            if not address:
                raise UserError(f"Ray does not start here: {reason}") from error
            text = f"cannot join a cluster there ({reason}); with a token, set RAY_AUTH_MODE=token"
            raise UsageError(f"--address={address}: {text}") from error
        self._require_room({"CPU": given.cpus, "GPU": given.gpus})
        options = {"num_cpus": given.cpus, "num_gpus": given.gpus, "max_retries": 0}
        task = ray.remote(attempt_there).options(**options, scheduling_strategy="SPREAD")
        self.submit = lambda job: task.remote(job, given)  # Queues an attempt; returns its ticket.
        self.cancel = ray.cancel  # Takes back an attempt that waits, interrupts one that runs.
        self.close = ray.shutdown  # Ends attempts, and a local Ray with them.

    def _require_room(self, wanted: dict[str, float]) -> None:
        machines = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
        if any(all(m.get(k, 0) >= n for k, n in wanted.items()) for m in machines):
            return
        most = {k: max((m.get(k, 0) for m in machines), default=0) for k in wanted}
        lacking = [f"{n:g} {k} (at most {most[k]:g} there)" for k, n in wanted.items() if n]
        raise UsageError(
            f"--cpus, --gpus: no machine has what a run is to get: {', '.join(lacking)}"
        )

    def wait(self, tickets: Sequence[Any], seconds: float) -> list[Any]:
        """Tickets of attempts that have ended, after at most so long."""
        if not tickets:
            time.sleep(seconds)
            return []
        return self._ray.wait(tickets, num_returns=len(tickets), timeout=seconds)[0]

    def result(self, ticket: Any) -> tuple[int, str]:
        """As of `attempt`; one that was cancelled, or whose machine is lost, has failed."""
        try:
            return self._ray.get(ticket)
        except self._ray.exceptions.RayError as error:
            # Ray explains at length; an error in the task itself comes with its cause.
            cause = getattr(error, "cause", None) or error
            first, *_ = [*str(cause).strip().splitlines(), ""]
            return FAILED, f"{type(cause).__name__}: {first}"


def _require_answer(address: str) -> None:
    """Ray itself would wait for minutes where nothing answers."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()
    except (ValueError, OSError, OverflowError) as error:
        text = f"no such cluster ({error}); use auto on one of its machines, or HOST:PORT"
        raise UsageError(f"--address={address}: {text}") from error


def make_runs(
    jobs: Sequence[Job], root: pathlib.Path, cpus: float, gpus: float, address: str, retries: int
) -> int:
    """Makes all that is not done, showing it on stderr; the jobs' states tell how it went.

    Returns 0, or the number of the signal that it was stopped by. Raises UsageError if the folder
    cannot be written, and what RayCluster raises.
    """
    try:  # That a machine has no such folder shows that it does not share it.
        (root / LOGS).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"--logdir={root}: cannot write there ({error.strerror})") from error
    cluster = RayCluster(address, Resources(cpus, gpus, os.getcwd(), python_path()))
    # Signals last, as Ray sets handlers of its own.
    with contextlib.closing(cluster), shown_on(sys.stderr) as show, stop_signals() as received:
        Schedule(jobs, cluster, retries, show, stopping=lambda: bool(received)).run()
        return received[0] if received else 0


def write_results(root: pathlib.Path, progress: Callable[[str], None]) -> list[str]:
    """Writes `results/` below a sweep's folder, from all runs there, also unfinished ones.

    Returns warnings for readers of averages; raises UsageError if no run has a return yet.
    """
    runs = learning_curves.read_runs([root])
    test = learning_curves.with_returns(runs, "test", [root])
    out = root / RESULTS
    out.mkdir(exist_ok=True)
    curve_files.save(out / "curves", runs)
    from clion_tf.analysis.report import report_page  # matplotlib is slow to load.

    sources = report_page.find([str(root)], {})
    page = report_page.build(sources, root.name or "sweep", media="one", progress=progress)
    tables = "\n".join(map(score_tables.markdown, score_tables.fitting(test)))
    for name, text in (("report.html", page), ("table.md", tables)):
        with atomic_write(out / name) as file:
            file.write(text.encode("utf-8", "replace"))
    score_tables.save(score_tables.make_table(test), out / "table.csv")
    return warnings(test)
