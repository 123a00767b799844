"""Does each side read the other's episode files, and as the same numbers?

Each file is put, as a link, into a folder of its own, from which each side reads with the function
that it trains with: the original's `tools.load_episodes`, our `Replay`. Files stay as they are.
"""

import pathlib
import tempfile
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from clion_tf.command import UsageError
from clion_tf.dreamer.original_process import Child
from clion_tf.replay.episode_files import DAMAGE, check_file
from clion_tf.replay.replay_buffer import Replay, ReplayError

KEYS = ("image", "action", "reward", "discount")
READER = "its tools.load_episodes"

Arrays = dict[str, np.ndarray]


class Row(NamedTuple):
    """One file, as another reader and our replay read it."""

    name: str
    frames: str
    returns: str  # The other's, and ours.
    agrees: bool  # In all values and types.
    types: str


def some_files(folder: pathlib.Path, count: int) -> list[pathlib.Path]:
    """At most `count` episode files, evenly spread over the folder's; UsageError without any."""
    found = sorted(folder.glob("*.npz"))
    if not found:
        raise UsageError(f"{folder}: no episodes there")
    count = min(count, len(found))
    return [found[i * (len(found) - 1) // max(1, count - 1)] for i in range(count)]


def compare(
    ours: Sequence[pathlib.Path],
    its: Sequence[pathlib.Path],
    original: Child | None,
    length: int,
) -> Iterator[tuple[list[str], bool]]:
    """(lines of a table, whether all agrees) of each direction.

    Args:
      ours, its: episode files.
      original: without one, its files are read by ours only, and compared with plain NumPy.
      length: frames of the sequences that are drawn, too.
    """
    with tempfile.TemporaryDirectory() as scratch:
        if original and ours:
            folders = _links(ours, pathlib.Path(scratch, "ours"))
            yield _by_both("our files", folders, original, length)
            title = "our episodes, written again by its tools.save_episodes"
            yield _table(title, READER, [_row(f / "read", _by_numpy(f)) for f in folders])
        if its:
            folders, title = _links(its, pathlib.Path(scratch, "its")), "the original's files"
            if original:
                yield _by_both(title, folders, original, length)
            else:
                yield _table(title, "numpy.load", [_row(f, _by_numpy(f)) for f in folders])


def _links(paths: Sequence[pathlib.Path], work: pathlib.Path) -> list[pathlib.Path]:
    """A folder for each file; `all`, beside them, has all files."""
    folders = [work / f"{number:06d}" for number in range(len(paths))]
    for folder, path in zip(folders, paths, strict=True):
        for place in (folder, work / "all"):
            place.mkdir(parents=True, exist_ok=True)
            (place / path.name).symlink_to(path.resolve())
    return folders


def _by_both(
    title: str, folders: Sequence[pathlib.Path], original: Child, length: int
) -> tuple[list[str], bool]:
    rows, everything = [], folders[0].with_name("all")
    for folder in folders:
        request = {"folder": str(folder), "length": length, "all": str(everything)}
        counted = original.ask(request, "episodes", "steps")
        rows.append(_row(folder, _by_numpy(folder / "read"), _by_numpy(folder / "drawn")))
    replay = Replay(everything, 1)
    replay.load()
    lines, agree = _table(title, READER, rows)
    ours, its = (len(replay), replay.transitions), (counted["episodes"], counted["steps"])
    lines.append(f"counted: {ours[0]} episodes, {ours[1]} agent steps; by it {its[0]} and {its[1]}")
    return lines, agree and ours == its


def _row(folder: pathlib.Path, other: Arrays | None, drawn: Arrays | None = None) -> Row:
    """Of a folder's only episode; what was drawn from it must be part of it."""
    path = next(folder.glob("*.npz"))
    ours = _by_replay(path)
    agrees = ours is not None and other is not None and _equal(ours, other)
    if agrees and drawn:
        length = len(drawn["reward"])
        starts = range(len(ours["reward"]) - length + 1)
        parts = ({k: a[i : i + length] for k, a in ours.items()} for i in starts)
        agrees = any(_equal(part, drawn) for part in parts)
    returns = "  ".join(
        f"{np.sum(read['reward'], dtype=np.float64):11.3f}" if read else f"{'unread':>11}"
        for read in (other, ours)
    )
    frames = str(len((ours or other)["reward"])) if ours or other else "-"
    types = ", ".join(f"{key} {ours[key].dtype}" for key in KEYS) if ours else ""
    return Row(path.name, frames, returns, agrees, types)


def _equal(ours: Arrays, other: Arrays) -> bool:
    pairs = [(ours[key], other[key]) for key in KEYS]
    return all(a.dtype == b.dtype and np.array_equal(a, b) for a, b in pairs)


def _by_replay(path: pathlib.Path) -> Arrays | None:
    """The folder's episode, which is float32, in the types that the file has."""
    try:
        entry = check_file(path)
        replay = Replay(path.parent, 1)
        replay.load()
        batch = replay.newest(entry.frames, 1)
    except (*DAMAGE, ReplayError):
        return None
    return {key: batch[key][0].astype(entry.arrays[key].dtype) for key in KEYS}


def _by_numpy(folder: pathlib.Path) -> Arrays | None:
    """The folder's only file, if there is one."""
    for path in folder.glob("*.npz"):
        try:
            with np.load(path, allow_pickle=False) as file:
                return {key: file[key] for key in KEYS}
        except DAMAGE:
            break
    return None


def _table(title: str, reader: str, rows: Sequence[Row]) -> tuple[list[str], bool]:
    width = max(len(row.name) for row in rows)
    lines = [f"{title}, read by {reader} and by our replay"]
    lines.append(f"{'file':{width}}  frames  return: its      ours  verdict")
    for row in rows:
        verdict = "same" if row.agrees else "DIFFERS"
        lines.append(f"{row.name:{width}}  {row.frames:>6}  {row.returns}  {verdict}")
    lines += [f"keys: {row.types}" for row in rows if row.types][:1]
    return lines, all(row.agrees for row in rows)
