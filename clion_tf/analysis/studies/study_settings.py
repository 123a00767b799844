"""What a setting is: parts that learn, options that differ. Imports no TensorFlow."""

import dataclasses
from collections.abc import Mapping

from clion_tf.config import Config, parse

# Of an agent that can learn without the others, and their losses.
PARTS = {"model": ("model",), "behaviour": ("actor", "value"), "evaluator": ("evaluator",)}
# Options that give the world model's variables their shapes.
MODEL_SIZES = ("deter_size", "stoch_size", "hidden_size", "num_units", "cnn_depth")


def variant(config: Config, words: Mapping[str, str]) -> Config:
    """The options with those of `words` changed, values as on the command line.

    Raises:
      ConfigError: for an unknown option or a value that cannot be.
    """
    given = [f"--{name}={value}" for name, value in dataclasses.asdict(config).items()]
    return parse([*given, *(f"--{name}={value}" for name, value in words.items())])
