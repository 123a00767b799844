"""Checks of what a tool is told, made before it begins to work for long. Imports no TensorFlow."""

import math
import os
import pathlib
from collections.abc import Sequence

from clion_tf import evaluation
from clion_tf.checkpoint import CheckpointError, Checkpoints
from clion_tf.command import UsageError
from clion_tf.config import Config
from clion_tf.envs import EnvError, EnvSpec
from clion_tf.logdir import LogdirError, saved_options


def output_file(name: str, suffixes: Sequence[str]) -> pathlib.Path:
    """The path of a file that can be written and has one of the suffixes.

    Raises:
      UsageError: if it cannot, or has another.
    """
    path = pathlib.Path(name).expanduser()
    folder = path.absolute().parent
    if path.suffix.lower() not in suffixes:
        raise UsageError(f"{name}: use a name that ends in {' or '.join(suffixes)}")
    if path.is_dir():
        raise UsageError(f"{name}: is a folder")
    if not folder.is_dir():
        raise UsageError(f"{name}: there is no folder {folder}")
    if not os.access(folder, os.W_OK):
        raise UsageError(f"{name}: cannot write in {folder}")
    return path


def trained_run(logdir: str) -> Config:
    """The options of a run that has a checkpoint.

    Raises:
      LogdirError, CheckpointError: if there is no run, or nothing saved of it yet.
    """
    folder = pathlib.Path(logdir).expanduser()
    config = saved_options(folder)
    if config is None:
        raise LogdirError(f"{folder}: no run of clion_tf there")
    if not Checkpoints.found_in(folder / "checkpoints"):
        raise CheckpointError(f"{folder}: the run has no checkpoint yet")
    return config


def environment(config: Config, rotation: float | None, seed: int | None) -> EnvSpec:
    """See `evaluation.spec`; without a rotation in degrees, the run's evaluations'.

    Raises:
      UsageError: for a rotation or a seed that cannot be.
    """
    degrees = config.test_rotation if rotation is None else rotation
    try:
        return evaluation.spec(config, degrees, seed)
    except EnvError as error:
        raise UsageError(error) from error


def not_negative(text: str) -> float:
    """An argument that is a finite number, 0 or more."""
    value = float(text)
    if not (math.isfinite(value) and value >= 0):
        raise ValueError(text)
    return value


def more_than_zero(text: str) -> float:
    """An argument that is a finite number above 0."""
    value = not_negative(text)
    if value == 0:
        raise ValueError(text)
    return value


def seed(text: str) -> int:
    """An argument that is a whole number, 0 or more."""
    value = int(text)
    if value < 0:
        raise ValueError(text)
    return value
