"""Compares this project with the original Dreamer, github.com/danijar/dreamer.

    clion-compare-dreamer parity --golden=tests/golden/clion_e.npz
    clion-compare-dreamer speed --dreamer_dir=DIR --dreamer_python=PYTHON
    clion-compare-dreamer checkpoint --pickle=variables.pkl --logdir=NEW
    clion-compare-dreamer episodes --logdir=OURS --dreamer_episodes=DIR
    clion-compare-dreamer curves --logdir=OURS --dreamer_logdir=DIR --out=c.png

`parity`: are our numbers those of a golden file? One line for each output, gradient and optimiser
step.

`speed`: seconds of an update, the original's and ours as Dreamer, as CLION and as Doubled-Dreamer,
in turn, on the same sizes: those of the flags of `clion_tf.run`, by default the paper's. The
original computes in float32, ours in --precision, 32 by default.

`checkpoint`: makes a logdir, for `clion_tf.run` and all tools, of the original's trained agent. Its
file has weights and the number of steps, no optimiser state. With --episodes training resumes from
its data; else the run first collects seed episodes. All other flags are those of `clion_tf.run`.

`episodes`: does each side read the other's episode files as the same numbers?

`curves`: the returns of both in one figure and one table.

DIR is a checkout of the original, PYTHON can run it: 3.8 with TensorFlow 2.2 and TensorFlow
Probability 0.10. Exit code 0 if all is well, 1 if something differs or fails, 2 for what cannot be.
"""

import argparse
import contextlib
import os
import pathlib
import sys
from collections.abc import Sequence

from clion_tf import command
from clion_tf.analysis import tool_checks
from clion_tf.analysis.curves import score_tables
from clion_tf.analysis.curves.curve import METRICS, OURS, Curve
from clion_tf.analysis.curves.learning_curves import find, paths_of_runs
from clion_tf.analysis.curves.series import warnings
from clion_tf.benchmark import measuring
from clion_tf.command import UsageError, positive
from clion_tf.config import DREAMER, parse
from clion_tf.console import quiet_import
from clion_tf.dreamer import original_process
from clion_tf.files import user_path
from clion_tf.logdir.run_folder import RunFolder

DIFFERENT = 1
DREAMER_MODE = tuple(f"--{name}={value}" for name, value in DREAMER.items())


@command.tool("compare_dreamer")
def main(words: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit code."""
    parser = _parser()
    options, flags = parser.parse_known_args(words)
    if flags and options.command not in (speed, checkpoint):
        parser.error(f"unrecognized arguments: {' '.join(flags)}")
    options.flags = flags
    return options.command(options)


def _parser() -> argparse.ArgumentParser:
    parser = command.parser("compare_dreamer", __doc__)
    commands = parser.add_subparsers(dest="name", required=True)
    trains = {
        "epilog": "all other options are flags of clion_tf.run, such as --flagfile=cpu",
        "allow_abbrev": False,  # An abbreviation could be one of our flags.
    }
    checkout = {"metavar": "DIR", "help": "its checkout"}
    python = {"metavar": "PYTHON", "help": "to run it"}
    some = {"nargs": "+", "required": True}

    def options(function, text, **others):
        sub = commands.add_parser(function.__name__, help=text, **others)
        sub.set_defaults(command=function)
        return sub.add_argument

    add = options(parity, "our numbers against those of golden files")
    add("--golden", metavar="FILE", help=".npz files", **some)

    add = options(speed, "seconds of an update, the original's and ours", **trains)
    add("--dreamer_dir", required=True, **checkout)
    add("--dreamer_python", required=True, **python)
    add("--rounds", type=positive, default=5, help="of all, 5 by default")
    add("--updates", type=positive, default=1, help="of each in a round, 1")
    add("--json", metavar="FILE", help="write all that was measured there")

    add = options(checkpoint, "a logdir of ours from its variables.pkl", **trains)
    add("--pickle", required=True, metavar="FILE", help="its variables.pkl")
    add("--logdir", required=True, metavar="NEW", help="the folder to make")
    add("--episodes", metavar="DIR", help="its episodes, to be copied into NEW")

    add = options(episodes, "does each side read the other's episodes?")
    add("--logdir", metavar="OURS", help="a run of ours")
    add("--dreamer_episodes", metavar="DIR", help="episodes of a run of its")
    add("--dreamer_dir", **checkout)
    add("--dreamer_python", **python)
    add("--count", type=positive, default=5, help="files of each, 5 by default")
    add("--length", type=positive, default=50, help="frames of a sequence, 50")

    add = options(curves, "returns of both in one figure and one table")
    add("--logdir", metavar="DIR", help="runs of ours", **some)
    add("--dreamer_logdir", metavar="DIR", help="its runs", **some)
    add("--out", required=True, metavar="FILE", help="figure: .png, .pdf, .svg")
    add("--table", metavar="FILE", help=".md or .csv; default: print Markdown")
    add("--metric", choices=METRICS, default="test", help="of evaluations or training")
    steps = tool_checks.several(positive)
    add("--steps", type=steps, metavar="N,N", help="rows of the table")
    return parser


def parity(options: argparse.Namespace) -> int:
    """Prints a table for each file."""
    # The reference is float32, which GPUs round more coarsely by default.
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    with quiet_import():
        from clion_tf.dreamer import parity

    held = total = 0
    for path in options.golden:
        rows = list(parity.compare(path))
        if not rows:
            raise UsageError(f"{path}: not a golden file (it has nothing to compare)")
        print_table(path, rows)
        held += sum(row.holds for row in rows)
        total += len(rows)
    verdict = "all hold" if held == total else f"{total - held} DIFFER"
    print(f"{verdict}: {held} of {total} quantities within their tolerance")
    return command.OK if held == total else DIFFERENT


def print_table(path: str, rows: Sequence) -> None:
    """One line for each of `clion_tf.dreamer.parity.Comparison`."""
    width = max(len(row.name) for row in rows)
    print(f"{path}\n{'quantity':{width}}  difference  tolerance  verdict")
    for row in rows:
        verdict = "ok" if row.holds else "DIFFERS"
        print(f"{row.name:{width}}  {row.difference:10.2e}  {row.tolerance:9.0e}  {verdict}")


def speed(options: argparse.Namespace) -> int:
    """Prints a table."""
    checkout, python = user_path(options.dreamer_dir), os.path.expanduser(options.dreamer_python)
    out = user_path(options.json) if options.json else None
    if out and not out.absolute().parent.is_dir():
        raise UsageError(f"--json={options.json}: no such folder")
    # `auto` would give ours a lower precision than the original's on a GPU.
    config = parse(["--precision=32", *options.flags])
    result = measuring.compare(config, checkout, python, options.rounds, options.updates)
    print("\n".join(measuring.table(result)))
    if out:
        tool_checks.write_json(out, result, indent=2)
    return command.OK


def checkpoint(options: argparse.Namespace) -> int:
    """Makes the logdir and says what is in it."""
    config = parse([*DREAMER_MODE, *options.flags, f"--logdir={options.logdir}"])
    pickle = existing(options.pickle, "--pickle", pathlib.Path.is_file)
    episodes = options.episodes and existing(options.episodes, "--episodes", pathlib.Path.is_dir)
    with quiet_import():
        from clion_tf.dreamer import checkpoint_conversion
    path, counters, actions = checkpoint_conversion.convert(config, pickle, episodes or None)
    print(f"{path}: {counters.steps} environment steps, {actions} actions")
    played = counters.steps - counters.begun_at
    print(f"episodes: {counters.episodes}, of {played} environment steps")
    if played < config.prefill:
        print(f"a run begins with seed episodes, up to {config.prefill} environment steps")
    return command.OK


def existing(text: str, option: str, right) -> pathlib.Path:
    """The path, if it is of the right kind."""
    path = user_path(text)
    if not right(path):
        raise UsageError(f"{option}={text}: nothing of that kind there")
    return path


def episodes(options: argparse.Namespace) -> int:
    """Prints a table for each direction."""
    runs_it = bool(options.dreamer_dir)
    if runs_it != bool(options.dreamer_python):
        raise UsageError("--dreamer_dir and --dreamer_python go together")
    if not options.dreamer_episodes and not (options.logdir and runs_it):
        raise UsageError("give --dreamer_episodes, or --logdir, --dreamer_dir and --dreamer_python")
    ours = RunFolder(user_path(options.logdir)).episodes if options.logdir else None
    its = user_path(options.dreamer_episodes) if options.dreamer_episodes else None
    files = {
        title: original_process.some_files(folder, options.count)
        for title, folder in (("our files", ours), ("the original's files", its))
        if folder and (runs_it or folder is its)
    }
    original, agree = None, True
    with contextlib.ExitStack() as stack:
        if runs_it:
            checkout, python = user_path(options.dreamer_dir), options.dreamer_python
            original = original_process.original(
                checkout, "tools.py", os.path.expanduser(python), "episodes"
            )
            stack.callback(original.close)
        for title, paths in files.items():
            lines, same = original_process.compare_episodes(title, paths, original, options.length)
            print("\n".join(lines), end="\n\n")
            agree &= same
    print("all agree" if agree else "something DIFFERS")
    return command.OK if agree else DIFFERENT


def curves(options: argparse.Namespace) -> int:
    """Writes the figure; prints or writes the table."""
    out = tool_checks.output_file(options.out, tool_checks.FIGURES)
    target = tool_checks.output_file(options.table, score_tables.SUFFIXES, "table")
    found = curves_of_both(options.logdir, options.dreamer_logdir, options.metric)
    for line in warnings(found):
        sys.stderr.write(f"compare_dreamer: warning: {line}\n")
    table = score_tables.make_table(found, "plain", options.steps)
    from clion_tf.analysis.curves import curve_plots  # matplotlib is slow to load.

    curve_plots.save(curve_plots.learning_curves(found, metric=options.metric), out)
    if target is None:
        print(score_tables.markdown(table), end="")
    else:
        score_tables.save(table, target)
    return command.OK


def curves_of_both(ours: Sequence[str], its: Sequence[str], metric: str) -> list[Curve]:
    """The curves that the options name.

    One of the original whose folders do not name task, method and seed, as its README has them
    (`dmc_walker_walk/dreamer/0`), is taken to be of our runs' task.
    """
    found = find(ours, metric)
    if odd := [curve.source for curve in found if curve.kind != OURS]:
        raise UsageError(f"--logdir: {odd[0]} is no run of clion_tf")
    tasks = {curve.task for curve in found}
    paths = paths_of_runs(its)
    if not paths:
        raise UsageError(f"--dreamer_logdir: no run in {', '.join(its)}")
    for number, path in enumerate(paths):
        try:
            theirs = find([path], metric)
        except UsageError as error:
            # Only what the folder's names do not say is added here.
            if "say --label" not in str(error) or len(tasks) != 1:
                raise
            (task,) = tasks
            theirs = find([path], metric, {path: f"{task}/Dreamer/{number}"})
        if odd := [curve.source for curve in theirs if curve.kind == OURS]:
            raise UsageError(f"--dreamer_logdir: {odd[0]} is a run of clion_tf")
        found += theirs
    return found


if __name__ == "__main__":
    sys.exit(main())
