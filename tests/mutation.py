"""Are there changes to the code of clion_tf/learning and clion_tf/agents that no test notices?

    make mutation ARGS="--minutes=20 --seed=0"

cosmic-ray makes one small change at a time (another operator, number or comparison, a decorator
taken away), in copies of the checkout; the tests of the module must fail then. A sample of all
changes is tried until the time is over, and those that survive are shown.
"""

import argparse
import concurrent.futures
import difflib
import fnmatch
import multiprocessing
import os
import pathlib
import queue
import random
import resource
import shutil
import sys
import tempfile
import time

import pytest
from cosmic_ray.commands import init
from cosmic_ray.mutating import use_mutation
from cosmic_ray.plugins import get_operator
from cosmic_ray.work_db import WorkDB

ROOT = pathlib.Path(__file__).resolve().parents[1]
NEEDED = ("clion_tf", "tests", "tools", "flags", "docs")
PACKAGES = ("clion_tf/learning", "clion_tf/agents")
WITHIN = 300  # Seconds of processor time for the tests of a module, which take less than a minute.
# Quick and strict: golden numbers, then NumPy's.
NUMBERS = [
    "tests/dreamer/test_parity.py::test_every_golden_number_comes_out[clion_g]",
    "tests/dreamer/test_parity.py::test_every_golden_number_comes_out[dreamer_tf22_c]",
    "tests/learning/test_clion_numpy.py",
]  # fmt: skip
AGENT = "tests/agents/test_agent.py"
# Which tests see a module, beside those of its own name; the quickest first, as one that fails ends
# them. By pattern, the first that fits.
SEEN_BY = {
    "clion_tf/learning/reconstruction.py": ["tests/analysis/test_reconstruct.py"],
    "clion_tf/learning/replica_sums.py": ["tests/learning/test_replicas.py"],
    "clion_tf/learning/noise.py": [AGENT],
    "clion_tf/learning/update_metrics.py": ["tests/learning/test_diagnostics.py", AGENT],
    "clion_tf/learning/world_model.py": [*NUMBERS, AGENT, "tests/models/test_vectors.py"],
    "clion_tf/learning/behaviour.py": [*NUMBERS, AGENT],
    "clion_tf/learning/evaluator.py": [*NUMBERS, AGENT],
    "clion_tf/learning/*.py": [*NUMBERS, "tests/learning/test_shapes.py"],
    "clion_tf/agents/drq/*.py": ["tests/agents/drq"],
    "clion_tf/agents/*.py": [*NUMBERS, "tests/agents", "tests/analysis/test_trained_agent.py"],
}
# Minutes for each change; what they test other tests see too.
SLOW = "not xla and not graph and not goes_on and not (test_replicas and (two or batch))"
FORKS = multiprocessing.get_context("forkserver")
LOADED = ["tensorflow", "tensorflow_probability", "keras", "scipy.stats", "pytest", "gymnasium"]
# Types and texts: a union of two types without its `|` is no other program.
UNTOLD = ("annotations", "-> ", "raise ", "Error(", '"""')


def changes(seed: int, only: str | None) -> list:
    """All changes that cosmic-ray knows, in the order of the sample."""
    paths = [
        path.relative_to(ROOT)
        for package in PACKAGES
        for path in sorted((ROOT / package).rglob("*.py"))
        if only is None or fnmatch.fnmatch(str(path.relative_to(ROOT)), only)
    ]
    with tempfile.TemporaryDirectory() as folder:
        found = WorkDB(pathlib.Path(folder, "all.sqlite"), WorkDB.Mode.create)
        init(paths, found, {})
        every = [item.mutations[0] for item in found.work_items]
        found.close()
    every = [one for one in every if told(one)]
    every.sort(key=lambda one: (str(one.module_path), one.operator_name, one.occurrence))
    random.Random(seed).shuffle(every)
    return every


def told(change) -> bool:
    """Whether a change is one of what the program does."""
    line = (ROOT / change.module_path).read_text().splitlines()[change.start_pos[0] - 1]
    typed = "BinaryOperator_BitOr" in change.operator_name
    return not typed and not any(word in line for word in UNTOLD)


def tests_of(path: str) -> list[str]:
    own = f"tests/learning/test_{pathlib.PurePath(path).stem}.py"
    others = next(tests for pattern, tests in SEEN_BY.items() if fnmatch.fnmatch(path, pattern))
    return ([own] if (ROOT / own).exists() else []) + [t for t in others if t != own]


def judge(folder: pathlib.Path, tests: list[str]) -> None:
    """In a process forked from one that has loaded TensorFlow; it ends with 0 if they pass."""
    resource.setrlimit(resource.RLIMIT_CPU, (WITHIN, WITHIN))  # As for a loop without an end.
    sys.dont_write_bytecode = True
    sys.path.insert(0, str(folder))
    os.chdir(folder)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(nowhere, stream)
    words = ["-q", "-x", "--timeout=900", "-p", "no:cacheprovider", "-k", SLOW]
    os._exit(pytest.main([*words, *tests]))


class Copy:
    """A copy of the checkout in which one change at a time is tried."""

    def __init__(self, folder: pathlib.Path):
        self.folder = folder
        for name in NEEDED:
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("*.pyc"))
        shutil.copy(ROOT / "pyproject.toml", folder)

    def passes(self, tests: list[str]) -> bool:
        """Whether the tests do, as the code is now."""
        process = FORKS.Process(target=judge, args=(self.folder, tests))
        process.start()
        process.join()
        return process.exitcode == 0

    def survives(self, change) -> str | None:
        """What was changed, if no test notices it."""
        path, operator = self.folder / change.module_path, get_operator(change.operator_name)
        before = path.read_text().splitlines()
        with use_mutation(path, operator(**change.operator_args), change.occurrence):
            after = path.read_text().splitlines()
            if not self.passes(tests_of(str(change.module_path))):
                return None
        lines = list(difflib.unified_diff(before, after, lineterm="", n=0))[3:]
        return "\n".join([f"{change.module_path}:{change.start_pos[0]}", *lines])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=18.0, help="no change is tried later")
    parser.add_argument("--seed", type=int, default=0, help="of the sample")
    parser.add_argument("--jobs", type=int, default=2, help="changes at a time")
    parser.add_argument("--only", help="modules, such as 'clion_tf/learning/returns.py'")
    args = parser.parse_args()
    FORKS.set_forkserver_preload(LOADED)
    until, every = time.monotonic() + 60 * args.minutes, changes(args.seed, args.only)
    copies, survivors, tried = queue.SimpleQueue(), [], []

    def attempt(change) -> None:
        if time.monotonic() > until:
            return
        copy = copies.get()
        try:
            tests = tuple(tests_of(str(change.module_path)))
            if tests not in sound:
                sound[tests] = copy.passes(list(tests))
            if not sound[tests]:
                raise RuntimeError(f"they fail without a change: {' '.join(tests)}")
            found = copy.survives(change)
        finally:
            copies.put(copy)
        tried.append(change)
        if found:
            survivors.append(found)
            sys.stdout.write(f"survived: {found}\n\n")
            sys.stdout.flush()

    sound: dict[tuple, bool] = {}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(args.jobs):
            copies.put(Copy(pathlib.Path(folder, str(number))))
        with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
            list(pool.map(attempt, every))
    sys.stdout.write(f"{len(every)} changes, {len(tried)} tried, {len(survivors)} survived\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
