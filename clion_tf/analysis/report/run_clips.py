"""Videos and moving pictures of a run: whole, as data URIs, so that the page needs nothing else."""

import math
import os
import pathlib
import re
import struct
from collections.abc import Iterator
from typing import NamedTuple

import imageio.v3 as imageio
from google.protobuf.message import DecodeError
from tensorboard.compat.proto import event_pb2
from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import masked_crc32c

from clion_tf.analysis.report.small_figures import uri
from clion_tf.logdir.run_folder import RunFolder

KINDS = {".mp4": "video/mp4", ".gif": "image/gif"}
# Of TensorBoard's pictures: what they show, and the names of their rows, from the top.
PICTURES = {
    "test/video": ("Evaluation", ()),  # Of runs that save no video files.
    "model/openloop": ("Open-loop prediction", ("truth", "prediction", "error")),
    "model/memory": ("Decoded from noisy memory", ("input", "decoded", "error")),
}
_HEADER, _FOOTER = 12, 4  # Bytes around a record of an event file.


class Clip(NamedTuple):
    """A video or a moving picture."""

    title: str  # What it shows.
    step: int | None  # Environment steps of the run then, None if that is not known.
    uri: str  # With all its content.
    rows: tuple[str, ...] = ()
    poster: str = ""  # A video's first frame: phones show nothing else before it plays.


def read(folder: RunFolder, problems: list[str]) -> list[Clip]:
    """The newest evaluation's video that can be shown, and the newest world-model pictures.

    `problems` gets a line for what is damaged.
    """
    clips = []
    pictures = newest_pictures(folder.tensorboard, problems)
    if video := _newest_video(folder.videos):
        clips.append(video)
        pictures.pop("test/video", None)
    for tag, (title, rows) in PICTURES.items():
        if tag in pictures:
            step, content = pictures[tag]
            clips.append(Clip(title, step, uri(content, "image/gif"), rows))
    return clips


def _newest_video(folder: pathlib.Path) -> Clip | None:
    named = {}
    for path in folder.glob("*.*"):
        if path.suffix.lower() in KINDS:
            match = re.fullmatch(r"test-(\d+)", path.stem)
            named[path] = int(match[1]) if match else None
    for path in sorted(named, key=lambda path: (named[path] or 0, path.name), reverse=True):
        try:
            frame = imageio.imread(path, index=0)
        except (OSError, RuntimeError, StopIteration, IndexError):
            continue  # It cannot be shown.
        kind, poster = KINDS[path.suffix.lower()], ""
        if kind == "video/mp4":
            poster = uri(imageio.imwrite("<bytes>", frame, extension=".png"), "image/png")
        return Clip("Evaluation", named[path], uri(path.read_bytes(), kind), poster=poster)
    return None


def newest_pictures(folder: pathlib.Path, problems: list[str]) -> dict[str, tuple[int, bytes]]:
    """{tag: (environment steps, the newest of PICTURES in a folder of TensorBoard's events)}.

    As in TensorBoard, files follow each other by name, and a session that starts at a step takes
    back what earlier ones had from there on. Without TensorFlow, and without TensorBoard's own
    reader, which computes the check sum of each picture in Python: minutes for a run's.
    """
    found, end = {}, math.inf
    for path in sorted(folder.glob("events.out.tfevents.*"), reverse=True):
        here, start = {}, end
        try:
            for event in _events(path):
                if event.session_log.status == event_pb2.SessionLog.START:
                    start = min(start, event.step)
                for value in event.summary.value:
                    if value.tag in PICTURES and event.step < end:
                        here[value.tag] = event.step, value.image.encoded_image_string
        except (OSError, ValueError, DecodeError) as error:
            problems.append(f"{path.name}: damaged event file ({error})")
        found, end = here | found, start
    return found


def _events(path: pathlib.Path) -> Iterator[event_pb2.Event]:
    """Those of a file; a record that is still being written ends it.

    A record is its length as uint64, 4 bytes of check sum, an `Event`, 4 bytes of check sum.
    """
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        while len(header := file.read(_HEADER)) == _HEADER:
            length, expected = struct.unpack("<QI", header)
            if masked_crc32c(header[:8]) != expected:
                raise ValueError(f"wrong check sum at byte {file.tell() - _HEADER}")
            if file.tell() + length + _FOOTER > size:
                return
            yield event_pb2.Event.FromString(file.read(length))
            file.seek(_FOOTER, os.SEEK_CUR)
