"""The newest pictures of a run's TensorBoard events, without TensorFlow.

An event file is a row of records: the length as uint64, 4 bytes of check sum, an `Event`, 4 bytes
of check sum. Read here, because TensorBoard's own reader computes the check sum of each picture in
Python, which takes minutes for a run's.
"""

import collections
import os
import pathlib
import struct
from collections.abc import Callable, Collection, Iterator
from typing import NamedTuple

from google.protobuf.message import DecodeError
from tensorboard.compat.proto import event_pb2
from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import masked_crc32c

_HEADER, _FOOTER = 12, 4  # Bytes around a record.
_KEPT = 20  # Of a tag's pictures, which are large; a run that resumes takes fewer back.


class Shown(NamedTuple):
    """A picture: environment steps, and the encoded image."""

    step: int
    content: bytes


def newest(
    folder: pathlib.Path, tags: Collection[str], valid: Callable[[bytes], bool]
) -> tuple[dict[str, Shown], list[str]]:
    """({tag: its newest picture that is valid}, what is damaged, a line each).

    As in TensorBoard, files follow each other by name, and a session that starts at a step takes
    back what earlier ones had from there on.
    """
    pictures = {tag: collections.deque(maxlen=_KEPT) for tag in tags}
    found, damage = {}, []
    for path in sorted(folder.glob("events.out.tfevents.*")):
        try:
            for event in _events(path):
                _add(event, pictures)
        except (OSError, ValueError, DecodeError) as error:
            damage.append(f"{path.name}: damaged event file ({error})")
    for tag, known in pictures.items():
        if picture := next((one for one in reversed(known) if valid(one.content)), None):
            found[tag] = picture
        elif known:
            damage.append(f"{tag}: no picture that can be shown")
    return found, damage


def _add(event: event_pb2.Event, pictures: dict[str, collections.deque]) -> None:
    if event.session_log.status == event_pb2.SessionLog.START:
        for known in pictures.values():
            while known and known[-1].step >= event.step:
                known.pop()
    for value in event.summary.value:
        if value.tag in pictures and value.image.encoded_image_string:
            pictures[value.tag].append(Shown(event.step, value.image.encoded_image_string))


def _events(path: pathlib.Path) -> Iterator[event_pb2.Event]:
    """Those of a file; a record that is still being written ends it."""
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
