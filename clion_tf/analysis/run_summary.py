"""What a logdir holds, without TensorFlow."""

import collections
import math
import pathlib
from typing import NamedTuple

from clion_tf.config import Config, different
from clion_tf.logdir.checkpoints import CheckpointError, Checkpoints, digest, load
from clion_tf.logdir.run_folder import RunFolder, run_at
from clion_tf.replay.episode_files import DAMAGE, check_file


class Report(NamedTuple):
    """Lines to read, and one line for each thing that is damaged."""

    lines: list[str]
    damage: list[str]


def inspect_logdir(logdir: str | pathlib.Path) -> Report:
    """Options, counters, sizes and digest of a run.

    Raises:
      LogdirError: if there is no run.
    """
    folder, options = run_at(logdir)
    report = Report(["options that differ from the defaults:"], [])
    report.lines.extend(
        f"  --{name}={value}" for name, (_, value) in different(Config(), options).items()
    )
    _episodes(folder, report)
    _checkpoints(folder, report)
    if folder.checkpoints.is_dir():
        bad = sorted(folder.path.rglob("*.bad"))
        report.damage.extend(f"{path}: set aside as damaged" for path in bad)
    return report


def _episodes(folder: RunFolder, report: Report) -> None:
    frames = []
    for path in sorted(folder.episodes.glob("*.npz")):
        try:
            frames.append(check_file(path).frames)
        except FileNotFoundError:
            continue  # The run is going on, and this one has given way since.
        except DAMAGE as error:
            report.damage.append(f"{path}: damaged episode ({error})")
    report.lines.append(f"episodes on disk: {len(frames)}, {sum(frames)} frames")


def _checkpoints(folder: RunFolder, report: Report) -> None:
    found, newest = [], []
    for path in Checkpoints.found_in(folder.checkpoints):
        try:
            arrays, counters = load(path)
        except FileNotFoundError:
            continue
        except CheckpointError as error:
            report.damage.append(str(error))
            continue
        found.append(f"  {path.name}: {counters.steps} environment steps, {digest(arrays)}")
        if not newest:
            sizes: collections.Counter[str] = collections.Counter()
            for name, array in arrays.items():
                if name.startswith("weights/"):
                    sizes[name.split("/")[1]] += math.prod(array.shape)
            parameters = ", ".join(f"{part} {size:,}" for part, size in sizes.items())
            newest = [
                "newest checkpoint:",
                f"  environment steps: {counters.steps}",
                f"  updates: {counters.updates}",
                f"  episodes: {counters.episodes}",
                f"  parameters: {parameters}",
                f"  SHA-256 of weights and optimiser state: {digest(arrays)}",
            ]
    report.lines.extend(["checkpoints:", *found, *newest] if found else ["checkpoints: none"])
