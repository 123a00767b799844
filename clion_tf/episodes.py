"""Episodes as files: what they hold, how they are written, checked and read in part.

An episode is a dict of arrays with the original Dreamer's keys, T frames long:

    image [T, 64, 64, 3] uint8; action [T, A], reward [T] and discount [T] float32

    frame       0        1        2   ...   T-1
    action      0      a(0→1)   a(1→2)     the action that led to this frame
    reward      0      r(0→1)   r(1→2)     what that action earned
    discount    1        γ        γ        0 where the episode terminated at this frame

Every episode is one uncompressed `.npz`, so that a sequence is read straight from its offset in
the file ("ours": the original keeps all episodes in memory). Nothing is ever unpickled.
"""

import math
import struct
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.lib import format as npy

from clion_tf.files import atomic_write

Episode = dict[str, np.ndarray]

IMAGE_SHAPE = (64, 64, 3)
DTYPES = {"image": "uint8", "action": "float32", "reward": "float32", "discount": "float32"}
# What reading a damaged or foreign file can raise.
DAMAGE = (ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error, struct.error)
DAMAGE += (NotImplementedError, RuntimeError, PermissionError, IsADirectoryError)


class EpisodeBuilder:
    """Collects one episode, frame by frame; images are copied, so buffers may be reused."""

    def __init__(self):
        self._rows: dict[str, list] = {key: [] for key in DTYPES}

    def first(self, obs: Mapping[str, np.ndarray], action_size: int) -> None:
        """Starts anew with the frame of a reset; obs['image'] is uint8 [64, 64, 3]."""
        self._rows = {key: [] for key in DTYPES}
        self.add(obs, np.zeros(action_size, np.float32), 0.0, 1.0)

    def add(
        self, obs: Mapping[str, np.ndarray], action: np.ndarray, reward: float, discount: float
    ) -> None:
        """Appends the frame that `action` [A] led to, with its reward and discount."""
        row = {"image": obs["image"], "action": action, "reward": reward, "discount": discount}
        for key, value in row.items():
            # Rewards and actions are made float32 here; images keep their dtype to be checked.
            dtype = None if key == "image" else DTYPES[key]
            self._rows[key].append(np.array(value, dtype))

    def finish(self) -> Episode:
        """The episode so far. Raises ValueError if it is not one, for example without a frame."""
        if not self._rows["reward"]:
            raise ValueError("an episode needs its first frame")
        episode = {key: np.stack(rows) for key, rows in self._rows.items()}
        check(episode)
        return episode


def save_episode(folder: Path | str, index: int, episode: Mapping[str, np.ndarray]) -> Path:
    """Writes an episode as `<index>-<frames>.npz`, whole or not at all, and returns its path.

    The name depends on nothing but the episode, and equal episodes give equal bytes, so that a
    phase done again after an interruption leaves the same folder. The original Dreamer counts
    steps from the name's last number. Raises ValueError for what is not an episode and OSError
    if it cannot be written.
    """
    check(episode)
    path = Path(folder) / f"{index:06d}-{len(episode['reward'])}.npz"
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as file:
        np.savez(file, **{key: np.ascontiguousarray(episode[key]) for key in DTYPES})
    return path


class Entry(NamedTuple):
    """Where an episode's arrays lie; no offsets if they are compressed (foreign files)."""

    name: str
    frames: int
    offsets: tuple[int, ...] | None
    dtypes: tuple[np.dtype, ...]


def check(episode: Mapping[str, np.ndarray]) -> None:
    """Raises ValueError, one line, if the arrays are no episode."""
    for key in DTYPES:
        if key not in episode:
            raise ValueError(f"an episode needs {key!r}")
    _check_form({key: (episode[key].shape, episode[key].dtype) for key in DTYPES})
    for key in ("action", "reward", "discount"):
        if not np.isfinite(episode[key]).all():
            raise ValueError(f"{key!r} has numbers that are not finite")


def _check_form(form: Mapping[str, tuple[tuple[int, ...], np.dtype]]) -> None:
    shapes = {key: shape for key, (shape, _) in form.items()}
    frames = shapes["reward"][0] if shapes["reward"] else 0
    action_size = shapes["action"][-1] if shapes["action"] else 0
    if frames < 1 or action_size < 1:
        raise ValueError(f"an episode needs frames and actions, not shapes {shapes}")
    expected = {
        "image": (frames, *IMAGE_SHAPE),
        "action": (frames, action_size),
        "reward": (frames,),
        "discount": (frames,),
    }
    if shapes != expected:
        raise ValueError(f"an episode of {frames} frames cannot have shapes {shapes}")
    for key, (_, dtype) in form.items():
        # The original stores float16 at precision 16; every float is read as float32.
        good = dtype == np.uint8 if key == "image" else dtype.kind == "f"
        if not good:
            raise ValueError(f"{key!r} cannot be {dtype}")


def inspect(path: Path) -> tuple[Entry, int]:
    """Finds and checks the arrays of a file; returns its entry and its action size A."""
    size = path.stat().st_size
    with path.open("rb") as file, zipfile.ZipFile(file) as archive:
        found = {key: _locate(archive, file, f"{key}.npy") for key in DTYPES}
    _check_form({key: (shape, dtype) for key, (shape, dtype, _) in found.items()})
    frames, action_size = found["action"][0]
    dtypes = tuple(dtype for _, dtype, _ in found.values())
    offsets = tuple(offset for _, _, offset in found.values())
    if None in offsets:
        # Read once as a whole, so that a damaged file shows now and not in the middle of a run.
        check(_load(path))
        return Entry(path.name, frames, None, dtypes), action_size
    for shape, dtype, offset in found.values():
        if offset + math.prod(shape) * dtype.itemsize > size:
            raise ValueError("the file is shorter than its arrays")
    entry = Entry(path.name, frames, offsets, dtypes)
    small = {key: np.empty(found[key][0], "float32") for key in DTYPES if key != "image"}
    read(path, entry, 0, small)
    check({**small, "image": np.broadcast_to(np.uint8(0), found["image"][0])})
    return entry, action_size


def _locate(
    archive: zipfile.ZipFile, file, name: str
) -> tuple[tuple[int, ...], np.dtype, int | None]:
    """Shape, dtype and offset in the file of an array; no offset if it cannot be read in place."""
    info = archive.getinfo(name)
    with archive.open(info) as member:
        version = npy.read_magic(member)
        if version not in ((1, 0), (2, 0)):
            raise ValueError(f"{name} has the unknown format version {version}")
        read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, fortran, dtype = read(member)
        header = member.tell()
    if info.file_size != header + math.prod(shape) * dtype.itemsize:
        raise ValueError(f"{name} is not as long as its header says")
    if info.compress_type != zipfile.ZIP_STORED or (fortran and len(shape) > 1):
        return shape, dtype, None
    # The directory at the end gives the local header, whose two last lengths precede the data.
    file.seek(info.header_offset + 26)
    name_length, extra_length = struct.unpack("<HH", file.read(4))
    return shape, dtype, info.header_offset + 30 + name_length + extra_length + header


def load_episode(path: Path) -> Episode:
    """A whole episode, float32 whatever the file has; raises one of DAMAGE if it is none."""
    entry, action_size = inspect(path)
    shapes = {"image": IMAGE_SHAPE, "action": (action_size,)}
    episode = {
        key: np.empty((entry.frames, *shapes.get(key, ())), dtype) for key, dtype in DTYPES.items()
    }
    read(path, entry, 0, episode)
    return episode


def read(path: Path, entry: Entry, start: int, out: Mapping[str, np.ndarray]) -> None:
    """Fills the arrays of `out` [L, ...] with the frames from `start` on."""
    if entry.offsets is None:
        episode = _load(path)  # Compressed: slow, the whole episode each time it is drawn.
        for key, target in out.items():
            target[:] = episode[key][start : start + len(target)]
        return
    with path.open("rb", buffering=0) as file:
        for key, dtype, offset in zip(DTYPES, entry.dtypes, entry.offsets, strict=True):
            if key in out:
                _read_rows(file, offset, start, dtype, out[key])


def _read_rows(file, offset: int, start: int, dtype: np.dtype, out: np.ndarray) -> None:
    direct = dtype == out.dtype
    target = out if direct else np.empty(out.shape, dtype)
    data = memoryview(target.reshape(-1).view(np.uint8))
    file.seek(offset + start * (len(data) // len(target)))
    while data:
        read = file.readinto(data)
        if not read:
            raise EOFError(f"{file.name} has become shorter")
        data = data[read:]
    if not direct:
        out[:] = target


def _load(path: Path) -> Episode:
    with np.load(path, allow_pickle=False) as archive:
        return {key: archive[key] for key in DTYPES}
