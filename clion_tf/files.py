"""Files that appear whole or not at all, and the paths that users name."""

import contextlib
import errno
import os
import pathlib
import secrets
from collections.abc import Iterator
from typing import BinaryIO

from clion_tf.console import Refused

# What a file system answers that cannot do a thing, whatever the file.
UNSUPPORTED = (errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL)
UNFINISHED = ".tmp"  # Ends the name of a file that is being written, which begins with a dot.
_PACKAGE = pathlib.Path(__file__).resolve().parent
_INSTALLED, _CHECKOUT = _PACKAGE / "flags", _PACKAGE.parent / "flags"
PRESETS = _INSTALLED if _INSTALLED.is_dir() else _CHECKOUT
_SUFFIX = ".flags"


class PathError(Refused, ValueError):
    """A path that cannot be one, or a flagfile that is not there; the message is one line."""


def user_path(name: str | os.PathLike) -> pathlib.Path:
    """A path as a user names it, with the home folder for `~` or `~user`; else PathError."""
    text = os.fspath(name)
    if wrong := unprintable(text):
        raise PathError(f"{text!r}: {wrong}")
    try:
        path = pathlib.Path(text).expanduser()
        path.lstat()
    except RuntimeError as error:
        raise PathError(f"{text}: no such home folder; for ~ set HOME") from error
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise PathError(f"{text[:60]}...: {error.strerror}") from error
    return path


def unprintable(text: str) -> str:
    """Why a text cannot be a word of a flagfile or a line of output; "" if it can."""
    if "\0" in text or text.splitlines() not in ([], [text]):
        return "has a line break or a NUL in it"
    if any("\ud800" <= letter <= "\udfff" for letter in text):  # Bytes that are no text.
        return "is not UTF-8"
    return ""


def find_flagfile(name: str) -> str:
    """The path of a flagfile, or of the preset of that name (`cpu` or `cpu.flags`); PathError."""
    path = str(user_path(name))
    if "/" not in name and (os.path.isdir(path) or not os.path.exists(path)):
        path = str(PRESETS / f"{name.removesuffix(_SUFFIX)}{_SUFFIX}")
    if not os.path.exists(path):
        raise PathError(f"no file {name!r}; presets, by name: {', '.join(preset_names())}")
    return path


def preset_names() -> list[str]:
    """Of all presets, in order."""
    return sorted(path.stem for path in PRESETS.glob(f"*{_SUFFIX}"))


def python_path() -> str:
    """PYTHONPATH with which another Python finds this package, from whatever folder."""
    return os.pathsep.join(filter(None, [str(_PACKAGE.parent), os.environ.get("PYTHONPATH", "")]))


@contextlib.contextmanager
def atomic_write(path: str | pathlib.Path) -> Iterator[BinaryIO]:
    """The file gets its name once it is whole and on disk, and keeps it after a power loss."""
    path = pathlib.Path(path)
    # A name of its own: two sweeps may gather at the same time.
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}{UNFINISHED}")
    try:
        with temporary.open("xb") as file:
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
