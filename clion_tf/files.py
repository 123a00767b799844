"""Files that appear whole or not at all, and the paths that users name."""

import contextlib
import errno
import os
import pathlib
from collections.abc import Iterator
from typing import BinaryIO

from clion_tf.console import Refused

# What a file system answers that cannot do a thing, whatever the file.
UNSUPPORTED = (errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL)


class PathError(Refused, ValueError):
    """A path that cannot be one; the message is one line."""


def user_path(name: str | os.PathLike) -> pathlib.Path:
    """A path as a user names it, with the home folder for `~` or `~user`.

    Raises:
      PathError: if there is no such home folder, or it cannot be a path or cannot be printed.
    """
    text = os.fspath(name)
    if wrong := unprintable(text):
        raise PathError(f"{text!r}: {wrong}")
    try:
        path = pathlib.Path(text).expanduser()
    except RuntimeError as error:
        user = pathlib.Path(text).parts[0][1:]
        lacking = f"no home folder of a user {user!r}" if user else "no home folder: set HOME"
        raise PathError(f"{text}: {lacking}") from error
    try:
        path.lstat()
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise PathError(f"{text[:60]}...: {error.strerror}") from error
    return path


def unprintable(text: str) -> str:
    """Why a text cannot be a word of a flagfile or a line of output; "" if it can."""
    if "\0" in text:
        return "has a NUL in it"
    if text.splitlines() not in ([], [text]):
        return "has a line break in it"
    try:
        text.encode()
    except UnicodeEncodeError:  # Bytes of the command line that are no text.
        return "is not UTF-8"
    return ""


def python_path() -> str:
    """PYTHONPATH with which another Python finds this package, from whatever folder."""
    paths = [str(pathlib.Path(__file__).resolve().parents[1]), os.environ.get("PYTHONPATH", "")]
    return os.pathsep.join(filter(None, paths))


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
    except OSError as error:
        if error.errno not in UNSUPPORTED:  # Some network file systems flush no folders.
            raise
    finally:
        os.close(folder)
