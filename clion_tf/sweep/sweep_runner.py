"""Makes the runs of a plan, and gathers what the runs of a sweep came to."""

import contextlib
import os
import pathlib
import sys
from collections.abc import Callable, Sequence

from clion_tf.analysis.curves import curve_files, learning_curves, score_tables
from clion_tf.analysis.curves.curve import warnings
from clion_tf.command import UsageError
from clion_tf.console import stop_signals
from clion_tf.files import atomic_write, python_path
from clion_tf.sweep.attempt import Resources
from clion_tf.sweep.progress_table import shown_on
from clion_tf.sweep.ray_cluster import RayCluster
from clion_tf.sweep.schedule import Job, Schedule
from clion_tf.sweep.sweep_plan import LOGS

RESULTS = "results"  # Below the sweep's folder.


def make(
    jobs: Sequence[Job], root: pathlib.Path, cpus: float, gpus: float, address: str, retries: int
) -> int:
    """Makes all that is not done, showing it on stderr; the jobs' states tell how it went.

    Args:
      cpus, gpus: of a run; fractions share one.
      address, retries: see `ray_cluster.RayCluster`, `schedule.Schedule`.

    Returns:
      0, or the number of the signal that it was stopped by.

    Raises:
      UsageError: if the folder cannot be written; and what `RayCluster` raises.
    """
    try:  # That a machine has no such folder shows that it does not share it.
        (root / LOGS).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"--logdir={root}: cannot write there ({error.strerror})") from error
    given = Resources(cpus, gpus, os.getcwd(), python_path())
    with contextlib.ExitStack() as stack:
        cluster = stack.enter_context(contextlib.closing(RayCluster(address, given)))
        cluster.require_room()
        show = stack.enter_context(shown_on(sys.stderr))
        # Last, as Ray sets handlers of its own.
        received = stack.enter_context(stop_signals())
        Schedule(jobs, cluster, retries, show, stopping=lambda: bool(received)).run()
        return received[0] if received else 0


def gather(root: pathlib.Path, progress: Callable[[str], None]) -> list[str]:
    """Writes `results/` below a sweep's folder, from all runs there, also those that go on.

    As `plot.py --save`, `table.py` and `report.py --media=one` do. Returns what a reader of
    averages should be told, a line each; raises UsageError if no run has a return yet.
    """
    if not root.is_dir():
        raise UsageError(f"--logdir={root}: no such folder")
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
    score_tables.save(score_tables.rows(test), out / "table.csv")
    return warnings(test)
