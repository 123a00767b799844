"""What the runs of a sweep came to: curve files, tables and a page, by the tools' own functions."""

import pathlib
from collections.abc import Callable

from clion_tf.analysis.curves import curve_files, learning_curves, score_tables
from clion_tf.analysis.curves.curve import Curve, warnings
from clion_tf.command import UsageError
from clion_tf.files import atomic_write

FOLDER = "results"
CURVES, TABLES, CELLS, PAGE = "curves", "table.md", "table.csv", "report.html"


def gather(root: pathlib.Path, progress: Callable[[str], None] = lambda line: None) -> list[str]:
    """Writes `results/` below a sweep's folder, from all runs there, also those that go on.

    As `plot.py --save`, `table.py` and `report.py --media=one` do.

    Returns:
      What a reader of averages should be told, a line each.

    Raises:
      UsageError: if no run has a return yet.
    """
    if not root.is_dir():
        raise UsageError(f"--logdir={root}: no such folder")
    runs = learning_curves.read_runs([root])
    test = learning_curves.with_returns(runs, "test", [root])
    out = root / FOLDER
    out.mkdir(exist_ok=True)
    curve_files.save(out / CURVES, runs)
    _page(root, out / PAGE, progress)
    _tables(test, out)
    return warnings(test)


def _tables(found: list[Curve], out: pathlib.Path) -> None:
    """Those of the paper's that have a score of ours, and all runs, also as CSV."""
    text = "\n".join(map(score_tables.markdown, score_tables.fitting(found)))
    with atomic_write(out / TABLES) as file:
        file.write(text.encode())
    score_tables.save(score_tables.rows(found), out / CELLS)


def _page(root: pathlib.Path, path: pathlib.Path, progress: Callable[[str], None]) -> None:
    from clion_tf.analysis.report import report_page  # matplotlib is slow to import.
    from clion_tf.analysis.report.report_sources import find

    text = report_page.build(
        find([str(root)], {}), root.name or "sweep", media="one", progress=progress
    )
    with atomic_write(path) as file:
        file.write(text.encode("utf-8", "replace"))
