"""The folder of a run: the name of everything in it, who may use it, and the options it has."""

import contextlib
import errno
import fcntl
import json
import os
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

from clion_tf.config import Config, ConfigError, changed, from_flagfile, to_flagfile
from clion_tf.console import Refused
from clion_tf.files import UNSUPPORTED, atomic_write, user_path

NO_LOCKS = (*UNSUPPORTED, errno.ENOLCK)  # Of a file system that has none, or no server for them.


class LogdirError(Refused, RuntimeError):
    """A folder that this run cannot use; the message is one line."""


class RunFolder:
    """The folder of a run, `--logdir`, and the paths of what is in it, whether it is there or not.

    What the names of checkpoints and episodes say: `logdir.checkpoints`, `replay.episode_files`.

    Attributes:
      path: the folder.
      options_file: all options, as a flagfile.
      task_file: what the environment takes and shows (`clion_tf.envs.task_description`).
      versions_file: which code the run was made with (`logdir.code_versions`).
      metrics_file: a line of JSON for each episode, evaluation and mean over updates.
      lock_file: locked while a run is going on.
      checkpoints, episodes, videos, diagnostics: folders.
      tensorboard: the folder of event files.
    """

    def __init__(self, path: str | os.PathLike[str]):
        self.path = pathlib.Path(path)
        self.options_file = self.path / "run.flags"
        self.task_file = self.path / "task.json"
        self.versions_file = self.path / "versions.jsonl"
        self.metrics_file = self.path / "metrics.jsonl"
        self.lock_file = self.path / ".lock"
        self.checkpoints = self.path / "checkpoints"
        self.episodes = self.path / "episodes"
        self.tensorboard = self.path / "tensorboard"
        self.videos = self.path / "videos"
        self.diagnostics = self.path / "diagnostics"

    def __fspath__(self) -> str:
        return str(self.path)

    __str__ = __fspath__

    def video_file(self, steps: int, suffix: str) -> pathlib.Path:
        """Of the evaluation after so many environment steps; `suffix` without its dot."""
        return self.videos / f"test-{steps:09d}.{suffix}"

    def diagnostics_file(self, steps: int) -> pathlib.Path:
        """What an evaluation found out about the world model and the evaluator."""
        return self.diagnostics / f"{steps:09d}.json"

    def diagnostics_files(self) -> list[pathlib.Path]:
        """All that there are, by rising environment steps."""
        named = (path for path in self.diagnostics.glob("*.json") if path.stem.isdecimal())
        return sorted(named, key=lambda path: int(path.stem))

    def bad_update_file(self, update: int) -> pathlib.Path:
        """The batch and the options of an update that made the run give up."""
        return self.path / f"bad-update-{update:09d}.npz"

    def holds_run(self) -> bool:
        """Whether there is a run, of ours or, without options, of the original Dreamer's."""
        return self.options_file.is_file() or self.metrics_file.is_file()

    def options(self) -> Config | None:
        """The options that a run was made with, None where there is no run.

        Raises:
          LogdirError: if they cannot be read.
        """
        if not self.options_file.exists():
            return None
        try:
            text = self.options_file.read_bytes().decode()
            config = from_flagfile(text)
        except (OSError, UnicodeDecodeError, ConfigError) as error:
            raise LogdirError(
                f"{self.options_file}: cannot read the run's options ({error})"
            ) from error
        # Every version writes all that it knows; an older one's file may lack newer options.
        if not any(line.startswith("--task=") for line in text.splitlines()):
            raise LogdirError(f"{self.options_file}: damaged, it does not say the run's task")
        return config

    def save_options(self, config: Config) -> None:
        """Raises OSError if they cannot be written."""
        with atomic_write(self.options_file) as file:
            file.write(to_flagfile(config).encode())

    def require(self, config: Config) -> None:
        """Refuses a folder of something else, or of a run with other sizes or losses.

        Raises:
          LogdirError: naming what is there, or the options that differ.
        """
        saved = self.options()
        if saved is None:
            others = sorted(p.name for p in self.path.iterdir() if not p.name.startswith("."))
            if others:
                raise LogdirError(
                    f"{self}: not a run of clion_tf (it holds {others[0]}); use another --logdir"
                )
            return
        differences = changed(saved, config)
        # Before its first checkpoint a run has nothing to lose: a misspelt task may be corrected.
        if differences and any(self.checkpoints.glob("[0-9]*.npz")):
            text = ", ".join(f"--{n}={new} (was {old})" for n, (old, new) in differences.items())
            raise LogdirError(f"{self}: holds a run of other options: {text}; use another --logdir")

    def task(self) -> dict[str, Any]:
        """What `save_task` wrote, nothing where there is none: runs of earlier versions.

        Raises:
          LogdirError: if it cannot be read.
        """
        if not self.task_file.exists():
            return {}
        try:
            found = json.loads(self.task_file.read_bytes())
        except (OSError, ValueError, RecursionError) as error:
            raise LogdirError(f"{self.task_file}: cannot be read ({error})") from error
        if not isinstance(found, dict):
            raise LogdirError(f"{self.task_file}: cannot be read (no object)")
        return found

    def save_task(self, description: Mapping[str, Any]) -> None:
        """Writes what the environment takes and shows, for those who act without the run."""
        with atomic_write(self.task_file) as file:
            file.write(json.dumps(description, indent=1).encode() + b"\n")

    def in_use(self) -> bool:
        """Whether a run is going on here, on this machine or one that shares its files.

        False where the file system has no locks, as nothing tells.
        """
        try:
            handle = os.open(self.lock_file, os.O_RDWR)
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
    def held(self, lock: bool = True) -> Iterator[None]:
        """Makes the folder and keeps other runs out of it, by a lock if asked to.

        The process holds it, so a killed run leaves no lock behind.

        Raises:
          LogdirError: if it is a file, cannot be written or is in use.
        """
        self._make()
        try:
            handle = os.open(self.lock_file, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise self._not_writable(error) from error
        try:
            if lock:
                self._lock(handle)
            yield
        finally:
            os.close(handle)

    def _make(self) -> None:
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except FileExistsError as error:
            found = "is a file"
            if self.path.is_symlink() and not self.path.exists():
                found = f"is a link to {os.readlink(self.path)}, which is not there"
            raise LogdirError(f"{self}: {found}") from error
        except OSError as error:
            raise self._not_writable(error) from error

    def _not_writable(self, error: OSError) -> LogdirError:
        return LogdirError(f"{self}: cannot write there ({error.strerror})")

    def _lock(self, handle: int) -> None:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise LogdirError(f"{self}: another run is using it") from error
        except OSError as error:
            raise LogdirError(
                f"{self}: its file system gives no lock ({error.strerror}), so that nothing would "
                "keep another run out; if there is none, use --nolock, or another --logdir"
            ) from error


@contextlib.contextmanager
def open_logdir(config: Config) -> Iterator[RunFolder]:
    """Makes or reopens the run's folder, alone in it, and saves the options there.

    Raises:
      LogdirError: if it is a file, cannot be written, is in use, holds something else or a run
        of other options.
      PathError: if it cannot be a path.
    """
    if not config.logdir:
        raise LogdirError("say where to write: --logdir=FOLDER")
    folder = RunFolder(user_path(config.logdir).absolute())
    with folder.held(config.lock):
        folder.require(config)
        folder.save_options(config)
        yield folder


def run_at(logdir: str | os.PathLike[str]) -> tuple[RunFolder, Config]:
    """The folder of a run that there is, and its options.

    Raises:
      LogdirError: if there is none, or its options cannot be read.
      PathError: if it cannot be a path.
    """
    folder = RunFolder(user_path(logdir))
    config = folder.options() if folder.path.is_dir() else None
    if config is None:
        raise LogdirError(f"{folder}: no run of clion_tf there")
    return folder, config
