"""Which runs a sweep is made of: tasks x methods x seeds, each with all its options; and checks.

A method is a flagfile that says what of CLION is on. Sizes and lengths come from the sweep's own
flagfiles and options. They are read first and the method last, so that `dreamer` stays Dreamer
whatever is said for all runs. A method's batch size is relative to the paper's 50: doubled_dreamer,
which says 100, gets twice the batch of the sizes that it is combined with (docs/scale.md).
"""

import contextlib
import dataclasses
import os
import pathlib
import re
from collections.abc import Iterable, Sequence

from clion_tf.analysis.curves.curve import plain_task
from clion_tf.analysis.curves.method_names import describe
from clion_tf.command import UsageError
from clion_tf.config import Config, ConfigError, different, parse
from clion_tf.envs import EnvError, EnvSpec, RemoteEnv, UnknownTaskError
from clion_tf.files import PathError, find_flagfile, user_path
from clion_tf.logdir.run_folder import LogdirError, RunFolder

OWN = ("task", "seed", "logdir")  # What the sweep itself says for each run.


@dataclasses.dataclass(frozen=True)
class PlannedRun:
    """A run of a sweep.

    Attributes:
      name: `task/method/seed0`, its folder below the sweep's.
      config: all its options.
    """

    name: str
    config: Config

    @property
    def folder(self) -> pathlib.Path:
        """The run's logdir."""
        return pathlib.Path(self.config.logdir)

    @property
    def words(self) -> list[str]:
        """Arguments of `python -m clion_tf.run`: every option that differs from the defaults.

        No flagfile is among them, so that a machine without those files makes the same run.
        """
        differing = different(Config(), self.config).items()
        return [f"--{name}={value}" for name, (_, value) in differing]


def plan_runs(
    folder: str | os.PathLike,
    tasks: Sequence[str],
    methods: Sequence[str],
    seeds: Sequence[int],
    flagfiles: Sequence[str] = (),
    options: Sequence[str] = (),
) -> list[PlannedRun]:
    """All runs, in the order seeds, tasks, methods: a sweep cut short has whole seeds.

    Args:
      folder: of the sweep; a run's is `<folder>/<task>/<method>/seed<seed>`.
      tasks: as for `clion_tf.run --task`.
      methods: presets, or paths of flagfiles.
      flagfiles, options: for all runs, such as `cpu` and `--steps=50000`.

    Raises:
      UsageError, ConfigError: if there is nothing to run, an option cannot be, or two runs would
        be the same.
    """
    for what, given in (("tasks", tasks), ("methods", methods), ("seeds", seeds)):
        if not given:
            raise UsageError(f"--{what}: names none")
        if len(set(given)) < len(given):
            raise UsageError(f"--{what}={','.join(map(str, given))}: one is named twice")
    root = user_path(folder).absolute()
    shared = _shared_words(flagfiles, options)
    made = {method: _method_words(method, shared) for method in methods}
    runs = [
        _run(root, task, method, seed, made[method])
        for seed in seeds
        for task in tasks
        for method in methods
    ]
    _check_distinct(runs)
    return runs


def _shared_words(flagfiles: Sequence[str], options: Sequence[str]) -> list[str]:
    words = [*(f"--flagfile={user_path(name)}" for name in flagfiles), *options]
    said = different(Config(), parse(words))
    for name in OWN:
        if name in said:
            raise UsageError(f"--{name}={said[name][1]}: the sweep says that for each run")
    return words


def _method_words(method: str, shared: list[str]) -> list[str]:
    """Options of all runs of a method."""
    try:
        file = f"--flagfile={find_flagfile(method)}"
    except PathError as error:
        raise UsageError(f"--methods={method}: {error}") from error
    alone = parse([file])
    for name in OWN:
        if name in different(Config(), alone):
            raise UsageError(f"--methods={method}: its file sets --{name}")
    if alone.agent != "clion":  # Not sizes of the paper's agent: all of its own.
        return [*shared, file]
    times, rest = divmod(alone.batch_size, Config().batch_size)
    if rest or not times:
        raise UsageError(
            f"--methods={method}: its batch size, {alone.batch_size}, is no multiple of the "
            f"paper's {Config().batch_size}; sizes are for --flagfile"
        )
    return [*shared, file, f"--batch_size={times * parse(shared).batch_size}"]


def _run(root: pathlib.Path, task: str, method: str, seed: int, words: list[str]) -> PlannedRun:
    parts = (*(re.sub(r"[^\w.+-]+", "_", part) for part in (task, _stem(method))), f"seed{seed}")
    own = (f"--task={task}", f"--seed={seed}", f"--logdir={root.joinpath(*parts)}")
    try:
        return PlannedRun("/".join(parts), parse([*words, *own]))
    except ConfigError as error:
        raise ConfigError(f"{'/'.join(parts)}: {error}") from error


def _stem(method: str) -> str:
    return pathlib.Path(method).stem if method.endswith(".flags") else method


def _check_distinct(runs: Iterable[PlannedRun]) -> None:
    """Two runs of one seed that differ in no option with an effect would count as two seeds."""
    seen: dict[tuple, PlannedRun] = {}
    for run in runs:
        config = run.config
        rotations = config.rotation_degrees, config.test_rotation
        key = (plain_task(config.task), config.seed, *rotations, *describe(config))
        for other in (seen.setdefault(key, run), seen.setdefault((run.name,), run)):
            if other is not run:
                raise UsageError(f"{other.name} and {run.name} would be the same run")


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
