"""What is refused before anything is started: folders and tasks that cannot be used."""

import contextlib
import os
import pathlib
from collections.abc import Iterable

from clion_tf.command import UsageError
from clion_tf.envs import EnvError, EnvSpec, RemoteEnv, UnknownTaskError
from clion_tf.logdir.run_folder import LogdirError, RunFolder
from clion_tf.sweep.sweep_plan import PlannedRun


def check_folders(root: pathlib.Path, runs: Iterable[PlannedRun]) -> None:
    """Refuses folders that hold something else, or runs of other options.

    Raises:
      UsageError, LogdirError: in one line.
    """
    if RunFolder(root).holds_run():
        raise UsageError(f"--logdir={root}: is a run itself; name a folder of runs")
    above = next(path for path in (root, *root.parents) if path.exists())
    if not above.is_dir() or not os.access(above, os.W_OK | os.X_OK):
        raise UsageError(f"--logdir={root}: cannot write there")
    for run in runs:
        if run.folder.is_dir():
            RunFolder(run.folder).require(run.config)
        elif run.folder.exists():
            raise LogdirError(f"{run.folder}: is no folder")


def make_folder(root: pathlib.Path) -> None:
    """The sweep's folder, here: that a machine has none shows that it does not share it.

    Raises:
      UsageError: if it cannot be made.
    """
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"--logdir={root}: cannot write there ({error.strerror})") from error


def check_tasks(tasks: Iterable[str]) -> None:
    """Refuses tasks that do not exist, all asked at once in processes of their own.

    Raises:
      UnknownTaskError: with the nearest names.
    """
    with contextlib.ExitStack() as stack:
        environments = [RemoteEnv(EnvSpec(task)) for task in tasks]
        for environment in environments:
            stack.callback(environment.close)
        for environment in environments:
            try:
                environment.wait_ready()
            except UnknownTaskError:
                raise
            except EnvError:  # Rendering, say, that is missing here and not where the runs are.
                continue
