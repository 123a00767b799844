"""Metrics of a run: lines of metrics.jsonl, TensorBoard events, and the bar on the console."""

import contextlib
import errno
import json
import logging
import math
import os
import re
import socket
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tqdm
from tensorflow import compat, errors, io

from clion_tf.logdir.run_folder import RunFolder
from clion_tf.pictures import video_files

_log = logging.getLogger(__name__)

_Event, _Summary, _Start = compat.v1.Event, compat.v1.Summary, compat.v1.SessionLog


class Logger:
    """Writes metrics.jsonl and TensorBoard events into a logdir; OSError if it cannot.

    With `resume_bytes`, the `position` from a checkpoint, it continues from there. A new run's
    takes no metrics over: a file found there is renamed to metrics.jsonl.old.
    """

    def __init__(self, logdir: str | os.PathLike[str], resume_bytes: int | None = None):
        folder = RunFolder(logdir)
        self._path, self._tensorboard = folder.metrics_file, folder.tensorboard
        self._tensorboard.mkdir(parents=True, exist_ok=True)
        if resume_bytes is None and self._path.exists() and self._path.stat().st_size:
            self._path.replace(self._path.with_name(self._path.name + ".old"))
        self._open(resume_bytes or 0)

    def _open(self, position: int) -> None:
        first_step = _cut(self._path, position) + 1
        self._file = self._path.open("ab")
        # TensorBoard reads files in the order of their names, which begin with a time: the new
        # one's is later than that of all others, even if the clock went backwards.
        names = " ".join(path.name for path in self._tensorboard.iterdir())
        stamps = [int(stamp) + 1 for stamp in re.findall(r"events\.out\.tfevents\.(\d+)", names)]
        stamp = max([int(time.time()), *stamps])
        name = f"events.out.tfevents.{stamp:010d}.{socket.gethostname()}"
        with _os_errors():
            self._events = io.TFRecordWriter(str(self._tensorboard / name))
        # A session that starts at a step makes TensorBoard drop older events from that step on; the
        # first one starts as well, or a second does not count as a restart. They are records of
        # Event, written here because tf.summary cannot write that mark.
        self._add(0, file_version="brain.Event:2")
        self._add(first_step, session_log=_Start(status=_Start.START))

    def rewind(self, position: int) -> None:
        """Takes back what was logged after `position`; TensorBoard hides that of later steps."""
        self.close()
        self._open(position)

    @property
    def position(self) -> int:
        """Bytes of metrics.jsonl so far, safely on disk; a checkpoint stores it."""
        os.fsync(self._file.fileno())
        return self._file.tell()

    def scalars(
        self, step: int, groups: Mapping[str, Mapping[str, float]], events: bool = True
    ) -> None:
        """Logs numbers by group and name at an environment step, as one line of the file.

        The line's keys are the original Dreamer's: `train/name`, `test/name`, else the bare name;
        NaN and infinity become null. With `events` TensorBoard gets them too, as `group/name` (or
        `name` in group ''), and cannot take them back. Raises ValueError if two keys are equal.
        """
        line: dict[str, float | int | None] = {"step": int(step)}
        values = []
        for group, numbers in groups.items():
            for name, number in numbers.items():
                tag = f"{group}/{name}" if group else name
                key = tag if group in ("train", "test") else name
                if key in line:
                    raise ValueError(f"two metrics are called {key!r} in one line")
                number = np.asarray(number).item()  # Integers stay integers.
                line[key] = number if math.isfinite(number) else None
                values.append(_Summary.Value(tag=tag, simple_value=number))
        self._file.write(json.dumps(line, ensure_ascii=False, allow_nan=False).encode() + b"\n")
        self._file.flush()
        if events:
            self._add(step, summary=_Summary(value=values))

    def video(self, step: int, tag: str, frames: np.ndarray, fps: float) -> None:
        """Logs frames uint8 [T, H, W, C] as an animated GIF."""
        height, width, channels = frames.shape[1:]
        picture = _Summary.Image(height=height, width=width, colorspace=channels)
        picture.encoded_image_string = video_files.encode_gif(frames, fps)
        self._add(step, summary=_Summary(value=[_Summary.Value(tag=tag, image=picture)]))

    def close(self) -> None:
        """Writes what is pending and closes the files."""
        self._file.close()
        with _os_errors():
            self._events.close()

    def _add(self, step: int, **what: Any) -> None:
        event = _Event(wall_time=time.time(), step=int(step), **what)
        with _os_errors():
            self._events.write(event.SerializeToString())
            self._events.flush()


@contextlib.contextmanager
def _os_errors() -> Iterator[None]:
    """A full disk is an OSError here too."""
    try:
        yield
    except errors.OpError as error:
        raise OSError(f"cannot write TensorBoard events: {error.message}") from error


def _cut(path: Path, size: int) -> int:
    """Cuts the file to `size` bytes of whole lines; returns the last step in it, -1 if none."""
    path.touch()
    data = path.read_bytes()[:size]
    whole = data[: data.rfind(b"\n") + 1]
    if len(whole) != size:
        _log.warning("%s has %d bytes, not %d: metrics were lost", path, len(whole), size)
    os.truncate(path, len(whole))
    for line in reversed(whole.split(b"\n")):
        with contextlib.suppress(ValueError, TypeError, KeyError, OverflowError, RecursionError):
            return int(json.loads(line)["step"])
    return -1


class Progress:
    """A bar of environment steps on a terminal; elsewhere only the lines of `message`."""

    def __init__(self, total: int, initial: int = 0):
        self._notes: dict[str, float] = {}
        # Nothing is shown (`disable`) where there is no terminal.
        shown = {"unit": " steps", "dynamic_ncols": True, "disable": None}
        self._bar = tqdm.tqdm(total=total, initial=initial, file=sys.stderr, **shown)
        self.close = self._bar.close  # Leaves the bar as it stands.

    def show(self, step: int, **notes: float) -> None:
        """Moves the bar to so many environment steps in all; the newest notes stay beside it."""
        self._notes |= notes
        with _without_terminal():
            if notes:
                self._bar.set_postfix(self._notes)
            self._bar.update(min(step, self._bar.total) - self._bar.n)

    def message(self, text: str) -> None:
        """Prints a line, above the bar if there is one."""
        with _without_terminal():
            self._bar.write(text, file=sys.stderr)
            sys.stderr.flush()


@contextlib.contextmanager
def _without_terminal() -> Iterator[None]:
    """A terminal that is closed during a run is no reason to end it."""
    try:
        yield
    except OSError as error:
        if error.errno != errno.EIO:
            raise
