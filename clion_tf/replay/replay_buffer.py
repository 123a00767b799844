"""Sequences drawn from the episodes on disk, a pure function of the update's number.

Every batch is read from the files, so that memory stays flat ("ours": the original keeps all).
"""

import collections
import concurrent.futures
import dataclasses
import logging
from collections.abc import Callable, Generator, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from clion_tf.console import UserError
from clion_tf.replay import episode_files as files
from clion_tf.replay.episode_files import DTYPES, EpisodeFile
from clion_tf.replay.observation_shapes import Shapes

Batch = dict[str, np.ndarray]

_log = logging.getLogger(__name__)
_SAMPLING = 1  # Sets the noise of batches apart from other uses of the run's seed.


class ReplayError(UserError, ValueError):
    """No batch can be drawn; the message is one line."""


@dataclasses.dataclass(eq=False)
class Replay:
    """An index of the episodes in a folder, from which batches of sequences are read."""

    folder: Path | str
    batch_length: int  # frames L of a sequence
    seed: int = 0
    balance: bool = False  # draw the ends of episodes more often (Dreamer)
    shapes: Shapes | None = None  # of a frame in every episode; else the first episode's
    capacity: int | None = None  # transitions to draw from; the oldest episodes give way
    padding: int = 0  # most copies of an episode's first frame that a sequence may begin with

    def __post_init__(self) -> None:
        self._folder = Path(self.folder)
        self._shapes: Shapes = {**self.shapes, "reward": (), "discount": ()} if self.shapes else {}
        self._entries: list[EpisodeFile] = []
        self._drawable: list[EpisodeFile] = []  # Those long enough (with padding), in this order.
        self._next_index: int | None = None
        self._stale: dict[int, list[Path]] = {}  # Of episodes to come: an interrupted run's files.

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def next_index(self) -> int:
        """Index of the next episode; what a checkpoint stores for `load(count)`."""
        if self._next_index is None:
            self.load()
        return self._next_index or 0

    @property
    def transitions(self) -> int:
        """An episode of T frames has T - 1."""
        return sum(entry.frames - 1 for entry in self._entries)

    @property
    def paths(self) -> list[Path]:
        """The episodes' files, oldest first."""
        return [entry.path for entry in self._entries]

    @property
    def damaged(self) -> int:
        """Files that were set aside."""
        return sum(1 for _ in self._folder.glob("*.bad"))

    def load(self, count: int | None = None, tidy: bool = True) -> int:
        """Indexes the files of the folder and returns how many are usable.

        Foreign names (the original Dreamer's) come first, each kind in the order of names. With
        `count`, only the first `count` are taken: an interrupted run left the others. Unusable
        files are renamed to `<name>.bad` if `tidy`; pass False for another run's folder.
        """
        own, foreign = files.files_in(self._folder)
        every = own
        if count is not None:
            own = [file for file in own if file[0] < count]
            foreign = foreign[: max(0, count - len(own))]
        known = {entry.path: entry for entry in self._entries}  # Not read again.
        self._entries = []
        for path in (*foreign, *(path for *_, path in own)):
            try:
                entry = known.get(path) or files.check_file(path)
                self._require(entry.arrays)
            except files.DAMAGE as error:
                if tidy:
                    _set_aside(path, error)
            else:
                self._entries.append(entry)
        self._settle()
        past = own[-1][0] + 1 if own else 0
        self._next_index = max(past, len(foreign) + len(own)) if count is None else count
        self._stale = {}
        for index, _, path in every:
            if index >= self._next_index:  # Maybe with other frames, so under another name.
                self._stale.setdefault(index, []).append(path)
        return len(self._entries)

    def lacks(self, count: int) -> bool:
        """Whether any of the first `count` episodes is lost, other than by damage or capacity."""
        longest = max((entry.frames - 1 for entry in self._entries), default=0)
        if self.capacity is not None and self.transitions + longest > self.capacity:
            held = {*self.paths}  # What is older has given way.
            own = files.files_in(self._folder)[0]
            count -= min((index for index, _, path in own if path in held), default=count)
        return len(self) + self.damaged < count

    def leave_out(self, newest: int) -> None:
        """No longer draws from the newest so many episodes; until `load`."""
        del self._entries[len(self._entries) - newest :]
        self._settle()

    def add(self, arrays: Mapping[str, np.ndarray]) -> Path:
        """Saves the episode under the next index and makes it drawable; see save_episode.

        Raises ValueError for arrays that are no episode or of other shapes, OSError.
        """
        index = self.next_index
        episode = files.checked(arrays)
        self._require(episode)
        for stale in self._stale.pop(index, ()):
            stale.unlink(missing_ok=True)
        path = files.save_episode(self._folder, index, episode)
        self._entries.append(files.locate(path))
        if self.capacity is None:  # Nothing gives way: the others stay as they are.
            if self._long_enough(self._entries[-1].frames):
                self._drawable.append(self._entries[-1])
        else:
            self._settle()
        self._next_index = index + 1
        return path

    def prune(self, count: int) -> None:
        """Deletes episodes that were over capacity when a checkpoint held `count` episodes."""
        known = [file for file in files.files_in(self._folder)[0] if file[0] < count]
        for number in self._given_way([frames for _, frames, _ in known]):
            known[number][-1].unlink()

    def sample(self, batch_size: int, update: int) -> Batch:
        """A batch [B, L, ...]: a function of the seed, the update's number and the episodes.

        Images are uint8, all else float32. Raises ReplayError if no episode is long enough. Each
        row draws an episode uniformly from those of T >= L frames (T includes the padding), then
        one of its T - L + 1 starts: uniformly (the original never draws the last) or by `balance`.
        """
        if not self._drawable:
            longest = max((entry.frames for entry in self._entries), default=0)
            raise ReplayError(
                f"no episode in {self._folder} has the {self.batch_length} frames of a sequence: "
                f"{len(self)} episodes, the longest has {longest} frames; "
                f"--batch_length={max(2, longest // 2)} would do, with another --logdir"
            )
        seeds = np.random.SeedSequence([self.seed, _SAMPLING, update])
        rng = np.random.Generator(np.random.Philox(seeds))
        rows = [self._drawable[row] for row in rng.integers(len(self._drawable), size=batch_size)]
        frames = np.array([entry.frames + self.padding for entry in rows])
        last = frames - self.batch_length
        if self.balance:  # Dreamer: starts that would overrun the end become the last one.
            starts = np.minimum(rng.integers(0, frames), last)
        else:
            starts = rng.integers(0, last, endpoint=True)
        return self._gather(rows, starts - self.padding, self.batch_length)

    def newest(self, batch_length: int, rows: int, before: int = 0) -> Batch:
        """At most [rows, batch_length, ...], evenly spread over the newest episode.

        With `before`, over the one that is so many episodes older.
        """
        if not self._entries:
            raise ReplayError(f"no episode in {self._folder}")
        entry = self._entries[-1 - before]
        batch_length = min(batch_length, entry.frames)
        starts = np.linspace(0, entry.frames - batch_length, rows).round().astype(int)
        return self._gather([entry] * rows, starts, batch_length)

    def _settle(self) -> None:
        """The oldest give way to the capacity; says which of the others can be drawn from."""
        for number in reversed(self._given_way([entry.frames for entry in self._entries])):
            del self._entries[number]
        self._drawable = [entry for entry in self._entries if self._long_enough(entry.frames)]

    def _long_enough(self, frames: int) -> bool:
        return frames >= self.batch_length - self.padding

    def _given_way(self, frames: list[int]) -> list[int]:
        """Indices of the oldest episodes beyond the capacity, given all episodes' frame counts.

        The newest drawable episode always stays: those within the capacity may all be too short.
        """
        if self.capacity is None or not frames:
            return []
        stored = np.cumsum([count - 1 for count in reversed(frames)])
        gone = len(frames) - max(1, int(np.sum(stored <= self.capacity)))
        long = [number for number, count in enumerate(frames) if self._long_enough(count)]
        return [number for number in range(gone) if long[-1:] != [number]]

    def _require(self, arrays: Mapping[str, Any]) -> None:
        """Refuses an episode of other shapes; what it has beyond ours does not matter."""
        shapes = {key: array.shape[1:] for key, array in arrays.items()}
        self._shapes = self._shapes or shapes
        for key, shape in self._shapes.items():
            if shapes.get(key) != shape:
                raise ValueError(f"{key!r} has shape {shapes.get(key)} a frame, not {shape}")

    def _gather(self, rows: list[EpisodeFile], starts: np.ndarray, length: int) -> Batch:
        batch = {
            key: np.empty((len(rows), length, *shape), DTYPES[key])
            for key, shape in self._shapes.items()
        }
        for row, (entry, start) in enumerate(zip(rows, starts.tolist(), strict=True)):
            ahead = max(0, -start)
            parts = {key: values[row, ahead:] for key, values in batch.items()}
            files.read_frames(entry, max(0, start), parts)
            for values in batch.values():
                values[row, :ahead] = values[row, ahead]
        return batch


def prefetch(
    draw: Callable[[int], Batch], numbers: Iterable[int], depth: int = 2
) -> Generator[tuple[int, Batch], None, None]:
    """Yields (number, draw(number)) in order, drawing up to `depth` ahead in its own thread."""
    ahead: collections.deque = collections.deque()
    with concurrent.futures.ThreadPoolExecutor(1, "prefetch") as thread:
        try:
            for number in numbers:
                ahead.append((number, thread.submit(draw, number)))
                if len(ahead) > depth:
                    first, batch = ahead.popleft()
                    yield first, batch.result()
            for number, batch in ahead:
                yield number, batch.result()
        finally:
            thread.shutdown(cancel_futures=True)


def _set_aside(path: Path, error: Exception) -> None:
    _log.warning("Set aside %s, which is no whole episode: %s", path, error)
    try:
        path.replace(path.with_name(path.name + ".bad"))
    except OSError as failure:
        _log.warning("Could not rename %s: %s", path, failure)
