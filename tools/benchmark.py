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

Options of training (`--flagfile=...`, `--batch_size=...`) say what is measured. Figures are in
seconds (of `policy` and an `agent_step` of `env` in milliseconds), floating-point operations a
second, environment steps a second and GiB (in JSON bytes). Exit code 0; 1 if what is measured
fails, 2 for options that cannot work.
"""

import argparse
import importlib
import os
import sys
from collections.abc import Sequence

from clion_tf import command
from clion_tf.analysis import tool_checks
from clion_tf.benchmark import measuring
from clion_tf.config import parse

# Of each command, a function of the module: its own options with defaults, and help.
COMMANDS = {
    "agent_speed": {
        "train_step": {"count": (5, "updates that are timed")},
        "profile": {"count": (3, "updates under the profiler")},
        "policy": {"count": (200, "actions that are timed")},
        "growth": {"count": (5, "updates that are timed at each point")},
    },
    "loop_speed": {
        "env": {"workers": (os.cpu_count(), "most workers"), "count": (100, "agent steps of each")},
        "replay": {
            "episodes": (20, "episodes on disk"),
            "count": (40, "batches in each of 5 parts"),
        },
        "run": {"count": (2000, "environment steps that are timed")},
    },
}


@command.tool("benchmark")
def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit code."""
    chosen, flags = _parser().parse_known_args(arguments)
    own = {option: getattr(chosen, option) for option in chosen.own}
    out = tool_checks.output_file(chosen.json, (".json",), "json")
    config = parse(flags)
    if chosen.command not in ("run", "env", "replay"):
        tool_checks.require_world_model(config)
    module = importlib.import_module(f"clion_tf.benchmark.{chosen.module}")
    figures = {"machine": measuring.describe(), **getattr(module, chosen.command)(config, **own)}
    print("\n".join(measuring.table(figures)))
    if out is not None:
        tool_checks.write_json(out, {"command": chosen.command, "flags": flags, **figures})
    return command.OK


def _parser() -> argparse.ArgumentParser:
    parser = command.parser("benchmark", __doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for module, functions in COMMANDS.items():
        for name, options in functions.items():
            sub = commands.add_parser(name, help="see above")
            sub.set_defaults(module=module, own=options)
            sub.add_argument("--json", metavar="FILE", help="also write the figures to this file")
            for option, (default, text) in options.items():
                sub.add_argument(f"--{option}", type=command.positive, default=default, help=text)
    return parser


if __name__ == "__main__":
    sys.exit(main())
