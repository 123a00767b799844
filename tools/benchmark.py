"""Times the parts of training on this machine and prints a table each.

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

import os
import sys

# inspect.py beside this file has the name of a standard module: no imports from this folder.
if sys.path[0] == os.path.dirname(os.path.realpath(__file__)):
    sys.path.pop(0)

import argparse
import importlib
import json
from collections.abc import Sequence

from clion_tf.benchmark import machine
from clion_tf.benchmark.growth import GrowthFailed
from clion_tf.benchmark.run import RunFailed
from clion_tf.config import ConfigError, parse
from clion_tf.envs import EnvError
from clion_tf.run import quiet_import

OK, FAILED, REFUSED = 0, 1, 2

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


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    for command, options in OPTIONS.items():
        sub = commands.add_parser(command, help="see above")
        sub.add_argument("--json", metavar="FILE", help="also write the figures to this file")
        for name, (default, text) in options.items():
            sub.add_argument(f"--{name}", type=_positive, default=default, help=text)
    chosen, flags = parser.parse_known_args(arguments)
    own = {name: getattr(chosen, name) for name in OPTIONS[chosen.command]}
    try:
        config = parse(flags)
        with quiet_import():
            module = importlib.import_module(f"clion_tf.benchmark.{chosen.command}")
        result = module.measure(config, **own)
    except ConfigError as error:
        return _fail(REFUSED, error)
    except (RunFailed, GrowthFailed, EnvError, MemoryError) as error:
        return _fail(FAILED, error)
    result = {"machine": machine.describe(), **result}
    _print([("machine", result["machine"]), *module.table(result)])
    if chosen.json:
        try:
            with open(chosen.json, "w") as file:
                json.dump({"command": chosen.command, "flags": flags, **result}, file, indent=1)
        except OSError as error:
            return _fail(FAILED, error)
    return OK


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise ValueError
    return value


def _print(rows: Sequence[tuple[str, str]]) -> None:
    width = max(len(name) for name, _ in rows)
    for name, figure in rows:
        print(f"{name:{width}}  {figure}")


def _fail(code: int, error: object) -> int:
    sys.stderr.write(f"benchmark: error: {error}\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
