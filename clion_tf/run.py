"""Trains an agent from images or vectors: CLION, Dreamer or DrQ.

    clion-train --task=walker_walk --logdir=logdir/walker
    clion-train --flagfile=cpu --task=cartpole_swingup --logdir=logdir/cartpole --steps=100000
    clion-train --flagfile=table1_rotation --seed=1 --logdir=logdir/rotated

The same command resumes a stopped run; Ctrl-C stops it with a checkpoint. Where
clion-train is not installed, `python -m clion_tf.run` is the same. Exit code 0; 1 if an
environment or the disk fails, 2 for what cannot be, 128 and the signal's number for a stop.
"""

import errno
import logging
import os
import sys
from collections.abc import Sequence

from clion_tf import console
from clion_tf.config import Config, parse, usage
from clion_tf.console import UserError
from clion_tf.training import training_process

NAME = "clion_tf"


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit code."""
    words = sys.argv[1:] if arguments is None else arguments
    if {"--help", "-h", "--helpfull"} & {*words}:
        return console.run(NAME, lambda: _help("--helpfull" in words))
    return console.run(NAME, lambda: _train(parse(words)), needs=("stderr",))


def _help(full: bool) -> int:
    sys.stdout.write(f"{__doc__}\n{usage(full)}")
    return console.OK


def _train(config: Config) -> int:
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        if config.strategy == "none":
            return training_process.train(config)
        with console.quiet_import():
            from clion_tf.distributed import processes
        return processes.take_part(config, os.environ)
    except MemoryError as error:
        less = "a smaller --batch_size needs less, and so does --precision=bf16"
        raise UserError(f"out of memory ({error}); {less}") from error
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        advice = "the last checkpoint is whole, make room and run the same command again"
        raise UserError(f"no room to write: {error}; {advice}") from error


if __name__ == "__main__":
    sys.exit(main())
