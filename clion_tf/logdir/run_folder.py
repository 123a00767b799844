"""The folder of a run: the name of everything in it, who may use it, and the options it has."""

import contextlib
import errno
import fcntl
import json
import os
import pathlib
import re
from collections.abc import Iterator, Mapping
from typing import Any

from clion_tf.config import Config, ConfigError, changed, from_flagfile, to_flagfile
from clion_tf.console import Refused
from clion_tf.files import UNFINISHED, UNSUPPORTED, atomic_write, user_path

BUSY = "another run is using it"
# What an evaluation's videos show: the agent, and what its model makes of an episode.
VIDEOS = ("test", "openloop", "memory")


class LogdirError(Refused, RuntimeError):
    """A folder that this run cannot use; the message is one line."""


class RunFolder:
    """The folder of a run, `--logdir`, and the paths of what may be in it."""

    def __init__(self, path: str | os.PathLike[str]):
        self.path = pathlib.Path(path)
        self.options_file = self.path / "run.flags"  # All options, as a flagfile.
        self.task_file = self.path / "task.json"  # What the environment takes and shows.
        self.versions_file = self.path / "versions.jsonl"  # See `logdir.code_versions`.
        self.metrics_file = self.path / "metrics.jsonl"  # See `logdir.metrics_log`.
        self.lock_file = self.path / ".lock"  # Locked while a run trains.
        self.checkpoints = self.path / "checkpoints"
        self.episodes = self.path / "episodes"
        self.tensorboard = self.path / "tensorboard"
        self.videos = self.path / "videos"
        self.diagnostics = self.path / "diagnostics"

    def __fspath__(self) -> str:
        return str(self.path)

    __str__ = __fspath__

    def diagnostics_files(self) -> list[pathlib.Path]:
        """What evaluations found out about the networks, by rising environment steps."""
        named = (path for path in self.diagnostics.glob("*.json") if path.stem.isdecimal())
        return sorted(named, key=lambda path: int(path.stem))

    def diagnostics_file(self, steps: int) -> pathlib.Path:
        """Of the evaluation after so many environment steps."""
        return self.diagnostics / f"{steps:09d}.json"

    def video_file(self, shows: str, steps: int, kind: str) -> pathlib.Path:
        """Of the evaluation after so many environment steps; `shows` is one of VIDEOS."""
        return self.videos / f"{shows}-{steps:09d}.{kind}"

    def video_files(self, shows: str) -> list[tuple[int, pathlib.Path]]:
        """(environment steps, file) of those that show this, by rising steps."""
        found = ((re.fullmatch(rf"{shows}-(\d+)", p.stem), p) for p in self.videos.glob("*"))
        return sorted((int(named[1]), path) for named, path in found if named)

    def bad_update_file(self, update: int) -> pathlib.Path:
        """The batch and the options of an update that gave numbers that are not finite."""
        return self.path / f"bad-update-{update:09d}.npz"

    def remove_unfinished(self) -> None:
        """Removes what runs were writing when they were killed, a whole checkpoint each time."""
        for folder in (self.checkpoints, self.episodes):
            for path in folder.glob(f".*{UNFINISHED}"):
                path.unlink(missing_ok=True)

    def forget_after(self, steps: int) -> None:
        """Removes diagnostics and videos of evaluations after these environment steps."""
        found = [(int(path.stem), path) for path in self.diagnostics_files()]
        found += (pair for shows in VIDEOS for pair in self.video_files(shows))
        for made, path in found:
            if made > steps:
                path.unlink(missing_ok=True)

    def holds_run(self) -> bool:
        """Whether there is a run, of ours or, without options, of the original Dreamer's."""
        return self.options_file.is_file() or self.metrics_file.is_file()

    def options(self) -> Config | None:
        """The options that a run was made with, None where there is no run, else LogdirError."""
        if not self.options_file.exists():
            return None
        try:
            text = self.options_file.read_text("utf-8")
            config = from_flagfile(text)
        except (OSError, UnicodeDecodeError, ConfigError) as error:
            text = f"cannot read the run's options ({error})"
            raise LogdirError(f"{self.options_file}: {text}") from error
        # Every version writes all that it knows; an older one's file may lack newer options.
        if not any(line.startswith("--task=") for line in text.splitlines()):
            raise LogdirError(f"{self.options_file}: damaged, it does not say the run's task")
        return config

    def save_options(self, config: Config) -> None:
        with atomic_write(self.options_file) as file:
            file.write(to_flagfile(config).encode())

    def require(self, config: Config) -> None:
        """Raises LogdirError for a folder of something else, or of a run with other options."""
        if not self.path.is_dir():
            raise LogdirError(f"{self}: is a file")
        saved = self.options()
        if saved is None:
            if others := sorted(p.name for p in self.path.iterdir() if p.name[0] != "."):
                what = f"not a run of clion_tf (it holds {others[0]})"
                raise LogdirError(f"{self}: {what}; use another --logdir")
            return
        names = (path.stem.partition("-")[0] for path in self.checkpoints.glob("[0-9]*.npz"))
        made = [int(steps) for steps in names if steps.isdecimal()]
        differences = changed(saved, config)
        # Before its first checkpoint a run has nothing to lose: a misspelt task may be corrected.
        if differences and made:
            text = ", ".join(f"--{n}={new} (was {old})" for n, (old, new) in differences.items())
            raise LogdirError(f"{self}: holds a run of other options: {text}; use another --logdir")
        if config.steps < min(saved.steps, max(made, default=0)):
            told = f"{self}: has made {max(made)} environment steps already"
            raise LogdirError(f"{told}, more than --steps={config.steps}")

    def task(self) -> dict[str, Any]:
        """What `save_task` wrote, nothing for runs of earlier versions; LogdirError if damaged."""
        if not self.task_file.exists():
            return {}
        try:
            found = dict(json.loads(self.task_file.read_bytes()))
            if not isinstance(found.get("action", {}), dict):
                raise ValueError("its action is no object")
            return found
        except (OSError, ValueError, TypeError, RecursionError) as error:
            raise LogdirError(f"{self.task_file}: cannot be read ({error})") from error

    def save_task(self, description: Mapping[str, Any]) -> None:
        """`clion_tf.envs.make_env.describe`, for those who act without the run."""
        with atomic_write(self.task_file) as file:
            file.write(json.dumps(description, indent=1).encode() + b"\n")

    def in_use(self) -> bool:
        """Whether a run trains here, False also where the file system has no locks to tell."""
        try:
            with self.lock_file.open("r+b") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError as error:
            # No run yet; or a file system that has no locks, or no server for them.
            if error.errno not in (errno.ENOENT, errno.ENOLCK, *UNSUPPORTED):
                raise
        return False


@contextlib.contextmanager
def open_logdir(config: Config) -> Iterator[RunFolder]:
    """Makes or reopens the run's folder, saves the options there, and keeps other runs out."""
    if not config.logdir:
        raise LogdirError("say where to write: --logdir=FOLDER")
    folder = RunFolder(user_path(config.logdir).absolute())
    try:
        folder.path.mkdir(parents=True, exist_ok=True)
        lock = folder.lock_file.open("ab")
    except FileExistsError as error:
        found = "is a file" if folder.path.exists() else "is a link to nothing"
        raise LogdirError(f"{folder}: {found}") from error
    except OSError as error:
        raise LogdirError(f"{folder}: cannot write there ({error.strerror})") from error
    with lock:
        try:
            if config.lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise LogdirError(f"{folder}: {BUSY}") from error
        except OSError as error:
            none = f"{folder}: its file system gives no lock ({error.strerror})"
            advice = "to keep another run out; if there is none, use --nolock, or another --logdir"
            raise LogdirError(f"{none} {advice}") from error
        folder.require(config)
        folder.save_options(config)
        if config.lock:  # Else another may be writing them.
            folder.remove_unfinished()
        yield folder


def run_at(logdir: str | os.PathLike[str]) -> tuple[RunFolder, Config]:
    """The folder of a run and its options; LogdirError or PathError if there is none."""
    folder = RunFolder(user_path(logdir))
    config = folder.options() if folder.path.is_dir() else None
    if config is None:
        raise LogdirError(f"{folder}: no run of clion_tf there")
    return folder, config
