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
from typing import Any, TextIO

import numpy as np
import tqdm
from tensorflow import compat, errors, io

from clion_tf.logdir.run_folder import RunFolder
from clion_tf.pictures import video_files

_log = logging.getLogger(__name__)

_Event, _Summary, _Start = compat.v1.Event, compat.v1.Summary, compat.v1.SessionLog
_PREFIXED = ("train", "test")  # Groups that keep their name in metrics.jsonl, as in Dreamer.


class Logger:
    """Writes metrics.jsonl and TensorBoard events into a logdir; OSError if it cannot.

    Without `resume_bytes` the run is new: a metrics file found there is renamed to
    metrics.jsonl.old. With it, the `position` from a checkpoint, the file is cut there, and
    TensorBoard hides what was logged later.
    """

    def __init__(self, logdir: str | os.PathLike[str], resume_bytes: int | None = None):
        self._folder = RunFolder(logdir)
        self._folder.path.mkdir(parents=True, exist_ok=True)
        path = self._folder.metrics_file
        if resume_bytes is None and path.exists() and path.stat().st_size:
            os.replace(path, path.with_name(path.name + ".old"))
        self._open(0 if resume_bytes is None else _cut(path, resume_bytes) + 1)

    def _open(self, first_step: int) -> None:
        self._file = self._folder.metrics_file.open("ab")
        # TensorBoard reads files in the order of their names, which begin with a time: the new
        # one's is later than that of all others, even if the clock went backwards.
        folder = self._folder.tensorboard
        folder.mkdir(parents=True, exist_ok=True)
        found = (re.match(r"events\.out\.tfevents\.(\d+)\.", p.name) for p in folder.iterdir())
        stamp = max([int(time.time()), *(int(match[1]) + 1 for match in found if match)])
        path = folder / f"events.out.tfevents.{stamp:010d}.{socket.gethostname()}"
        with _os_errors():
            self._events = io.TFRecordWriter(str(path))
            # A session that starts at a step makes TensorBoard drop older events from that step
            # on; the first one starts as well, or a second does not count as a restart. They are
            # records of Event, written here because tf.summary cannot write that mark.
            self._add(0, file_version="brain.Event:2")
            self._add(first_step, session_log=_Start(status=_Start.START))

    def rewind(self, position: int) -> None:
        """Takes back what was logged after `position`, as resuming there does."""
        self.close()
        self._open(_cut(self._folder.metrics_file, position) + 1)

    @property
    def position(self) -> int:
        """Bytes of metrics.jsonl so far, safely on disk; a checkpoint stores it."""
        os.fsync(self._file.fileno())
        return self._file.tell()

    def scalars(
        self, step: int, groups: Mapping[str, Mapping[str, float]], events: bool = True
    ) -> None:
        """Logs numbers by group and name at an environment step, as one line of the file.

        TensorBoard shows `group/name`. The file has the original Dreamer's keys: `train/name` and
        `test/name`, the bare name for other groups, null for NaN and infinity. Group '' has the
        bare name in both. Without `events` TensorBoard, which cannot forget a line at a step that
        others are at, is not told. Raises ValueError if two names clash.
        """
        line: dict[str, float | int | None] = {"step": int(step)}
        values = []
        for group, numbers in groups.items():
            for name, number in numbers.items():
                tag = f"{group}/{name}" if group else name
                key = tag if group in _PREFIXED else name
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
        picture = _Summary.Image(
            height=height,
            width=width,
            colorspace=channels,
            encoded_image_string=video_files.encode_gif(frames, fps),
        )
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


# The last returns of training and evaluation episodes, and the speed.
NOTES = {"train": "train {:.1f}", "test": "test {:.1f}", "updates_per_second": "{:.2f} updates/s"}


class Progress:
    """A bar of environment steps on a terminal; elsewhere only the lines of `message`."""

    def __init__(self, total: int, initial: int = 0, stream: TextIO | None = None):
        self._stream = sys.stderr if stream is None else stream
        self._notes: dict[str, str] = {}
        self._bar = tqdm.tqdm(
            total=total,
            initial=initial,
            file=self._stream,
            unit=" steps",
            dynamic_ncols=True,
            disable=None,  # Where there is no terminal.
        )

    def advance(self, step: int) -> None:
        """Moves the bar to this many environment steps in all."""
        self._bar.update(min(step, self._bar.total) - self._bar.n)

    def note(self, **numbers: float | None) -> None:
        """Shows some of NOTES beside the bar; what is not given, or None, stays as it was."""
        self._notes |= {name: NOTES[name].format(x) for name, x in numbers.items() if x is not None}
        self._bar.set_postfix_str(", ".join(self._notes[n] for n in NOTES if n in self._notes))

    def message(self, text: str) -> None:
        """Prints a line, above the bar if there is one."""
        self._bar.write(text, file=self._stream)
        self._stream.flush()

    def close(self) -> None:
        """Leaves the bar as it stands."""
        self._bar.close()


@contextlib.contextmanager
def _os_errors() -> Iterator[None]:
    """A full disk is an OSError here too."""
    try:
        yield
    except errors.OpError as error:
        raise OSError(f"cannot write TensorBoard events: {error.message}") from error


def _cut(path: Path, size: int) -> int:
    """Cuts the file to `size` bytes of whole lines; returns the last step in it, -1 if none."""
    data = path.read_bytes()[:size] if path.exists() else b""
    whole = data[: data.rfind(b"\n") + 1]
    if len(whole) != size:
        _log.warning("%s has %d bytes, not %d: metrics were lost", path, len(whole), size)
    if path.exists():
        os.truncate(path, len(whole))
    for line in reversed(whole.split(b"\n")):
        with contextlib.suppress(ValueError, TypeError, KeyError, OverflowError, RecursionError):
            return int(json.loads(line)["step"])
    return -1
