"""What a logdir holds, without TensorFlow."""

import dataclasses
import math
import pathlib

import numpy as np

from clion_tf.config import Config, different
from clion_tf.logdir.checkpoints import CheckpointError, Checkpoints, digest, load
from clion_tf.logdir.run_folder import RunFolder, run_at
from clion_tf.replay.episode_files import DAMAGE, check_file


@dataclasses.dataclass(frozen=True)
class Report:
    """Lines to read, and one line for each thing that is damaged."""

    lines: list[str]
    damage: list[str]


def inspect_logdir(logdir: str | pathlib.Path) -> Report:
    """Options, counters, sizes and digest of a run.

    Raises:
      LogdirError: if there is no run.
    """
    folder, options = run_at(logdir)
    lines, damage = _options(options), []
    lines += _episodes(folder, damage)
    lines += _checkpoints(folder, damage)
    if folder.checkpoints.is_dir():
        damage += [f"{path}: set aside as damaged" for path in sorted(folder.path.rglob("*.bad"))]
    return Report(lines, damage)


def _options(options: Config) -> list[str]:
    pairs = different(Config(), options).items()
    lines = [f"  --{name}={value}" for name, (_, value) in pairs]
    return ["options that differ from the defaults:", *lines]


def _episodes(folder: RunFolder, damage: list[str]) -> list[str]:
    frames = []
    for path in sorted(folder.episodes.glob("*.npz")):
        try:
            frames.append(check_file(path).frames)
        except FileNotFoundError:
            continue  # The run is going on, and this one has given way since.
        except DAMAGE as error:
            damage.append(f"{path}: damaged episode ({error})")
    return [f"episodes on disk: {len(frames)}, {sum(frames)} frames"]


def _checkpoints(folder: RunFolder, damage: list[str]) -> list[str]:
    lines, newest = ["checkpoints:"], None
    for path in Checkpoints.found_in(folder.checkpoints):
        try:
            arrays, counters = load(path)
        except FileNotFoundError:
            continue
        except CheckpointError as error:
            damage.append(str(error))
            continue
        newest = (arrays, counters) if newest is None else newest
        lines.append(f"  {path.name}: {counters.steps} environment steps, {digest(arrays)}")
    if newest is None:
        return ["checkpoints: none"]
    arrays, counters = newest
    return [
        *lines,
        "newest checkpoint:",
        f"  environment steps: {counters.steps}",
        f"  updates: {counters.updates}",
        f"  episodes: {counters.episodes}",
        f"  parameters: {_parameters(arrays)}",
        f"  SHA-256 of weights and optimiser state: {digest(arrays)}",
    ]


def _parameters(arrays: dict[str, np.ndarray]) -> str:
    counts: dict[str, int] = {}
    for name, array in arrays.items():
        if name.startswith("weights/"):
            part = name.split("/")[1]
            counts[part] = counts.get(part, 0) + math.prod(array.shape)
    return ", ".join(f"{part} {count:,}" for part, count in counts.items())
