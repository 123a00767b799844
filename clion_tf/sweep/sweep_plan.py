"""Which runs a sweep is made of: tasks x methods x seeds, each with all its options.

A method is a flagfile that says what of CLION is on. It is read after the options of all runs, so
that `dreamer` stays Dreamer. Its batch size is relative to the paper's 50: doubled_dreamer, which
says 100, gets twice the batch of the sizes that it is combined with (docs/scale.md).
"""

import contextlib
import itertools
import pathlib
import re
from collections.abc import Iterable, Sequence

from clion_tf.analysis.curves.curve import plain_task
from clion_tf.analysis.curves.method_names import describe
from clion_tf.command import UsageError
from clion_tf.config import Config, different, parse
from clion_tf.envs import EnvError, EnvSpec, RemoteEnv, UnknownTaskError
from clion_tf.files import PathError, find_flagfile
from clion_tf.logdir.run_folder import RunFolder
from clion_tf.sweep.job import Job


def plan_runs(
    root: pathlib.Path, tasks: Sequence[str], methods: Sequence[str], seeds: Sequence[int],
    shared: Sequence[str] = (),
) -> list[Job]:  # fmt: skip
    """All runs, in the order seeds, tasks, methods: a sweep cut short has whole seeds.

    Methods are presets, or paths of flagfiles; `shared` are options of all, as `--flagfile=cpu`.
    Raises UsageError or ConfigError for what cannot be run, or two runs that would be the same.
    """
    for what, given in (("tasks", tasks), ("methods", methods), ("seeds", seeds)):
        if not given:
            raise UsageError(f"--{what}: names none")
    words = {method: _method_words(method, shared) for method in methods}
    jobs, seen = [], {}
    for seed, task, method in itertools.product(seeds, tasks, methods):
        stem = pathlib.Path(method).stem if method.endswith(".flags") else method
        name = "/".join(re.sub(r"[^\w.+-]+", "_", x) for x in (task, stem, f"seed{seed}"))
        own = (f"--task={task}", f"--seed={seed}", f"--logdir={root / name}")
        config = parse([*words[method], *own])
        # Two of one seed that differ in no option with an effect would count as two seeds.
        rotations = config.rotation_degrees, config.test_rotation
        for key in ((plain_task(task), seed, *rotations, *describe(config)), name):
            if key in seen:
                raise UsageError(f"{seen[key]} and {name} would be the same run")
            seen[key] = name
        jobs.append(Job(root, name, config))
    return jobs


def _method_words(method: str, shared: Sequence[str]) -> list[str]:
    """Options of all runs of a method."""
    try:
        file = f"--flagfile={find_flagfile(method)}"
    except PathError as error:
        raise UsageError(f"--methods={method}: {error}") from error
    changes = different(Config(), parse([*shared, file]))
    if own := [name for name in ("task", "seed", "logdir") if name in changes]:
        raise UsageError(f"--{own[0]}={changes[own[0]][1]}: the sweep says that for each run")
    alone, paper = parse([file]), Config().batch_size
    if parse([*shared, file]).agent != alone.agent:
        raise UsageError(f"--methods={method}: options of all runs make it another agent")
    if alone.agent != "clion":  # Not sizes of the paper's agent: all of its own.
        return [*shared, file]
    times, rest = divmod(alone.batch_size, paper)
    if rest or not times:
        text = f"its batch size, {alone.batch_size}, is no multiple of the paper's {paper}"
        raise UsageError(f"--methods={method}: {text}; sizes are for --flagfile")
    return [*shared, file, f"--batch_size={times * parse(shared).batch_size}"]


def check_folders(root: pathlib.Path, jobs: Iterable[Job]) -> None:
    """Raises UsageError or LogdirError for folders of something else, or runs of other options."""
    if RunFolder(root).holds_run():
        raise UsageError(f"--logdir={root}: is a run itself; name a folder of runs")
    for job in jobs:
        if job.folder.path.exists():
            job.folder.require(job.config)


def check_tasks(tasks: Iterable[str]) -> None:
    """Raises UnknownTaskError if one does not exist; all are asked at once, in own processes."""
    with contextlib.ExitStack() as stack:
        for env in [stack.enter_context(RemoteEnv(EnvSpec(task))) for task in tasks]:
            try:
                env.wait_ready()
            except UnknownTaskError:
                raise
            except EnvError:
                pass  # Rendering, say, may be missing here and not where the runs are.
