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
file has weights and the number of steps, no optimiser state. With --episodes training goes on from
its data; else the run first collects seed episodes. All other flags are those of `clion_tf.run`.

`episodes`: does each side read the other's episode files as the same numbers?

`curves`: the returns of both in one figure and one table.

DIR is a checkout of the original, PYTHON can run it: 3.8 with TensorFlow 2.2 and TensorFlow
Probability 0.10. Exit code 0 if all is well, 1 if something differs or fails, 2 for what cannot be.
"""

import argparse
import os
import pathlib
import sys
from collections.abc import Sequence

from clion_tf import command
from clion_tf.analysis import tool_checks
from clion_tf.analysis.curves import score_tables
from clion_tf.analysis.curves.curve import warnings
from clion_tf.benchmark import speed_versus_original
from clion_tf.command import UsageError
from clion_tf.config import DREAMER, parse
from clion_tf.console import quiet_import
from clion_tf.dreamer import compare_arguments, episode_exchange, side_by_side_curves
from clion_tf.files import user_path
from clion_tf.logdir.run_folder import RunFolder

DIFFERENT = 1
DREAMER_MODE = tuple(f"--{name}={value}" for name, value in DREAMER.items())


@command.tool("compare_dreamer")
def main(words: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit code."""
    options = compare_arguments.parse(__doc__, words)
    commands = {f.__name__: f for f in (parity, speed, checkpoint, episodes, curves)}
    return commands[options.command](options)


def parity(options: argparse.Namespace) -> int:
    """Prints a table for each file."""
    # The reference is float32, which GPUs round more coarsely by default.
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    with quiet_import():
        from clion_tf.dreamer import parity

    held = total = 0
    for path in options.golden:
        try:
            rows = list(parity.compare(path))
        except parity.GoldenError as error:
            raise UsageError(str(error)) from error
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
    checkout = user_path(options.dreamer_dir)
    python = os.path.expanduser(options.dreamer_python)
    table = user_path(options.json) if options.json else None
    if table and not table.absolute().parent.is_dir():
        raise UsageError(f"--json={options.json}: no such folder")
    # `auto` would give ours a lower precision than the original's on a GPU.
    config = parse(["--precision=32", *options.flags])
    try:
        figures = speed_versus_original.compare(
            config, checkout, python, options.rounds, options.updates, command.progress
        )
    except speed_versus_original.VersusError as error:
        raise UsageError(str(error)) from error
    result = speed_versus_original.summary(config, options.updates, figures)
    print("\n".join(speed_versus_original.table(result)))
    if table:
        tool_checks.write_json(table, result, indent=2)
    return command.OK


def checkpoint(options: argparse.Namespace) -> int:
    """Makes the logdir and says what is in it."""
    config = parse([*DREAMER_MODE, *options.flags, f"--logdir={options.logdir}"])
    pickle = existing(options.pickle, "--pickle", pathlib.Path.is_file)
    episodes = options.episodes and existing(options.episodes, "--episodes", pathlib.Path.is_dir)
    with quiet_import():
        from clion_tf.dreamer import checkpoint_conversion
    made = checkpoint_conversion.convert(config, pickle, episodes or None, command.progress)
    counters = made.counters
    print(f"{made.checkpoint}: {counters.steps} environment steps, {made.action_size} actions")
    print(f"episodes: {counters.episodes}, of {made.replay_steps} environment steps")
    if made.replay_steps < config.prefill:
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
    if bool(options.dreamer_dir) != bool(options.dreamer_python):
        raise UsageError("--dreamer_dir and --dreamer_python go together")
    original = None
    if options.dreamer_dir:
        checkout = user_path(options.dreamer_dir)
        original = episode_exchange.Original(checkout, os.path.expanduser(options.dreamer_python))
    ours = RunFolder(user_path(options.logdir)).episodes if options.logdir else None
    its = user_path(options.dreamer_episodes) if options.dreamer_episodes else None
    if not its and not (ours and original):
        raise UsageError("give --dreamer_episodes, or --logdir, --dreamer_dir and --dreamer_python")
    agree = True
    try:
        files = [
            episode_exchange.some_files(folder, options.count) if folder else []
            for folder in (ours, its)
        ]
        for direction in episode_exchange.compare(*files, original, options.length):
            print("\n".join(episode_exchange.table(direction)), end="\n\n")
            agree &= direction.agrees
    except episode_exchange.ExchangeError as error:
        raise UsageError(str(error)) from error
    print("all agree" if agree else "something DIFFERS")
    return command.OK if agree else DIFFERENT


def curves(options: argparse.Namespace) -> int:
    """Writes the figure; prints or writes the table."""
    out = tool_checks.output_file(options.out, (".png", ".pdf", ".svg"))
    target = tool_checks.output_file(options.table, score_tables.SUFFIXES, "table")
    found = side_by_side_curves.read(options.logdir, options.dreamer_logdir, options.metric)
    for line in warnings(found):
        sys.stderr.write(f"compare_dreamer: warning: {line}\n")
    table = score_tables.rows(found, "plain", options.steps)
    from clion_tf.analysis.curves import curve_plots  # matplotlib is slow to import.

    curve_plots.save(curve_plots.learning_curves(found, metric=options.metric), out)
    if target is None:
        print(score_tables.markdown(table), end="")
        return command.OK
    score_tables.save(table, target)
    return command.OK


if __name__ == "__main__":
    sys.exit(main())
