"""Sequences drawn from the episodes on disk; memory stays flat however long the run.

The original keeps all episodes in memory; here every batch is read from the files, at offsets
that an index holds ("ours": runs of days). Drawing is a pure function of the update's number.
"""

import contextlib
import logging
import os
import queue
import re
import threading
from collections.abc import Callable, Generator, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from clion_tf.console import UserError
from clion_tf.replay.episode_files import (
    DAMAGE,
    DTYPES,
    NUMBERS,
    Episode,
    EpisodeFile,
    check_file,
    locate,
    read_frames,
    save_episode,
)
from clion_tf.replay.observation_shapes import Shapes

Batch = dict[str, np.ndarray]


class ReplayError(UserError, ValueError):
    """No batch can be drawn; the message is one line."""


_log = logging.getLogger(__name__)

_OWN_NAME = re.compile(r"(\d{6,})-(\d+)\.npz")  # Index and frames, see save_episode.
_SAMPLING = 1  # Sets the noise of batches apart from other uses of the run's seed.


class OwnFile(NamedTuple):
    """A file under a name of ours, as far as the name tells."""

    number: int
    frames: int
    path: Path


class Replay:
    """An index of the episodes in a folder, from which batches of sequences are read.

    `batch_length` is the frames L of a sequence; `balance` draws the ends of episodes more often
    (Dreamer). `shapes` are those of a frame's observation and action, which every episode must
    have; without them, the first episode's. `capacity` bounds the transitions that are drawn from;
    the oldest episodes give way, and `prune` removes them. Sequences may begin up to `lead` frames
    before an episode's first, which is repeated there.
    """

    def __init__(
        self,
        folder: Path | str,
        batch_length: int,
        seed: int = 0,
        balance: bool = False,
        shapes: Shapes | None = None,
        capacity: int | None = None,
        lead: int = 0,
    ):
        if batch_length < 1:
            raise ValueError(f"batch_length must be at least 1, not {batch_length}")
        self._folder = Path(folder)
        self._length = batch_length
        self._seed = seed
        self._balance = balance
        self._capacity = capacity
        self._lead = lead
        self._shapes: Shapes | None = None
        if shapes is not None:
            self._shapes = {**shapes, **{key: shapes.get(key, ()) for key in NUMBERS}}
        self._entries: list[EpisodeFile] = []
        self._drawable: list[EpisodeFile] = []  # Those with at least L frames, in the same order.
        self._next_index: int | None = None

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def episodes(self) -> int:
        """Number of usable episodes."""
        return len(self._entries)

    @property
    def next_index(self) -> int:
        """Index of the next episode; what a checkpoint stores for `load(count)`.

        Equal to `episodes` unless damaged files were set aside.
        """
        if self._next_index is None:
            self.load()
        return self._next_index or 0

    def steps(self, action_repeat: int) -> int:
        """Environment steps stored; an episode of T frames has T - 1 actions."""
        return sum(entry.frames - 1 for entry in self._entries) * action_repeat

    def load(self, count: int | None = None, tidy: bool = True) -> int:
        """Indexes the files of the folder and returns how many are usable.

        The order is that of the names, with files under foreign names (the original Dreamer's)
        before our own. With a `count`, only the first so many are taken: a file beyond what the
        checkpoint knows is left over from an interrupted run and will be written again. What is
        no whole episode is renamed to `<name>.bad` with a warning, unless the folder is another
        process's (not `tidy`).
        """
        own, foreign = self._files()
        if count is not None:
            own = [file for file in own if file.number < count]
            foreign = foreign[: max(0, count - len(own))]
        self._entries, self._drawable = [], []
        for path in (*foreign, *(file.path for file in own)):
            try:
                self._index(*check_file(path))
            except DAMAGE as error:
                if tidy:
                    _set_aside(path, error)
        self._drop_oldest()
        past = own[-1].number + 1 if own else 0
        self._next_index = max(past, len(foreign) + len(own)) if count is None else count
        return len(self._entries)

    def leave_out(self, newest: int) -> None:
        """No longer draws from the newest so many episodes; until `load`."""
        left = self._entries[len(self._entries) - newest :]
        self._entries = self._entries[: len(self._entries) - newest]
        self._drawable = [entry for entry in self._drawable if entry not in left]

    def follow(self, count: int) -> None:
        """Indexes what another process has written since the last time, up to index `count`."""
        if self._next_index is None or count < self._next_index:
            self.load(count, tidy=False)
            return
        for index in range(self._next_index, count):
            for path in self._folder.glob(f"{index:06d}-*.npz"):
                with contextlib.suppress(*DAMAGE):  # Who asked compares what is held.
                    self._index(*check_file(path))
        self._drop_oldest()
        self._next_index = count

    def add(self, arrays: Mapping[str, np.ndarray]) -> Path:
        """Saves the episode under the next index and makes it drawable; see save_episode."""
        index = self.next_index
        episode = Episode.of(arrays)
        self._require(episode.shapes)
        for stale in self._folder.glob(f"{index:06d}-*.npz"):
            stale.unlink()  # Left over from an interrupted run, maybe with other frames.
        path = save_episode(self._folder, index, episode)
        self._index(*locate(path))
        self._drop_oldest()
        self._next_index = index + 1
        return path

    def prune(self, count: int) -> int:
        """Removes the files of episodes that had given way at index `count`; returns how many.

        Call it after a checkpoint is saved, with the index of the oldest checkpoint that is kept:
        a run that falls back to it must find the same episodes.
        """
        if self._capacity is None:
            return 0
        known = [file for file in self._files()[0] if file.number < count]
        stored, gone = 0, []
        for number, file in enumerate(reversed(known)):
            stored += file.frames - 1
            if number and stored > self._capacity:
                gone.append(file.path)
        for path in gone:
            path.unlink()
        return len(gone)

    def sample(self, batch_size: int, update: int) -> Batch:
        """A batch [B, L, ...] of sequences: the batch of this update, whenever it is drawn.

        It depends on nothing but the seed, the update's number and the indexed episodes. Each
        row takes an episode uniformly among those with at least L frames (the lead counted in),
        then one of its T - L + 1 starts uniformly (the original never draws an episode's last
        frame). Raises ValueError if no episode is long enough.
        """
        pool = self._drawable
        if not pool:
            raise ReplayError(self._too_short())
        seeds = np.random.SeedSequence([self._seed, _SAMPLING, update])
        rng = np.random.Generator(np.random.Philox(seeds))
        rows = [pool[row] for row in rng.integers(len(pool), size=batch_size)]
        frames = np.array([entry.frames + self._lead for entry in rows])
        starts = _starts(rng, frames, self._length, self._balance) - self._lead
        return self._gather(rows, starts, self._length)

    def sample_fn(self, batch_size: int) -> Callable[[int], Batch]:
        """`sample` for a fixed batch size, as `prefetch` takes it."""
        return lambda update: self.sample(batch_size, update)

    def newest(self, batch_length: int, rows: int, before: int = 0) -> Batch:
        """Sequences [rows, batch_length, ...] evenly spread over the newest episode.

        Or over one that has `before` newer ones. They are shorter if it is shorter.
        """
        if not self._entries:
            raise ReplayError(f"no episode in {self._folder}")
        entry = self._entries[-1 - before]
        batch_length = min(batch_length, entry.frames)
        starts = np.linspace(0, entry.frames - batch_length, rows).round().astype(int)
        return self._gather([entry] * rows, starts, batch_length)

    def _files(self) -> tuple[list[OwnFile], list[Path]]:
        """Our own files by index, and those under foreign names by name."""
        own, foreign = [], []
        for path in sorted(self._folder.glob("*.npz")):
            if match := _OWN_NAME.fullmatch(path.name):
                own.append(OwnFile(int(match[1]), int(match[2]), path))
            else:
                foreign.append(path)
        return sorted(own), foreign

    def _index(self, entry: EpisodeFile, shapes: Shapes) -> None:
        self._require(shapes)
        self._entries.append(entry)
        if entry.frames + self._lead >= self._length:
            self._drawable.append(entry)

    def _drop_oldest(self) -> None:
        if self._capacity is None:
            return
        stored = sum(entry.frames - 1 for entry in self._entries)
        while len(self._entries) > 1 and stored > self._capacity:
            oldest = self._entries.pop(0)
            stored -= oldest.frames - 1
            if self._drawable and self._drawable[0] is oldest:
                self._drawable.pop(0)

    def _require(self, shapes: Shapes) -> None:
        """Refuses an episode of other shapes; what it has beyond ours does not matter."""
        if self._shapes is None:
            self._shapes = dict(shapes)
        for key, shape in self._shapes.items():
            if shapes.get(key) != shape:
                raise ValueError(f"{key!r} has shape {shapes.get(key)} a frame, not {shape}")

    def _gather(self, rows: list[EpisodeFile], starts: np.ndarray, length: int) -> Batch:
        batch = {
            key: np.empty((len(rows), length, *shape), DTYPES[key])
            for key, shape in (self._shapes or {}).items()
        }
        for row, (entry, start) in enumerate(zip(rows, starts.tolist(), strict=True)):
            ahead = max(0, -start)
            parts = {key: value[row, ahead:] for key, value in batch.items()}
            read_frames(self._folder / entry.name, entry, max(0, start), parts)
            if ahead:
                for value in batch.values():
                    value[row, :ahead] = value[row, ahead]
        return batch

    def _too_short(self) -> str:
        longest = max((entry.frames for entry in self._entries), default=0)
        return (
            f"no episode in {self._folder} has the {self._length} frames of a sequence: "
            f"{len(self._entries)} episodes, the longest has {longest} frames; "
            f"--batch_length={max(2, longest // 2)} would do"
        )


def prefetch(
    draw: Callable[[int], Batch], numbers: Iterable[int], depth: int = 2
) -> Generator[tuple[int, Batch], None, None]:
    """Yields (number, draw(number)) in order, drawing up to `depth` batches ahead in a thread.

    The thread has ended when the generator has: at the end, after an error on either side (the
    thread's is raised here), and when it is closed early, which a `for` loop that is left does.
    """
    slots = threading.Semaphore(depth)
    ready: queue.SimpleQueue[tuple[tuple[int, Batch] | None, BaseException | None]]
    ready = queue.SimpleQueue()
    stop = threading.Event()

    def work() -> None:
        try:
            for number in numbers:
                slots.acquire()
                if stop.is_set():
                    return
                ready.put(((number, draw(number)), None))
            ready.put((None, None))
        except BaseException as error:  # Whatever it is belongs to the consumer.
            ready.put((None, error))

    thread = threading.Thread(target=work, name="prefetch", daemon=True)
    thread.start()
    try:
        while True:
            item, error = ready.get()
            if error is not None:
                raise error
            if item is None:
                return
            slots.release()
            yield item
    finally:
        stop.set()
        slots.release()
        thread.join()


def _starts(rng: np.random.Generator, frames: np.ndarray, length: int, balance: bool) -> np.ndarray:
    """First frames of sequences in episodes of `frames` [B] frames; int [B]."""
    if balance:  # Dreamer: starts that would overrun the end become the last one.
        return np.minimum(rng.integers(0, frames), frames - length)
    return rng.integers(0, frames - length, endpoint=True)


def _set_aside(path: Path, error: Exception) -> None:
    _log.warning("Set aside %s, which is no whole episode: %s", path, error)
    try:
        os.replace(path, path.with_name(path.name + ".bad"))
    except OSError as failure:
        _log.warning("Could not rename %s: %s", path, failure)
