"""Files that appear whole or not at all."""

import contextlib
import os
import pathlib
from collections.abc import Iterator
from typing import BinaryIO


@contextlib.contextmanager
def atomic_write(path: str | pathlib.Path) -> Iterator[BinaryIO]:
    """`with atomic_write(path) as file`: the file gets its name once it is whole and on disk.

    Written under a temporary name in the same folder, flushed to disk, renamed; the folder is
    flushed too, so that the name survives a power loss. On an error nothing stays behind.
    """
    path = pathlib.Path(path)
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
