"""The newest pictures of a run's TensorBoard events, without TensorFlow.

An event file is a row of records: the length as uint64, 4 bytes of check sum, an `Event`, 4 bytes
of check sum. Pictures are large and a run has many, so that one record at a time is in memory.
"""

import collections
import dataclasses
import os
import pathlib
import struct
from collections.abc import Callable, Collection, Iterator
from typing import BinaryIO

from google.protobuf.message import DecodeError
from tensorboard.compat.proto import event_pb2
from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import masked_crc32c

_HEADER, _FOOTER = 12, 4  # Bytes around a record.


@dataclasses.dataclass(frozen=True)
class Shown:
    """A picture.

    Attributes:
      step: environment steps.
      content: the encoded image.
    """

    step: int
    content: bytes


@dataclasses.dataclass(frozen=True)
class _Place:
    step: int
    path: pathlib.Path
    offset: int


def newest(
    folder: pathlib.Path, tags: Collection[str], valid: Callable[[bytes], bool]
) -> tuple[dict[str, Shown], list[str]]:
    """({tag: its newest picture that is valid}, what is damaged, a line each).

    As in TensorBoard, files follow each other by name, and a session that starts at a step takes
    back what earlier ones had from there on.
    """
    places: dict[str, list[_Place]] = collections.defaultdict(list)
    damage = []
    for path in sorted(folder.glob("events.out.tfevents.*")):
        try:
            _index(path, tags, places)
        except (OSError, ValueError, DecodeError) as error:
            damage.append(f"{path.name}: damaged event file ({error})")
    found = {}
    for tag, known in places.items():
        try:
            pictures = (Shown(place.step, _content(place, tag)) for place in reversed(known))
            picture = next((picture for picture in pictures if valid(picture.content)), None)
        except (OSError, ValueError, TypeError):  # The file was changed or removed meanwhile.
            picture = None
        if picture is None:
            damage.append(f"{tag}: no picture that can be shown")
        else:
            found[tag] = picture
    return found, damage


def _index(path: pathlib.Path, tags: Collection[str], places: dict[str, list[_Place]]) -> None:
    for offset, event in _events(path):
        if event.session_log.status == event_pb2.SessionLog.START:
            for known in places.values():
                known[:] = [place for place in known if place.step < event.step]
        for value in event.summary.value:
            if value.tag in tags and value.image.encoded_image_string:
                places[value.tag].append(_Place(event.step, path, offset))


def _events(path: pathlib.Path) -> Iterator[tuple[int, event_pb2.Event]]:
    """(where its record begins, event); a record that is still being written ends the file."""
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        while (record := _record(file, size)) is not None:
            yield record


def _record(file: BinaryIO, size: int) -> tuple[int, event_pb2.Event] | None:
    offset = file.tell()
    header = file.read(_HEADER)
    if len(header) < _HEADER:
        return None
    length, expected = struct.unpack("<QI", header)
    if masked_crc32c(header[:8]) != expected:
        raise ValueError(f"wrong check sum at byte {offset}")
    if offset + _HEADER + length + _FOOTER > size:
        return None
    event = event_pb2.Event.FromString(file.read(length))
    file.seek(_FOOTER, os.SEEK_CUR)
    return offset, event


def _content(place: _Place, tag: str) -> bytes:
    with place.path.open("rb") as file:
        file.seek(place.offset)
        _, event = _record(file, os.fstat(file.fileno()).st_size)
    return next(v.image.encoded_image_string for v in event.summary.value if v.tag == tag)
