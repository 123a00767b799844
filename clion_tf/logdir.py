"""The folder of a run: who may use it, and the options it was made with."""

import contextlib
import fcntl
import os
import pathlib
from collections.abc import Iterator

from clion_tf.config import Config, ConfigError, changed, from_flagfile, to_flagfile
from clion_tf.files import atomic_write

FLAGFILE = "run.flags"
LOCK = ".lock"


class LogdirError(RuntimeError):
    """A folder that this run cannot use; the message is one line."""


@contextlib.contextmanager
def open_logdir(config: Config) -> Iterator[pathlib.Path]:
    """Makes or reopens the run's folder, alone in it, and saves the options there.

    Raises:
      LogdirError: if it is a file, cannot be written, is in use, holds something else or a run
        of other options.
    """
    if not config.logdir:
        raise LogdirError("say where to write: --logdir=FOLDER")
    folder = pathlib.Path(config.logdir).expanduser().absolute()
    with _locked(folder):
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
        return from_flagfile(path.read_text())
    except (OSError, UnicodeDecodeError, ConfigError) as error:
        raise LogdirError(f"{path}: cannot read the run's options ({error})") from error


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
    """Whether a run is going on in a folder, on this machine or one that shares its files."""
    try:
        handle = os.open(folder / LOCK, os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return False
    except BlockingIOError:
        return True
    finally:
        os.close(handle)


@contextlib.contextmanager
def _locked(folder: pathlib.Path) -> Iterator[None]:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise LogdirError(f"{folder}: cannot write there ({error.strerror})") from error
    try:
        # Held by the process, so a killed run leaves no lock behind.
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(handle)
        raise LogdirError(f"{folder}: another run is using it") from error
    try:
        yield
    finally:
        os.close(handle)
