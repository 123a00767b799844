"""What a logdir holds, without TensorFlow."""

import collections
import pathlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from clion_tf.config import Config, different
from clion_tf.logdir.checkpoints import CheckpointError, Checkpoints, digest, load
from clion_tf.logdir.run_folder import run_at
from clion_tf.replay.episode_files import DAMAGE, check_file


def inspect_logdir(logdir: str | pathlib.Path) -> tuple[list[str], list[str]]:
    """(lines to read, a line for each thing that is damaged): a run's options, counters, digest.

    Raises:
      LogdirError: if there is no run.
    """
    folder, options = run_at(logdir)
    damage: list[str] = []
    frames = [
        entry.frames
        for _, entry in _readable(sorted(folder.episodes.glob("*.npz")), check_file, damage)
    ]
    found = []
    sizes: collections.Counter[str] = collections.Counter()
    for path, (arrays, counters) in _readable(
        Checkpoints.found_in(folder.checkpoints), load, damage
    ):
        found.append(f"  {path.name}: {counters.steps} environment steps, {digest(arrays)}")
        if len(found) == 1:
            newest, same = counters, digest(arrays)
            for name, array in arrays.items():
                if name.startswith("weights/"):
                    sizes[name.split("/")[1]] += array.size
    lines = ["options that differ from the defaults:"]
    lines += [f"  --{name}={value}" for name, (_, value) in different(Config(), options).items()]
    lines += [
        f"episodes on disk: {len(frames)}, {sum(frames)} frames",
        "checkpoints:" if found else "checkpoints: none",
        *found,
    ]
    if found:
        lines += [
            "newest checkpoint:",
            f"  environment steps: {newest.steps}",
            f"  updates: {newest.updates}",
            f"  episodes: {newest.episodes}",
            f"  parameters: {', '.join(f'{part} {size:,}' for part, size in sizes.items())}",
            f"  SHA-256 of weights and optimiser state: {same}",
        ]
    damage += [f"{path}: set aside as damaged" for path in sorted(folder.path.rglob("*.bad"))]
    return lines, damage


def _readable(
    paths: Iterable[pathlib.Path], read: Callable[[pathlib.Path], Any], damage: list[str]
) -> Iterator[tuple[pathlib.Path, Any]]:
    for path in paths:
        try:
            yield path, read(path)
        except FileNotFoundError:
            continue  # The run is going on, and this one has given way since.
        except CheckpointError as error:
            damage.append(str(error))
        except DAMAGE as error:
            damage.append(f"{path}: damaged episode ({error})")
