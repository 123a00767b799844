"""Times the parts of training on this machine and prints a table each.

    clion-benchmark train_step --flagfile=cpu
    clion-benchmark env --task=walker_walk

  train_step  one update: time, arithmetic, share of the matrix-product rate, memory, start-up
  profile     where an update's time goes, by kind of operation, and the rate of each
  env         environment steps per second: physics, rendering, transfer, several workers
  replay      batches per second from disk, memory
  policy      latency of one action
  growth      an update's time and memory against batch, horizon and augmented copies
  run         environment steps per second of the whole loop, and where the time goes

Options of training (`--flagfile=...`, `--batch_size=...`) say what is measured. Exit code 0; 1 if
what is measured fails, 2 for options that cannot work.
"""

import argparse
import importlib
import json
import os
import sys
from collections.abc import Sequence

from clion_tf import command
from clion_tf.analysis import tool_checks
from clion_tf.benchmark import machine
from clion_tf.config import parse
from clion_tf.console import quiet_import
from clion_tf.files import atomic_write

# Of each command: its own options with defaults, and help.
OPTIONS = {
    "train_step": {"count": (5, "updates that are timed")},
    "profile": {"count": (3, "updates under the profiler")},
    "env": {"workers": (os.cpu_count(), "most workers"), "count": (100, "agent steps of each")},
    "replay": {"episodes": (20, "episodes on disk"), "count": (40, "batches in each of 5 parts")},
    "policy": {"count": (200, "actions that are timed")},
    "growth": {"count": (5, "updates that are timed at each point")},
    "run": {"count": (2000, "environment steps that are timed")},
}


@command.tool("benchmark")
def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit code."""
    chosen, flags = _parser().parse_known_args(arguments)
    own = {name: getattr(chosen, name) for name in OPTIONS[chosen.command]}
    out = tool_checks.output_file(chosen.json, (".json",), "json") if chosen.json else None
    config = parse(flags)
    if chosen.command != "run":
        tool_checks.world_model(config)
    with quiet_import():
        module = importlib.import_module(f"clion_tf.benchmark.{chosen.command}")
    result = {"machine": machine.describe(), **module.measure(config, **own)}
    _print([("machine", result["machine"]), *module.table(result)])
    if out is not None:
        content = {"command": chosen.command, "flags": flags, **result}
        with atomic_write(out) as file:
            file.write(json.dumps(content, indent=1).encode() + b"\n")
    return command.OK


def _parser() -> argparse.ArgumentParser:
    parser = command.parser("benchmark", __doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, options in OPTIONS.items():
        sub = commands.add_parser(name, help="see above")
        sub.add_argument("--json", metavar="FILE", help="also write the figures to this file")
        for option, (default, text) in options.items():
            sub.add_argument(f"--{option}", type=command.positive, default=default, help=text)
    return parser


def _print(rows: Sequence[tuple[str, str]]) -> None:
    width = max(len(name) for name, _ in rows)
    for name, figure in rows:
        print(f"{name:{width}}  {figure}")


if __name__ == "__main__":
    sys.exit(main())
