"""Videos and moving pictures of a run: whole, as data URIs, so that the page needs nothing else."""

import contextlib
import itertools
import math
import os
import pathlib
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


class Clip(NamedTuple):
    """A video or a moving picture."""

    title: str  # What it shows.
    step: int  # Environment steps of the run then.
    uri: str  # With all its content.
    rows: tuple[str, ...] = ()
    poster: str = ""  # A video's first frame: phones show nothing else before it plays.


def read(folder: RunFolder, problems: list[str]) -> list[Clip]:
    """The newest evaluation's video that can be shown, and the newest world-model pictures.

    `problems` gets a line for what is damaged.
    """
    pictures = newest_pictures(folder.tensorboard, problems)
    clips = list(itertools.islice(_videos(folder.videos), 1))
    for tag, (title, rows) in PICTURES.items():
        if tag in pictures and not (clips and tag == "test/video"):
            step, content = pictures[tag]
            clips.append(Clip(title, step, uri(content, "image/gif"), rows))
    return clips


def _videos(folder: pathlib.Path) -> Iterator[Clip]:
    """Those that can be decoded, newest first."""
    for path in sorted(folder.glob("test-*"), reverse=True):
        steps, kind, poster = path.stem.removeprefix("test-"), KINDS.get(path.suffix.lower()), ""
        if not kind or not steps.isdecimal():
            continue
        with contextlib.suppress(OSError, RuntimeError, StopIteration, IndexError):
            frame = imageio.imread(path, index=0)
            if kind == "video/mp4":
                poster = uri(imageio.imwrite("<bytes>", frame, extension=".png"), "image/png")
            yield Clip("Evaluation", int(steps), uri(path.read_bytes(), kind), poster=poster)


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
        while len(header := file.read(12)) == 12:
            length, expected = struct.unpack("<QI", header)
            if masked_crc32c(header[:8]) != expected:
                raise ValueError(f"wrong check sum at byte {file.tell() - 12}")
            if file.tell() + length + 4 > size:
                return
            yield event_pb2.Event.FromString(file.read(length))
            file.seek(4, os.SEEK_CUR)
