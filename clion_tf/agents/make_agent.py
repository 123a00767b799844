"""Which agent a run has (`--agent`), made anew or from what a checkpoint holds."""

from collections.abc import Mapping

import numpy as np

from clion_tf.agents.clion import Agent
from clion_tf.agents.drq.drq_agent import DrQ
from clion_tf.config import Config
from clion_tf.replay.observation_shapes import Shapes

KINDS = {"clion": Agent, "drq": DrQ}


def make(
    config: Config, action_size: int, discrete: bool, precision: str, jit: bool,
    observed: Shapes | None,
) -> Agent | DrQ:  # fmt: skip
    """A new agent; arguments and errors as those of `Agent` and `DrQ`."""
    return KINDS[config.agent](config, action_size, discrete, precision, jit, observed)


def of_weights(
    config: Config, weights: Mapping[str, np.ndarray], precision: str, jit: bool
) -> Agent | DrQ:
    """A new agent of the sizes that weights have.

    Raises:
      KeyError, IndexError, ValueError: if they are not of these options.
    """
    size, discrete, observed = KINDS[config.agent].described(config, weights)
    return make(config, size, discrete, precision, jit, observed)
