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
from clion_tf.logdir.run_folder import RunFolder

LOGS = "logs"  # Below the sweep's folder: what the runs write to stdout and stderr.


@dataclasses.dataclass(frozen=True)
class PlannedRun:
    """A run of a sweep, with all its options."""

    root: pathlib.Path  # The sweep's folder.
    name: str  # `task/method/seed0`, the run's folder below it.
    config: Config

    @property
    def folder(self) -> pathlib.Path:  # The logdir.
        return self.root / self.name

    @property
    def log(self) -> pathlib.Path:  # The file that its output is added to.
        return self.root / LOGS / f"{self.name}.log"

    @property
    def words(self) -> list[str]:
        """Arguments of `python -m clion_tf.run`, without flagfiles, which others may lack."""
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
      methods: presets, or paths of flagfiles.
      flagfiles, options: for all runs, such as `cpu` and `--steps=50000`.

    Raises:
      UsageError, ConfigError: for what cannot be run, or two runs that would be the same.
    """
    for what, given in (("tasks", tasks), ("methods", methods), ("seeds", seeds)):
        if not given:
            raise UsageError(f"--{what}: names none")
    root = user_path(folder).absolute()
    shared = [*(f"--flagfile={user_path(name)}" for name in flagfiles), *options]
    for name, value in _own(parse(shared)):
        raise UsageError(f"--{name}={value}: the sweep says that for each run")
    words = {method: _method_words(method, shared) for method in methods}
    runs = [
        _run(root, task, method, seed, words[method])
        for seed in seeds
        for task in tasks
        for method in methods
    ]
    _check_distinct(runs)
    return runs


def _own(config: Config) -> list[tuple[str, object]]:
    """Options that only the sweep may set, as it says them for each run."""
    changes = different(Config(), config)
    return [(name, changes[name][1]) for name in ("task", "seed", "logdir") if name in changes]


def _method_words(method: str, shared: list[str]) -> list[str]:
    """Options of all runs of a method."""
    try:
        file = f"--flagfile={find_flagfile(method)}"
    except PathError as error:
        raise UsageError(f"--methods={method}: {error}") from error
    alone = parse([file])
    for name, _ in _own(alone):
        raise UsageError(f"--methods={method}: its file sets --{name}")
    if alone.agent != "clion":  # Not sizes of the paper's agent: all of its own.
        return [*shared, file]
    paper = Config().batch_size
    times, rest = divmod(alone.batch_size, paper)
    if rest or not times:
        text = f"its batch size, {alone.batch_size}, is no multiple of the paper's {paper}"
        raise UsageError(f"--methods={method}: {text}; sizes are for --flagfile")
    return [*shared, file, f"--batch_size={times * parse(shared).batch_size}"]


def _run(root: pathlib.Path, task: str, method: str, seed: int, words: list[str]) -> PlannedRun:
    method = pathlib.Path(method).stem if method.endswith(".flags") else method
    name = "/".join(re.sub(r"[^\w.+-]+", "_", x) for x in (task, method, f"seed{seed}"))
    own = (f"--task={task}", f"--seed={seed}", f"--logdir={root / name}")
    try:
        return PlannedRun(root, name, parse([*words, *own]))
    except ConfigError as error:
        raise ConfigError(f"{name}: {error}") from error


def _check_distinct(runs: Iterable[PlannedRun]) -> None:
    """Two runs of one seed that differ in no option with an effect would count as two seeds."""
    seen: dict[object, PlannedRun] = {}
    for run in runs:
        config = run.config
        rotations = config.rotation_degrees, config.test_rotation
        key = (plain_task(config.task), config.seed, *rotations, *describe(config))
        for other in (seen.setdefault(key, run), seen.setdefault(run.name, run)):
            if other is not run:
                raise UsageError(f"{other.name} and {run.name} would be the same run")


def check_folders(root: pathlib.Path, runs: Iterable[PlannedRun]) -> None:
    """Raises UsageError or LogdirError for folders of something else, or runs of other options."""
    if RunFolder(root).holds_run():
        raise UsageError(f"--logdir={root}: is a run itself; name a folder of runs")
    for run in runs:
        if run.folder.exists():
            RunFolder(run.folder).require(run.config)


def check_tasks(tasks: Iterable[str]) -> None:
    """Raises UnknownTaskError if one does not exist; all are asked at once, in own processes."""
    with contextlib.ExitStack() as stack:
        environments = [stack.enter_context(RemoteEnv(EnvSpec(task))) for task in tasks]
        for environment in environments:
            try:
                environment.wait_ready()
            except EnvError as error:
                # Rendering, say, may be missing here and not where the runs are.
                if isinstance(error, UnknownTaskError):
                    raise
