"""One page about runs: curves, tables, videos, what the world model and the evaluator do.

    clion-report --logdirs 'logdir/*' --out=report.html
    clion-report --logdirs logdir/walker --curves=dreamer.json --out=walker.html

The page is one file that needs no other, no network and no JavaScript; it can be sent by mail and
read on a phone. For all runs together: learning curves and scores, beside the paper's where runs
are of its Tables 1 or 2, and return against noise where a run's folder holds what tools/evaluate.py
--json wrote, or --robustness names it. For each run: options that differ from the defaults,
progress, where the time goes, the newest evaluation's video, the world model's pictures, losses,
and how the evaluator weights imagination. Runs may be training; what is missing or damaged is shown
as that.

A logdir may be a run of ours or of the original Dreamer, a folder with runs up to three levels
below, a glob of those, or a file made by plot.py --save. Videos and moving pictures are most of
the page, about 4 MB a run: --media=one embeds them for one run of each task and method,
--media=none for none. Exit code 0, or 2 if an argument names nothing that can be read or written.
"""

import argparse
import sys
from collections.abc import Sequence

from clion_tf import command
from clion_tf.analysis import tool_checks
from clion_tf.analysis.curves import learning_curves
from clion_tf.command import UsageError
from clion_tf.files import atomic_write

SUFFIXES = (".html", ".htm")
MEDIA = ("all", "one", "none")


@command.tool("report")
def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit code."""
    options = _parser().parse_args(arguments)
    if not options.logdirs:
        raise UsageError("say what to read: --logdirs")
    out = tool_checks.output_file(options.out, SUFFIXES)
    from clion_tf.analysis.report import report_page  # matplotlib is slow to import.

    found = report_page.find(*learning_curves.arguments(options), options.robustness)
    tasks = sorted({run.curve.task for run in found.runs if run.curve})
    told = f"CLION: {', '.join(tasks[:3])}{', …' * (len(tasks) > 3)}" if tasks else "CLION"
    title = options.title or told
    text = report_page.build(found, title, options.metric, options.media, command.progress)
    content = text.encode("utf-8", "replace")  # A folder's name may be no text.
    with atomic_write(out) as file:
        file.write(content)
    runs = len(found.runs)
    print(f"{out}: {runs} run{'s' * (runs != 1)}, {len(content) / 1e6:.1f} MB")
    if len(content) > report_page.LARGE:
        sys.stderr.write(
            "report: warning: large for a phone; --media=one or --media=none makes it smaller\n"
        )
    return command.OK


def _parser() -> argparse.ArgumentParser:
    parser = command.parser("report", __doc__)
    learning_curves.add_arguments(parser)
    add = parser.add_argument
    add("--out", required=True, metavar="FILE", help="the page, .html")
    text = "files of evaluate.py --json, folders of them, or globs; those in logdirs are found"
    add("--robustness", nargs="+", default=[], metavar="FILE", help=text)
    add("--title", metavar="TEXT", help="by default the tasks")
    add("--media", choices=MEDIA, default="all", help="default all")
    return parser


if __name__ == "__main__":
    sys.exit(main())
