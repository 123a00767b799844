"""Episodes as files: dicts of arrays with the original Dreamer's keys, T frames long.

    image [T, 64, 64, 3] uint8; action [T, A], reward [T] and discount [T] float32
    vector [T, n] float32, beside or instead of the image; rotation [T] float32, degrees (DrQ)

    frame       0        1        2   ...   T-1
    action      0      a(0→1)   a(1→2)     the action that led to this frame
    reward      0      r(0→1)   r(1→2)     what that action earned
    discount    1        1        1        0 where the episode terminated at this frame

Every episode is one uncompressed `.npz`, so that a sequence is read straight from its offset in
the file. Nothing is ever unpickled.
"""

import errno
import math
import re
import struct
import zipfile
import zlib
from collections.abc import Container, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.lib import format as npy

from clion_tf.console import UserError
from clion_tf.files import atomic_write
from clion_tf.replay import observation_shapes

NUMBERS = ("action", "reward", "discount")
DTYPES = {**observation_shapes.DTYPES, **dict.fromkeys(NUMBERS, "float32")}
# What reading a damaged or foreign file can raise.
DAMAGE: tuple[type[Exception], ...] = (
    ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error, struct.error,
    RuntimeError, IsADirectoryError,
)  # fmt: skip
Episode = dict[str, np.ndarray]
_NAME = re.compile(r"(\d{6,})-(\d+)\.npz")  # See save_episode.
_READ_HEADER = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}


class ShortFile(UserError, EOFError):
    """A file that has lost its end since it was looked at; the message is one line."""


class Stored(NamedTuple):
    """An array of a file; its offset is None if it is compressed or in another order."""

    shape: tuple[int, ...]
    dtype: np.dtype
    offset: int | None


class EpisodeFile(NamedTuple):
    """What a file's headers say, by key."""

    path: Path
    arrays: dict[str, Stored]

    @property
    def frames(self) -> int:
        return self.arrays["reward"].shape[0]


def checked(arrays: Mapping[str, np.ndarray]) -> Episode:
    """The arrays that count. Raises ValueError, one line, if they are no episode."""
    episode = {key: arrays[key] for key in _keys(arrays)}
    _check_form(episode)
    _check_finite(episode)
    return episode


def frame(
    obs: Mapping[str, np.ndarray], action: np.ndarray, reward: float, discount: float
) -> dict[str, np.ndarray]:
    """A copy of what an action [A] led to; obs has `image` or `vector` or both."""
    row = {**obs, "action": action, "reward": reward, "discount": discount}
    # Rewards and actions are made float32 here; images keep their dtype to be checked.
    return {key: np.array(row[key], None if key == "image" else DTYPES[key]) for key in _keys(row)}


def stacked(frames: Sequence[Mapping[str, np.ndarray]]) -> Episode:
    """The episode of these frames. Raises ValueError if it is none: numbers not finite."""
    return checked({key: np.stack([one[key] for one in frames]) for key in frames[0]})


def save_episode(folder: Path | str, index: int, episode: Episode) -> Path:
    """Writes an episode as `<index>-<frames>.npz`, whole or not at all, and returns its path.

    Name and bytes depend only on the index and the episode. Raises OSError if it cannot be written.
    """
    path = Path(folder) / f"{index:06d}-{len(episode['reward'])}.npz"
    path.parent.mkdir(parents=True, exist_ok=True)
    kept: dict[str, Any] = {key: np.ascontiguousarray(episode[key]) for key in _keys(episode)}
    with atomic_write(path) as file:
        np.savez(file, **kept)
    return path


def files_in(folder: Path) -> tuple[list[tuple[int, int, Path]], list[Path]]:
    """Those that save_episode named, (index, frames, path) by index; others by name."""
    own, foreign = [], []
    for path in sorted(folder.glob("*.npz")):
        if match := _NAME.fullmatch(path.name):
            own.append((int(match[1]), int(match[2]), path))
        else:
            foreign.append(path)
    return sorted(own), foreign


def locate(path: Path) -> EpisodeFile:
    """Finds the arrays of a file; raises one of DAMAGE if its headers are of no episode."""
    try:
        with path.open("rb") as file, zipfile.ZipFile(file) as archive:
            keys = _keys({name.removesuffix(".npy") for name in archive.namelist()})
            arrays = {key: _locate(archive, file, f"{key}.npy") for key in keys}
    except OSError as error:
        if error.errno == errno.EINVAL:
            raise ValueError("the archive's directory points nowhere") from error
        raise
    _check_form(arrays)
    return EpisodeFile(path, arrays)


def check_file(path: Path) -> EpisodeFile:
    """As `locate`, and checks all arrays but uncompressed images, so that damage shows now."""
    entry = locate(path)
    stored = entry.arrays.items()
    _read(entry, [key for key, array in stored if key != "image" or array.offset is None])
    return entry


def load_episode(path: Path) -> Episode:
    """A whole episode, all floats as float32; raises one of DAMAGE if the file is no episode."""
    entry = locate(path)
    return _read(entry, entry.arrays)


def read_frames(entry: EpisodeFile, start: int, out: Mapping[str, np.ndarray]) -> None:
    """Fills the arrays of `out` [L, ...] with the frames from `start` on."""
    with entry.path.open("rb") as file:
        for key, target in out.items():
            _, dtype, offset = entry.arrays[key]
            if offset is None:  # Slow: all frames each time.
                file.seek(0)
                with np.load(file, allow_pickle=False) as archive:
                    target[:] = archive[key][start : start + len(target)]
                continue
            rows = np.empty(target.shape, dtype)
            file.seek(offset + start * (rows.nbytes // len(rows)))
            if file.readinto(rows.reshape(-1).view(np.uint8).data) < rows.nbytes:
                raise ShortFile(f"{entry.path}: has become shorter")
            target[:] = rows


def _keys(arrays: Container[str]) -> list[str]:
    """The keys that count, in the order of files: what is observed, then NUMBERS."""
    return [key for key in DTYPES if key in arrays]


def _check_form(arrays: Mapping[str, np.ndarray | Stored]) -> None:
    for key in NUMBERS:
        if key not in arrays:
            raise ValueError(f"an episode needs {key!r}")
    if "image" not in arrays and "vector" not in arrays:
        raise ValueError("an episode needs 'image' or 'vector'")
    rewards, axes = arrays["reward"].shape, {"image": 4, "vector": 2, "action": 2}
    for key, array in arrays.items():
        shape, dtype = array.shape, array.dtype
        if len(shape) != axes.get(key, 1) or shape[:1] != rewards or 0 in shape:
            raise ValueError(f"{key!r} cannot have shape {shape} beside rewards of shape {rewards}")
        if key == "image" and shape[-1] != 3:
            raise ValueError(f"images have three channels, not shape {shape}")
        # The original stores float16 at precision 16; every float is read as float32.
        if dtype != np.uint8 if key == "image" else dtype.kind != "f":
            raise ValueError(f"{key!r} cannot be {dtype}")


def _check_finite(arrays: Mapping[str, np.ndarray]) -> None:
    for key, array in arrays.items():
        if key != "image" and not np.isfinite(array).all():
            raise ValueError(f"{key!r} has numbers that are not finite")


def _read(entry: EpisodeFile, keys: Iterable[str]) -> Episode:
    arrays = {key: np.empty(entry.arrays[key].shape, DTYPES[key]) for key in keys}
    read_frames(entry, 0, arrays)
    _check_finite(arrays)
    return arrays


def _locate(archive: zipfile.ZipFile, file: BinaryIO, name: str) -> Stored:
    info = archive.getinfo(name)
    with archive.open(info) as member:
        shape, fortran, dtype = _READ_HEADER[npy.read_magic(member)](member)
        header = member.tell()
    if info.file_size != header + math.prod(shape) * dtype.itemsize:
        raise ValueError(f"{name} is not as long as its header says")
    if info.compress_type != zipfile.ZIP_STORED or (fortran and len(shape) > 1):
        return Stored(shape, dtype, None)
    # The directory at the end gives the local header, whose two last lengths precede the data.
    file.seek(info.header_offset + 26)
    name_length, extra_length = struct.unpack("<HH", file.read(4))
    return Stored(shape, dtype, info.header_offset + 30 + name_length + extra_length + header)
