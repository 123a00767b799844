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
    """(lines to read, lines of what is damaged); LogdirError if there is no run."""
    folder, options = run_at(logdir)
    damage: list[str] = []
    episodes = _readable(sorted(folder.episodes.glob("*.npz")), check_file, damage)
    frames = [episode.frames for _, episode in episodes]
    lines = ["options that differ from the defaults:"]
    lines += [f"  --{name}={value}" for name, (_, value) in different(Config(), options).items()]
    lines.append(f"episodes on disk: {len(frames)}, {sum(frames)} frames")
    checkpoints, newest = [], []
    for path, (arrays, at) in _readable(Checkpoints.found_in(folder.checkpoints), load, damage):
        checkpoints.append(f"  {path.name}: {at.steps} environment steps, {digest(arrays)}")
        if not newest:
            sizes: collections.Counter[str] = collections.Counter()
            for name, array in arrays.items():
                if name.startswith("weights/"):
                    sizes[name.split("/")[1]] += array.size
            newest = [
                "newest checkpoint:",
                f"  environment steps: {at.steps}",
                f"  updates: {at.updates}",
                f"  episodes: {at.episodes}",
                f"  parameters: {', '.join(f'{part} {size:,}' for part, size in sizes.items())}",
                f"  SHA-256 of weights and optimiser state: {digest(arrays)}",
            ]
    lines += ["checkpoints:", *checkpoints, *newest] if newest else ["checkpoints: none"]
    damage += [f"{path}: set aside as damaged" for path in sorted(folder.path.rglob("*.bad"))]
    return lines, damage


def _readable(
    paths: Iterable[pathlib.Path], read: Callable[[pathlib.Path], Any], damage: list[str]
) -> Iterator[tuple[pathlib.Path, Any]]:
    for path in paths:
        try:
            yield path, read(path)
        except FileNotFoundError:
            continue  # The run trains, and this one has given way since.
        except CheckpointError as error:
            damage.append(str(error))
        except (*DAMAGE, PermissionError) as error:
            damage.append(f"{path}: damaged episode ({error})")
