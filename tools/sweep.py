"""Many runs, tasks x methods x seeds, on this machine or on a cluster, with Ray.

    clion-sweep --logdir=logdir/sweep --tasks=walker_walk,hopper_stand \\
        --methods=clion,dreamer,doubled_dreamer --seeds=10 --flagfile=table1_rotation
    clion-sweep ... --address=auto --cpus=4 --gpus=1
    clion-sweep --logdir=logdir/sweep --gather

A run is a process of its own in FOLDER/task/method/seed0, with its output in FOLDER/logs; it goes
on from its checkpoint when it fails, is killed or loses its machine, elsewhere if need be. A method
is a preset (clion, dreamer, doubled_dreamer, ablation_..., control_...) or a flagfile's path.
--flagfile, --set and what follows -- are options of all runs: sizes, lengths, rotation; a method
wins over them, and doubled_dreamer has twice the batch that they give. FOLDER must be on storage
that all machines share.

Ctrl-C stops the runs, which save; the same command resumes what is unfinished. In the
end, and with --gather alone at any time, FOLDER/results gets curve files, tables and report.html.

Exit code 0 when all runs are done, 1 if some failed, 2 if something was refused, 130 or 143 if
stopped by Ctrl-C or SIGTERM. Needs the extra: pip install 'clion_tf[sweep]'.
"""

import argparse
import pathlib
import shlex
import sys
from collections.abc import Sequence

from clion_tf import command
from clion_tf.analysis import tool_checks
from clion_tf.command import UsageError
from clion_tf.console import EXIT_SIGNAL, Refused
from clion_tf.files import user_path
from clion_tf.sweep import job as states
from clion_tf.sweep.job import Job
from clion_tf.sweep.sweep_plan import check_folders, check_tasks, plan_runs
from clion_tf.sweep.sweep_runner import RESULTS, make_runs, write_results


@command.tool("sweep")
def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    end = words.index("--") if "--" in words else len(words)
    options = _parser().parse_args(words[:end])
    root = user_path(options.logdir).absolute()
    if options.gather:
        check_folders(root, ())
        _gather(root)
        return command.OK
    jobs = plan_runs(
        root,
        *(_names(options, name) for name in ("tasks", "methods")),
        _seeds(options.seeds),
        [
            *(f"--flagfile={x}" for x in options.flagfile),
            *options.set,
            *words[end + 1 :],
        ],
    )
    check_folders(root, jobs)
    for job in jobs:
        job.read_at_start()
    unfinished = [job for job in jobs if job.state not in states.OVER]
    check_tasks(dict.fromkeys(job.config.task for job in unfinished))
    if options.dry_run:
        _describe(jobs)
        return command.OK
    _check_resources(options)
    resources = options.cpus, options.gpus
    stopped = unfinished and make_runs(jobs, root, *resources, options.address, options.retries)
    return _finish(root, jobs, stopped)


def _finish(root: pathlib.Path, jobs: Sequence[Job], stopped: int) -> int:
    """Says how it ended; gathers unless it was stopped; returns the exit code."""
    if stopped:
        script = sys.argv[0].endswith(".py")  # Or the installed command.
        again = shlex.join([sys.executable, *sys.argv] if script else sys.argv)
        sys.stderr.write(f"stopped; to resume what is unfinished: {again}\n")
        return EXIT_SIGNAL + stopped
    failed = [job for job in jobs if job.state == states.GIVEN_UP]
    for job in failed:
        sys.stderr.write(f"sweep: failed: {job.name}: {job.problem}\n")
    code = command.FAILED if failed else command.OK
    try:
        _gather(root)
    except Refused as error:  # No run got as far as a return.
        sys.stderr.write(f"sweep: warning: nothing gathered: {error}\n")
    except OSError as error:
        sys.stderr.write(f"sweep: error: nothing gathered: {error}\n")
        code = command.FAILED
    return code


def _gather(root: pathlib.Path) -> None:
    for line in write_results(root, command.progress):
        sys.stderr.write(f"sweep: warning: {line}\n")
    print(f"{root / RESULTS}: curves, table.md, table.csv, report.html")


def _describe(jobs: Sequence[Job]) -> None:
    """What would be done: a line and a command for each run."""
    for job in jobs:
        print(f"# {job.name}: {job.state}, {job.steps:,} environment steps")
        print(shlex.join(["python", "-m", "clion_tf.run", *job.words]))
    steps = sum(job.left for job in jobs)
    done = sum(job.state == states.DONE for job in jobs)
    print(f"# {len(jobs)} runs, {done} done; {steps:,} environment steps to make")


def _check_resources(options: argparse.Namespace) -> None:
    for name in ("cpus", "gpus"):
        value = getattr(options, name)
        if value > 1 and value != int(value):
            raise UsageError(f"--{name}={value:g}: above 1 it must be a whole number")


def _names(options: argparse.Namespace, name: str) -> list[str]:
    given = getattr(options, name)
    if not given:
        raise UsageError(f"say which --{name}")
    return [word.strip() for word in given.split(",") if word.strip()]


def _seeds(text: str) -> list[int]:
    """`10` is seeds 0 to 9; `0,3,7` are those; `3,` is seed 3."""
    try:
        if "," not in text:
            return list(range(command.positive(text)))
        return [tool_checks.count(word) for word in text.split(",") if word.strip()]
    except ValueError as error:
        raise UsageError(f"--seeds={text}: a number of seeds, or seeds such as 0,3,7") from error


def _parser() -> argparse.ArgumentParser:
    parser = command.parser("sweep", __doc__, allow_abbrev=False)
    add = parser.add_argument
    some = {"action": "append", "default": []}
    add("--logdir", required=True, metavar="FOLDER", help="folder of all runs")
    add("--tasks", metavar="TASK,TASK", help="as --task of a run")
    add("--methods", metavar="NAME,NAME", help="presets, or paths of flagfiles")
    add("--seeds", default="1", metavar="N", help="how many, or which: 0,3,7")
    add("--flagfile", metavar="FILE", help="of all runs; repeatable", **some)
    text = "of all runs, as --set=--steps=50000; repeatable; or all of them after --"
    add("--set", metavar="--OPTION=VALUE", help=text, **some)
    add("--address", default="", metavar="auto", help="of a running Ray; default: one of its own")
    amount = tool_checks.more_than_zero
    add("--cpus", type=amount, default=2.0, metavar="N", help="of a run, default 2")
    text, amount = "of a run, default 0; 0.5: two runs share one", tool_checks.not_negative
    add("--gpus", type=amount, default=0.0, metavar="N", help=text)
    text = "failures in a row, without getting further, after which a run is given up; default 3"
    add("--retries", type=tool_checks.count, default=3, metavar="N", help=text)
    add("--dry_run", action="store_true", help="print the runs and their commands")
    add("--gather", action="store_true", help="only gather results of what is there")
    return parser


if __name__ == "__main__":
    sys.exit(main())
