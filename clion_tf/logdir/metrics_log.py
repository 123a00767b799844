"""Metrics of a run: lines of metrics.jsonl, TensorBoard events, and the bar on the console.

All of it can be resumed: what an interrupted run wrote after its last checkpoint is taken back.
"""

import contextlib
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
from typing import TextIO

import numpy as np
import tqdm
from tensorflow import compat, errors, io

from clion_tf.logdir.run_folder import RunFolder
from clion_tf.pictures import video_files

_log = logging.getLogger(__name__)

_Event, _Summary = compat.v1.Event, compat.v1.Summary
_PREFIXED = ("train", "test")  # Groups that keep their name in metrics.jsonl, as in Dreamer.


class Logger:
    """Writes metrics.jsonl and TensorBoard events into a logdir.

    Without `resume_bytes` the run is new: a metrics file found there is renamed to
    metrics.jsonl.old. With it, the `position` from a checkpoint, the file is cut there, and
    TensorBoard hides what was logged later. Raises OSError if the logdir cannot be written.
    """

    def __init__(self, logdir: str | os.PathLike[str], resume_bytes: int | None = None):
        self._folder = RunFolder(logdir)
        self._folder.path.mkdir(parents=True, exist_ok=True)
        path = self._folder.metrics_file
        if resume_bytes is None and path.exists() and path.stat().st_size:
            os.replace(path, path.with_name(path.name + ".old"))
        self._open(resume_bytes)

    def _open(self, resume_bytes: int | None) -> None:
        path = self._folder.metrics_file
        last_step = None if resume_bytes is None else _cut(path, resume_bytes)
        self._file = path.open("ab")
        self._events = _open_events(self._folder.tensorboard, last_step)

    def rewind(self, position: int) -> None:
        """Takes back what was logged after `position`, as resuming there does."""
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

        TensorBoard shows `group/name`. The file has the original Dreamer's keys: `train/name`
        and `test/name`, the bare name for other groups; group '' has the bare name in both. JSON
        knows no NaN and no infinity: they are null there. Without `events` TensorBoard, which
        cannot forget a line at a step that others are at, is not told. Raises ValueError if two
        names clash.
        """
        line: dict[str, float | int | None] = {"step": int(step)}
        tags: dict[str, float] = {}
        for group, values in groups.items():
            for name, value in values.items():
                tag = f"{group}/{name}" if group else name
                key = tag if group in _PREFIXED else name
                if key in line or tag in tags:
                    raise ValueError(f"two metrics are called {key!r} in one line")
                number = _plain(value)
                line[key] = number if math.isfinite(number) else None
                tags[tag] = number
        self._file.write(json.dumps(line, ensure_ascii=False, allow_nan=False).encode() + b"\n")
        self._file.flush()
        if events:
            self._add(step, [_Summary.Value(tag=tag, simple_value=n) for tag, n in tags.items()])

    def video(self, step: int, tag: str, frames: np.ndarray, fps: float) -> None:
        """Logs frames uint8 [T, H, W, C] as an animated GIF."""
        height, width, channels = frames.shape[1:]
        picture = _Summary.Image(
            height=height,
            width=width,
            colorspace=channels,
            encoded_image_string=video_files.encode_gif(frames, fps),
        )
        self._add(step, [_Summary.Value(tag=tag, image=picture)])

    def close(self) -> None:
        """Writes what is pending and closes the files."""
        self._file.close()
        with _os_errors():
            self._events.close()

    def _add(self, step: int, values: list) -> None:
        event = _Event(wall_time=time.time(), step=int(step), summary=_Summary(value=values))
        with _os_errors():
            self._events.write(event.SerializeToString())
            self._events.flush()


# The last returns of training and evaluation episodes, and the speed.
NOTES = {"train": "train {:.1f}", "test": "test {:.1f}", "updates_per_second": "{:.2f} updates/s"}


class Progress:
    """A bar of environment steps on a terminal; elsewhere only the lines of `message`."""

    def __init__(self, total: int, initial: int = 0, stream: TextIO | None = None):
        self._stream = sys.stderr if stream is None else stream
        self._total = total
        self._notes: dict[str, str] = {}
        self._bar = None
        if self._stream.isatty():
            self._bar = tqdm.tqdm(
                total=total, initial=initial, file=self._stream, unit=" steps", dynamic_ncols=True
            )

    def advance(self, step: int) -> None:
        """Moves the bar to this many environment steps in all."""
        if self._bar is not None:
            self._bar.update(min(step, self._total) - self._bar.n)

    def note(self, **numbers: float | None) -> None:
        """Shows some of NOTES beside the bar; what is not given, or None, stays as it was."""
        self._notes |= {name: NOTES[name].format(x) for name, x in numbers.items() if x is not None}
        if self._bar is not None:
            self._bar.set_postfix_str(", ".join(self._notes[n] for n in NOTES if n in self._notes))

    def message(self, text: str) -> None:
        """Prints a line, above the bar if there is one."""
        if self._bar is not None:
            self._bar.write(text, file=self._stream)
        else:
            self._stream.write(text + "\n")
            self._stream.flush()

    def close(self) -> None:
        """Leaves the bar as it stands."""
        if self._bar is not None:
            self._bar.close()


@contextlib.contextmanager
def _os_errors() -> Iterator[None]:
    """A full disk is an OSError here too."""
    try:
        yield
    except errors.OpError as error:
        raise OSError(f"cannot write TensorBoard events: {error.message}") from error


def _plain(value: float) -> float | int:
    """A Python number of a Python, NumPy or TensorFlow scalar; integers stay integers."""
    array = np.asarray(value)
    return int(array) if array.dtype.kind in "iub" else float(array)


def _cut(path: Path, size: int) -> int:
    """Cuts the file to `size` bytes of whole lines; returns the last step in it, -1 if none."""
    data = path.read_bytes()[:size] if path.exists() else b""
    whole = data[: data.rfind(b"\n") + 1]
    if len(whole) != size:
        _log.warning("%s has %d bytes, not %d: metrics were lost", path, len(whole), size)
    if path.exists():
        os.truncate(path, len(whole))
    return next(filter(None, map(_step, reversed(whole.split(b"\n")))), -1)


def _step(line: bytes) -> int | None:
    """None of a damaged line."""
    try:
        return int(json.loads(line)["step"])
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
        return None


def _open_events(folder: Path, last_step: int | None) -> io.TFRecordWriter:
    """Opens a new event file; events after `last_step` in older files of the folder are hidden.

    A session that starts at a step makes TensorBoard drop older events from that step on; the
    run's first session starts as well, for without it a second does not count as a restart. An
    event file is nothing but records of Event, written here because tf.summary cannot write that
    mark. TensorBoard reads files in the order of their names, so the name's time is later than
    that of all others even if the clock went backwards.
    """
    folder.mkdir(parents=True, exist_ok=True)
    found = (re.match(r"events\.out\.tfevents\.(\d+)\.", p.name) for p in folder.iterdir())
    stamp = max([int(time.time()), *(int(match[1]) + 1 for match in found if match)])
    path = folder / f"events.out.tfevents.{stamp:010d}.{socket.gethostname()}"
    version = _Event(wall_time=time.time(), file_version="brain.Event:2")
    start = compat.v1.SessionLog(status=compat.v1.SessionLog.START)
    first = 0 if last_step is None else last_step + 1
    with _os_errors():
        writer = io.TFRecordWriter(str(path))
        for event in (version, _Event(wall_time=time.time(), step=first, session_log=start)):
            writer.write(event.SerializeToString())
        writer.flush()
    return writer
