"""Checks of what a tool is told, made before it begins to work for long. Imports no TensorFlow."""

import argparse
import json
import pathlib
import sys
import tempfile
from collections.abc import Callable, Sequence
from typing import Any

from clion_tf.analysis import trained_agent
from clion_tf.analysis.curves.learning_curves import read_each
from clion_tf.analysis.trained_agent import Saved, TrainedAgent
from clion_tf.command import UsageError, number
from clion_tf.config import FIELDS, Config
from clion_tf.files import atomic_write, user_path
from clion_tf.logdir.run_folder import LogdirError

FIGURES = (".png", ".pdf", ".svg")


def output_file(
    name: str | None, suffixes: Sequence[str], option: str = "out"
) -> pathlib.Path | None:
    """The path of a file; None for None. UsageError if it cannot be written there."""
    if name is None:
        return None
    path = user_path(name)
    if path.suffix.lower() not in suffixes:
        raise UsageError(f"--{option}={name}: must end in {', '.join(suffixes)}")
    if path.is_dir():
        raise UsageError(f"--{option}={name}: is a folder")
    _try_to_write(path.absolute().parent, f"--{option}={name}")
    return path


def output_folder(name: str | None, option: str) -> pathlib.Path | None:
    """The path of a folder that exists or can be made; UsageError if it cannot be written."""
    if name is None:
        return None
    path = user_path(name).absolute()
    if path.exists() and not path.is_dir():
        raise UsageError(f"--{option}={name}: is no folder")
    _try_to_write(path if path.is_dir() else path.parent, f"--{option}={name}")
    return path


def _try_to_write(folder: pathlib.Path, told: str) -> None:
    if not folder.is_dir():
        raise UsageError(f"{told}: no such folder")
    try:
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise UsageError(f"{told}: cannot write there ({error.strerror})") from error


def write_json(path: pathlib.Path, content: Any, **how: Any) -> None:
    """Writes a JSON file, whole or not at all; `how` is json.dumps'."""
    with atomic_write(path) as file:
        file.write(json.dumps(content, **{"indent": 1, **how}).encode() + b"\n")


def require_world_model(config: Config) -> None:
    """Raises UsageError for a run whose agent has none."""
    if config.agent != "clion":
        where = f"{config.logdir}: " if config.logdir else "a run of these options: "
        raise UsageError(f"{where}its agent, {config.agent}, has no world model")


def require_images(trained: TrainedAgent) -> None:
    """Raises UsageError for an agent that sees vectors only."""
    if "image" not in trained.observed:
        raise UsageError(f"{trained.config.logdir}: its agent sees no images")


def runs_with_world_models(logdirs: Sequence, checkpoint: str | None = None) -> dict[Any, Saved]:
    """What runs have saved, by folder; those that can be used.

    LogdirError if one is not there, UsageError if they cannot be compared, else as `read_each`.
    """
    if len({user_path(logdir).resolve() for logdir in logdirs}) < len(logdirs):
        raise UsageError("--logdirs: names a run twice")
    for logdir in logdirs:
        if not user_path(logdir).is_dir():
            raise LogdirError(f"{logdir}: no run of clion_tf there")

    def read(logdir):
        saved = trained_agent.read(logdir, checkpoint)
        require_world_model(saved.config)
        return logdir, saved

    found = dict(read_each(logdirs, read))
    configs = [saved.config for saved in found.values()]
    tasks = {(one.task, one.observe, one.action_repeat) for one in configs}
    if len(tasks) > 1:
        words = "; ".join(" ".join(map(str, task)) for task in sorted(tasks))
        raise UsageError(f"--logdirs: runs of different tasks, views or action repeats: {words}")
    return found


def several(kind: Callable[[str], Any]) -> Callable[[str], list]:
    """Some of a kind of argument, with commas between them."""

    def parse(text: str) -> list:
        return [kind(word) for word in text.split(",")]

    parse.__name__ = kind.__name__  # For argparse's errors.
    return parse


count = number("count (0 or more)", int, 0)
not_negative = number("number (0 or more)", float, 0)
more_than_zero = number("number (above 0)", float, sys.float_info.min)
probability = number("probability (0 to 1)", float, 0, 1)
rotation = number("rotation (0 to 180 degrees)", float, 0, 180)

# Arguments of several tools that make an agent from a run.
AGENT: dict[str, dict[str, Any]] = {
    "logdir": {"required": True, "metavar": "DIR", "help": "folder of the run"},
    "checkpoint": {"metavar": "STEPS|FILE", "help": "one that is kept, or a file; the newest"},
    "action": {"choices": FIELDS["eval_action"].metadata["choices"], "help": "policy; the run's"},
    "rotation": {"type": rotation, "metavar": "DEGREES", "help": "of frames, by U(-x, x)"},
    "seed": {"type": count, "metavar": "N", "help": "of episodes and policy; the run's"},
    "device": {"choices": FIELDS["device"].metadata["choices"], "default": "auto"},
}


def add_arguments(parser: argparse.ArgumentParser, *names: str) -> None:
    """Adds these of AGENT."""
    for name in names:
        parser.add_argument(f"--{name}", **AGENT[name])
