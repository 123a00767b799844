"""Does each side read the other's episode files, and as the same numbers?

Each file is put, as a link, into a folder of its own, from which each side reads with the function
that it trains with: the original's `tools.load_episodes`, our `Replay`. Files stay as they are.
"""

import dataclasses
import json
import os
import pathlib
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from clion_tf.dreamer import original_episodes
from clion_tf.replay.episode_files import DAMAGE, check_file
from clion_tf.replay.replay_buffer import Replay, ReplayError

READER = "its tools.load_episodes"
TIMEOUT = 600.0  # Seconds; its TensorFlow alone takes ten to load.


class ExchangeError(RuntimeError):
    """Nothing can be compared; the message is one line."""


@dataclasses.dataclass(frozen=True)
class Original:
    """A checkout of the original and the interpreter that runs it."""

    checkout: pathlib.Path
    python: str

    def read(
        self, folders: Sequence[pathlib.Path], everything: pathlib.Path,
        save: pathlib.Path | None, length: int,
    ) -> tuple[list[dict], dict]:  # fmt: skip
        """What it says of each folder's episode, and its count; see `original_episodes`.

        Raises:
          ExchangeError: if it cannot be run or fails.
        """
        if not (self.checkout / "tools.py").is_file():
            raise ExchangeError(
                f"{self.checkout}: no tools.py there, so no checkout of danijar/dreamer"
            )
        request = {"folders": list(map(str, folders)), "all": str(everything), "length": length}
        request["save"] = None if save is None else str(save)
        own = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME")}
        own |= {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
        # -B: nothing is written into the checkout.
        command = [self.python, "-B", original_episodes.__file__, str(self.checkout.resolve())]
        try:
            done = subprocess.run(
                command, input=json.dumps(request), capture_output=True, text=True, env=own,
                timeout=TIMEOUT, check=False,
            )  # fmt: skip
        except (OSError, subprocess.TimeoutExpired) as error:
            raise ExchangeError(f"cannot run {self.python}: {error}") from error
        if done.returncode != 0:
            last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
            raise ExchangeError(f"the original ({self.python}) failed: {last}")
        try:
            *said, counted = [json.loads(line) for line in done.stdout.splitlines()]
        except ValueError as error:  # No line, or no JSON.
            raise ExchangeError(f"{self.python} said nothing that can be read") from error
        return said, counted


class Row(NamedTuple):
    """One file: what our replay says of it and what the other reader says; None: could not."""

    name: str
    ours: Mapping | None
    other: Mapping | None

    @property
    def agrees(self) -> bool:
        if self.ours is None or self.other is None or not self.other.get("sequence", True):
            return False
        return all(self.ours[key] == self.other[key] for key in ("frames", "digest", "dtypes"))


class Direction(NamedTuple):
    """Files of one kind, read by our replay and by another reader.

    `counts` has (episodes, agent steps) as each side counts them.
    """

    title: str
    reader: str
    rows: list[Row]
    counts: tuple[tuple[int, int], tuple[int, int]] | None = None

    @property
    def agrees(self) -> bool:
        same = self.counts is None or self.counts[0] == self.counts[1]
        return same and all(row.agrees for row in self.rows)


def some_files(folder: pathlib.Path, count: int) -> list[pathlib.Path]:
    """At most `count` episode files, evenly spread over the folder's.

    Raises:
      ExchangeError: if there are none.
    """
    found = sorted(folder.glob("*.npz"))
    if not found:
        raise ExchangeError(f"{folder}: no episodes there")
    count = min(count, len(found))
    return [found[i * (len(found) - 1) // max(1, count - 1)] for i in range(count)]


def compare(
    ours: Sequence[pathlib.Path],
    its: Sequence[pathlib.Path],
    original: Original | None,
    length: int,
) -> Iterator[Direction]:
    """Both directions, as far as there are files and an original.

    Args:
      ours, its: episode files.
      original: without one, its files are read by ours only, and compared with plain NumPy.
      length: frames of the sequences that are drawn, too.

    Raises:
      ExchangeError.
    """
    with tempfile.TemporaryDirectory() as scratch:
        work = pathlib.Path(scratch)
        if original is not None and ours:
            saved = work / "saved"
            folders, everything = _links(ours, work / "ours")
            said, counted = original.read(folders, everything, saved, length)
            counts = _counts(everything, counted)
            yield Direction("our files", READER, _rows(ours, folders, said), counts)
            again = [saved / folder.name for folder in folders]
            written = [next(folder.glob("*.npz")) for folder in again]
            title = "our episodes, written again by its tools.save_episodes"
            yield Direction(title, READER, _rows(written, again, said))
        if its:
            folders, everything = _links(its, work / "its")
            title, reader, counts = "the original's files", "numpy.load", None
            if original is None:
                said = [*map(_plainly, its)]
            else:
                said, counted = original.read(folders, everything, None, length)
                reader, counts = READER, _counts(everything, counted)
            yield Direction(title, reader, _rows(its, folders, said), counts)


def _links(paths: Sequence[pathlib.Path], work: pathlib.Path) -> tuple[list, pathlib.Path]:
    """(a folder for each file, a folder of all), filled with links."""
    everything = work / "all"
    everything.mkdir(parents=True)
    folders = [work / f"{number:06d}" for number in range(len(paths))]
    for folder, path in zip(folders, paths, strict=True):
        folder.mkdir()
        for place in (folder, everything):
            (place / path.name).symlink_to(path.resolve())
    return folders, everything


def _rows(paths, folders, said: Sequence[Mapping | None]) -> list[Row]:
    pairs = zip(paths, folders, said, strict=True)
    return [Row(path.name, _by_replay(folder), other) for path, folder, other in pairs]


def _by_replay(folder: pathlib.Path) -> dict | None:
    """`describe` of a folder's only episode, as our replay reads it; dtypes as the file has."""
    path = next(folder.glob("*.npz"))
    try:
        entry = check_file(path)
        replay = Replay(folder, 1)
        replay.load()
        batch = replay.newest(entry.frames, 1)
    except (*DAMAGE, ReplayError):
        return None
    described = original_episodes.describe({key: value[0] for key, value in batch.items()})
    dtypes = {key: str(entry.arrays[key].dtype) for key in original_episodes.KEYS}
    return {**described, "dtypes": dtypes}


def _plainly(path: pathlib.Path) -> dict | None:
    try:
        with np.load(path, allow_pickle=False) as file:
            return original_episodes.describe({key: file[key] for key in original_episodes.KEYS})
    except DAMAGE:
        return None


def _counts(everything: pathlib.Path, counted: Mapping) -> tuple:
    replay = Replay(everything, 1)
    replay.load()
    return (len(replay), replay.transitions), (counted["episodes"], counted["steps"])


def table(direction: Direction) -> list[str]:
    """The lines of a table, and what they come to."""
    rows = direction.rows
    width = max(len(row.name) for row in rows)
    lines = [
        f"{direction.title}, read by {direction.reader} and by our replay",
        f"{'file':{width}}  frames  return: its      ours  verdict",
    ]
    for row in rows:
        cells = [_cell(row.other), _cell(row.ours)]
        frames = (row.ours or row.other or {}).get("frames", "-")
        verdict = "same" if row.agrees else "DIFFERS"
        lines.append(f"{row.name:{width}}  {frames!s:>6}  {cells[0]}  {cells[1]}  {verdict}")
    first = next((row.ours for row in rows if row.ours), None)
    if first:
        lines.append("keys: " + ", ".join(f"{k} {v}" for k, v in first["dtypes"].items()))
    if direction.counts:
        (episodes, steps), (its_count, its_steps) = direction.counts
        lines.append(
            f"counted: {episodes} episodes, {steps} agent steps; by it {its_count} and {its_steps}"
        )
    return lines


def _cell(said: Mapping | None) -> str:
    return f"{'unread':>11}" if said is None else f"{said['return']:11.3f}"
