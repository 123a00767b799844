"""The folder of a run: who may use it, and the options it was made with."""

import contextlib
import errno
import fcntl
import json
import os
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

from clion_tf.config import Config, ConfigError, changed, from_flagfile, to_flagfile
from clion_tf.files import UNSUPPORTED, atomic_write, user_path

FLAGFILE = "run.flags"
TASK = "task.json"  # What the environment takes and shows, see `clion_tf.envs.task_description`.
LOCK = ".lock"
NO_LOCKS = (*UNSUPPORTED, errno.ENOLCK)  # Of a file system that has none, or no server for them.


class LogdirError(RuntimeError):
    """A folder that this run cannot use; the message is one line."""


@contextlib.contextmanager
def open_logdir(config: Config) -> Iterator[pathlib.Path]:
    """Makes or reopens the run's folder, alone in it, and saves the options there.

    Raises:
      LogdirError: if it is a file, cannot be written, is in use, holds something else or a run
        of other options.
      PathError: if it cannot be a path.
    """
    if not config.logdir:
        raise LogdirError("say where to write: --logdir=FOLDER")
    folder = user_path(config.logdir).absolute()
    with _locked(folder, config.lock):
        check_options(folder, config)
        with atomic_write(folder / FLAGFILE) as file:
            file.write(to_flagfile(config).encode())
        yield folder


def saved_options(folder: pathlib.Path) -> Config | None:
    """The options that a run was made with, None where there is no run.

    Raises:
      LogdirError: if they cannot be read.
    """
    path = folder / FLAGFILE
    if not path.exists():
        return None
    try:
        text = path.read_bytes().decode()
        config = from_flagfile(text)
    except (OSError, UnicodeDecodeError, ConfigError) as error:
        raise LogdirError(f"{path}: cannot read the run's options ({error})") from error
    # Every version writes all that it knows; an older one's file may lack newer options.
    if not any(line.startswith("--task=") for line in text.splitlines()):
        raise LogdirError(f"{path}: damaged, it does not say the run's task")
    return config


def save_task(folder: pathlib.Path, description: Mapping[str, Any]) -> None:
    """Writes what the environment takes and shows, for those who act in it without the run."""
    with atomic_write(folder / TASK) as file:
        file.write(json.dumps(description, indent=1).encode() + b"\n")


def saved_task(folder: pathlib.Path) -> dict[str, Any]:
    """What `save_task` wrote, nothing where there is none: runs of earlier versions.

    Raises:
      LogdirError: if it cannot be read.
    """
    path = folder / TASK
    if not path.exists():
        return {}
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise LogdirError(f"{path}: cannot be read ({error})") from error
    if not isinstance(found, dict):
        raise LogdirError(f"{path}: cannot be read (no object)")
    return found


def check_options(folder: pathlib.Path, config: Config) -> None:
    """Refuses a folder of something else, or of a run with other sizes or losses."""
    saved = saved_options(folder)
    if saved is None:
        others = sorted(p.name for p in folder.iterdir() if not p.name.startswith("."))
        if others:
            raise LogdirError(
                f"{folder}: not a run of clion_tf (it holds {others[0]}); use another --logdir"
            )
        return
    differences = changed(saved, config)
    # Before its first checkpoint a run has nothing to lose: a misspelt task may be corrected.
    if differences and any((folder / "checkpoints").glob("[0-9]*.npz")):
        text = ", ".join(f"--{n}={new} (was {old})" for n, (old, new) in differences.items())
        raise LogdirError(f"{folder}: holds a run of other options: {text}; use another --logdir")


def in_use(folder: pathlib.Path) -> bool:
    """Whether a run is going on in a folder, on this machine or one that shares its files.

    False where the file system has no locks, as nothing tells.
    """
    try:
        handle = os.open(folder / LOCK, os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return False
    except BlockingIOError:
        return True
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        return False
    finally:
        os.close(handle)


@contextlib.contextmanager
def _locked(folder: pathlib.Path, lock: bool) -> Iterator[None]:
    _make(folder)
    try:
        handle = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise LogdirError(f"{folder}: cannot write there ({error.strerror})") from error
    try:
        if lock:
            _lock(handle, folder)
        yield
    finally:
        os.close(handle)


def _make(folder: pathlib.Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        dangling = folder.is_symlink() and not folder.exists()
        found = (
            f"is a link to {os.readlink(folder)}, which is not there" if dangling else "is a file"
        )
        raise LogdirError(f"{folder}: {found}") from error
    except OSError as error:
        raise LogdirError(f"{folder}: cannot write there ({error.strerror})") from error


def _lock(handle: int, folder: pathlib.Path) -> None:
    """Held by the process, so a killed run leaves no lock behind."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise LogdirError(f"{folder}: another run is using it") from error
    except OSError as error:
        raise LogdirError(
            f"{folder}: its file system gives no lock ({error.strerror}), so that nothing would "
            "keep another run out; if there is none, use --nolock, or another --logdir"
        ) from error
