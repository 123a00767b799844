"""Episodes as files: what they hold, how they are written, checked and read in part.

An episode is a dict of arrays with the original Dreamer's keys, T frames long:

    image [T, 64, 64, 3] uint8; action [T, A], reward [T] and discount [T] float32

With vector observations there is `vector` [T, n], float32, beside the image or instead of it.

    frame       0        1        2   ...   T-1
    action      0      a(0→1)   a(1→2)     the action that led to this frame
    reward      0      r(0→1)   r(1→2)     what that action earned
    discount    1        γ        γ        0 where the episode terminated at this frame

Every episode is one uncompressed `.npz`, so that a sequence is read straight from its offset in
the file ("ours": the original keeps all episodes in memory). Nothing is ever unpickled.
"""

import io
import math
import struct
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.lib import format as npy

from clion_tf.files import atomic_write
from clion_tf.replay import observation_shapes
from clion_tf.replay.observation_shapes import Shapes

NUMBERS = ("action", "reward", "discount")
DTYPES = {**observation_shapes.DTYPES, **dict.fromkeys(NUMBERS, "float32")}
# What reading a damaged or foreign file can raise.
DAMAGE: tuple[type[Exception], ...] = (
    ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error, struct.error,
    NotImplementedError, RuntimeError, PermissionError, IsADirectoryError,
)  # fmt: skip


def keys_of(arrays: Iterable[str]) -> tuple[str, ...]:
    """The keys that count, in the order of files: what is observed, then NUMBERS."""
    found = set(arrays)
    return tuple(key for key in DTYPES if key in found or key in NUMBERS)


class Episode(dict[str, np.ndarray]):
    """The arrays of an episode; that they are one is checked here, when it is made, and only here.

    Raises ValueError, one line, if they are none.
    """

    def __init__(self, arrays: Mapping[str, np.ndarray]):
        super().__init__(arrays)
        keys = keys_of(arrays)
        for key in keys:
            if key not in arrays:
                raise ValueError(f"an episode needs {key!r}")
        _check_form({key: (arrays[key].shape, arrays[key].dtype) for key in keys})
        _check_finite({key: arrays[key] for key in keys})

    @classmethod
    def of(cls, arrays: Mapping[str, np.ndarray]) -> "Episode":
        """These arrays as an episode, which is not checked again if they are one already."""
        return arrays if isinstance(arrays, cls) else cls(arrays)

    @property
    def frames(self) -> int:
        """T."""
        return len(self["reward"])

    @property
    def shapes(self) -> Shapes:
        """Shapes of one frame."""
        return {key: self[key].shape[1:] for key in keys_of(self)}


class EpisodeBuilder:
    """Collects one episode, frame by frame; images are copied, so buffers may be reused."""

    def __init__(self) -> None:
        self._rows: dict[str, list] = {}

    def first(self, obs: Mapping[str, np.ndarray], action_size: int) -> None:
        """Starts anew with the frame of a reset; obs has `image` or `vector` or both."""
        self._rows = {key: [] for key in keys_of(obs)}
        self.add(obs, np.zeros(action_size, np.float32), 0.0, 1.0)

    def add(
        self, obs: Mapping[str, np.ndarray], action: np.ndarray, reward: float, discount: float
    ) -> None:
        """Appends the frame that `action` [A] led to, with its reward and discount."""
        row = {**obs, "action": action, "reward": reward, "discount": discount}
        for key, rows in self._rows.items():
            # Rewards and actions are made float32 here; images keep their dtype to be checked.
            rows.append(np.array(row[key], None if key == "image" else DTYPES[key]))

    def finish(self) -> Episode:
        """The episode so far. Raises ValueError if it is not one, for example without a frame."""
        if not self._rows:
            raise ValueError("an episode needs its first frame")
        return Episode({key: np.stack(rows) for key, rows in self._rows.items()})


def save_episode(folder: Path | str, index: int, arrays: Mapping[str, np.ndarray]) -> Path:
    """Writes an episode as `<index>-<frames>.npz`, whole or not at all, and returns its path.

    The name depends on nothing but the episode, and equal episodes give equal bytes, so that a
    phase done again after an interruption leaves the same folder. The original Dreamer counts
    steps from the name's last number. Raises ValueError for what is not an episode and OSError
    if it cannot be written.
    """
    episode = Episode.of(arrays)
    path = Path(folder) / f"{index:06d}-{episode.frames}.npz"
    path.parent.mkdir(parents=True, exist_ok=True)
    kept: dict[str, Any] = {key: np.ascontiguousarray(episode[key]) for key in keys_of(episode)}
    with atomic_write(path) as file:
        np.savez(file, **kept)
    return path


class EpisodeFile(NamedTuple):
    """Where an episode's arrays lie; no offsets if they are compressed (foreign files)."""

    name: str
    frames: int
    keys: tuple[str, ...]
    offsets: tuple[int, ...] | None
    dtypes: tuple[np.dtype, ...]


def _check_form(form: Mapping[str, tuple[tuple[int, ...], np.dtype]]) -> None:
    shapes = {key: shape for key, (shape, _) in form.items()}
    frames = shapes["reward"][0] if shapes["reward"] else 0
    if frames < 1 or 0 in shapes["action"] or not shapes["action"]:
        raise ValueError(f"an episode needs frames and actions, not shapes {shapes}")
    if "image" not in shapes and "vector" not in shapes:
        raise ValueError("an episode needs 'image' or 'vector'")
    axes = {"image": 4, "vector": 2, "action": 2}
    for key, shape in shapes.items():
        if len(shape) != axes.get(key, 1) or shape[0] != frames:
            raise ValueError(f"an episode of {frames} frames cannot have shapes {shapes}")
    if shapes.get("image", (3,))[-1] != 3:
        raise ValueError(f"images have three channels, not shape {shapes['image']}")
    for key, (_, dtype) in form.items():
        # The original stores float16 at precision 16; every float is read as float32.
        good = dtype == np.uint8 if key == "image" else dtype.kind == "f"
        if not good:
            raise ValueError(f"{key!r} cannot be {dtype}")


def _check_finite(arrays: Mapping[str, np.ndarray]) -> None:
    for key, array in arrays.items():
        if key != "image" and not np.isfinite(array).all():
            raise ValueError(f"{key!r} has numbers that are not finite")


def locate(path: Path) -> tuple[EpisodeFile, Shapes]:
    """Finds the arrays of a file; returns its entry and the shapes of one frame.

    Of the numbers in them it says nothing. Raises one of DAMAGE if they make no episode.
    """
    size = path.stat().st_size
    with path.open("rb") as file, zipfile.ZipFile(file) as archive:
        keys = keys_of(name.removesuffix(".npy") for name in archive.namelist())
        found = {key: _locate(archive, file, f"{key}.npy") for key in keys}
    _check_form({key: (shape, dtype) for key, (shape, dtype, _) in found.items()})
    dtypes, offsets = [], []
    for shape, dtype, offset in found.values():
        dtypes.append(dtype)
        if offset is not None:
            offsets.append(offset)
            if offset + math.prod(shape) * dtype.itemsize > size:
                raise ValueError("the file is shorter than its arrays")
    in_place = tuple(offsets) if len(offsets) == len(keys) else None
    entry = EpisodeFile(path.name, found["reward"][0][0], keys, in_place, tuple(dtypes))
    return entry, {key: shape[1:] for key, (shape, _, _) in found.items()}


def check_file(path: Path) -> tuple[EpisodeFile, Shapes]:
    """As `locate`, and checks all that can be read without the images of a file of ours.

    Compressed files are read as a whole, so that a damaged one shows now and not in the middle of
    a run.
    """
    entry, shapes = locate(path)
    keys = [key for key in entry.keys if key != "image" or entry.offsets is None]
    _check_finite(_read_all(path, entry, {key: shapes[key] for key in keys}))
    return entry, shapes


def _locate(
    archive: zipfile.ZipFile, file: BinaryIO, name: str
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
    return Episode(_read_all(path, *locate(path)))


def _read_all(path: Path, entry: EpisodeFile, shapes: Shapes) -> dict[str, np.ndarray]:
    arrays = {key: np.empty((entry.frames, *shape), DTYPES[key]) for key, shape in shapes.items()}
    read_frames(path, entry, 0, arrays)
    return arrays


def read_frames(path: Path, entry: EpisodeFile, start: int, out: Mapping[str, np.ndarray]) -> None:
    """Fills the arrays of `out` [L, ...] with the frames from `start` on."""
    if entry.offsets is None:
        with np.load(path, allow_pickle=False) as archive:
            for key, target in out.items():  # Compressed: slow, all frames each time.
                target[:] = archive[key][start : start + len(target)]
        return
    with path.open("rb", buffering=0) as file:
        for key, dtype, offset in zip(entry.keys, entry.dtypes, entry.offsets, strict=True):
            if key in out:
                _read_rows(file, offset, start, dtype, out[key])


def _read_rows(file: io.FileIO, offset: int, start: int, dtype: np.dtype, out: np.ndarray) -> None:
    direct = dtype == out.dtype
    target = out if direct else np.empty(out.shape, dtype)
    data = target.reshape(-1).view(np.uint8).data
    file.seek(offset + start * (len(data) // len(target)))
    while data:
        read = file.readinto(data)
        if not read:
            raise EOFError(f"{file.name} has become shorter")
        data = data[read:]
    if not direct:
        out[:] = target
