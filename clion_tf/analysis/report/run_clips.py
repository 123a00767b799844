"""Videos and moving pictures of a run: whole, as data URIs, so that the page needs nothing else."""

import collections
import io
import os
import pathlib
import re
import struct
from collections.abc import Iterator
from typing import NamedTuple

import imageio_ffmpeg
from google.protobuf.message import DecodeError
from PIL import Image
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
_KEPT = 20  # Of a tag's pictures, which are large; a run that resumes takes fewer back.


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
    for tag, (step, content) in pictures.items():
        title, rows = PICTURES[tag]
        clips.append(Clip(title, step, uri(content, "image/gif"), rows))
    return clips


def _newest_video(folder: pathlib.Path) -> Clip | None:
    paths = [path for path in folder.glob("*.*") if path.suffix.lower() in KINDS]
    for path in sorted(paths, key=lambda path: (_steps(path) or 0, path.name), reverse=True):
        if frame := _first_frame(path):
            kind = KINDS[path.suffix.lower()]
            poster = frame if kind == "video/mp4" else ""
            return Clip("Evaluation", _steps(path), uri(path.read_bytes(), kind), poster=poster)
    return None


def _steps(path: pathlib.Path) -> int | None:
    """Environment steps in the name of an evaluation's video."""
    match = re.fullmatch(r"test-(\d+)", path.stem)
    return int(match[1]) if match else None


def _first_frame(path: pathlib.Path) -> str:
    """A video's first frame as a PNG, "" if it cannot be decoded."""
    frames = imageio_ffmpeg.read_frames(str(path))
    try:
        size = next(frames)["size"]
        picture = Image.frombytes("RGB", size, next(frames))
    except (OSError, RuntimeError, StopIteration):
        return ""
    finally:
        frames.close()
    content = io.BytesIO()
    picture.save(content, "PNG", optimize=True)
    return uri(content.getvalue(), "image/png")


def newest_pictures(folder: pathlib.Path, problems: list[str]) -> dict[str, tuple[int, bytes]]:
    """{tag: (environment steps, the newest of PICTURES in a folder of TensorBoard's events)}.

    As in TensorBoard, files follow each other by name, and a session that starts at a step takes
    back what earlier ones had from there on. Without TensorFlow, and without TensorBoard's own
    reader, which computes the check sum of each picture in Python: minutes for a run's.
    """
    known = {tag: collections.deque(maxlen=_KEPT) for tag in PICTURES}
    for path in sorted(folder.glob("events.out.tfevents.*")):
        try:
            for event in _events(path):
                if event.session_log.status == event_pb2.SessionLog.START:
                    for pictures in known.values():
                        while pictures and pictures[-1][0] >= event.step:
                            pictures.pop()
                for value in event.summary.value:
                    if value.tag in known and value.image.encoded_image_string:
                        known[value.tag].append((event.step, value.image.encoded_image_string))
        except (OSError, ValueError, DecodeError) as error:
            problems.append(f"{path.name}: damaged event file ({error})")
    return {tag: pictures[-1] for tag, pictures in known.items() if pictures}


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
