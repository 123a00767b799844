"""Makes updates of ours: `python -m clion_tf.benchmark.our_updates FLAGS`.

The protocol is that of `original_updates`, whose code speaks it for both, so both are timed alike.
"""

import itertools
import sys
from collections.abc import Sequence

from clion_tf.benchmark.original_updates import Parent, random_batch
from clion_tf.config import parse
from clion_tf.console import quiet_import

ACTIONS = 6  # As walker has.


def main(arguments: Sequence[str]) -> None:
    """Builds the agent, makes its first update, and serves."""
    parent = Parent()
    config = parse(arguments)
    with quiet_import():
        import tensorflow as tf

        from clion_tf.agents.clion import Agent
        from clion_tf.training import hardware
    precision, jit, device = hardware.prepare(config)
    agent = Agent(config, ACTIONS, False, precision, jit)
    batch = random_batch(config.batch_size, config.batch_length, ACTIONS)
    numbers = itertools.count()

    def train(count: int) -> None:
        for _ in range(count):
            agent.train(batch, next(numbers)).numpy()

    train(1)
    parent.serve(train, tensorflow=tf.__version__, device=device)


if __name__ == "__main__":
    main(sys.argv[1:])
