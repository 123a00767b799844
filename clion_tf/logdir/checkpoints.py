"""Checkpoints: every variable by name in one `.npz`, counters beside them; nothing is pickled."""

import dataclasses
import errno
import hashlib
import json
import logging
import pathlib
import re
import zipfile
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from clion_tf.console import Refused
from clion_tf.files import atomic_write

_log = logging.getLogger(__name__)

STOPPED = "-stopped"
NAME = re.compile(rf"(\d+)({STOPPED})?\.npz")
# What NumPy raises for files that are no archives of arrays.
DAMAGE = (ValueError, KeyError, EOFError, zipfile.BadZipFile, RuntimeError)
# Variables that only float16 needs, see learning.optimizer: a run may change its precision.
LOSS_SCALE = re.compile(r"optimizer/\w+_scale/")


class CheckpointError(Refused, RuntimeError):
    """A checkpoint that cannot be used; the message is one line."""


class DamagedError(CheckpointError):
    """A checkpoint of which no part can be used by anyone."""


@dataclasses.dataclass
class Counters:
    """Where a run stands; all that a resumed run must know besides variables and episodes."""

    steps: int = 0  # Environment steps, action repeat included.
    begun_at: int = 0  # Steps made by another program, of which this run has no episodes.
    episodes: int = 0
    updates: int = 0
    updates_due: int = 0  # Updates of the phases due so far that are still to be made.
    last_train: int | None = None  # Environment steps at which the last phase was due.
    next_eval: int | None = None
    next_log: int | None = None
    saved_at: int = 0  # `steps` at the last checkpoint that was due.
    logged_at: int = 0  # `steps` at the last line of the updates' metrics.
    evaluated_at: int | None = None
    test_episodes: int = 0
    metrics_bytes: int = 0  # Length of metrics.jsonl.
    train_return: float | None = None
    test_return: float | None = None
    sums: dict[str, float] = dataclasses.field(default_factory=dict)  # Metrics since `logged_at`,
    sums_count: int = 0  # summed over this many updates.
    skipped: int = 0  # Updates skipped since `logged_at` (losses or gradients not finite).
    bad_run: int = 0  # Latest updates skipped in a row, also those before `logged_at`.
    rollbacks: int = 0
    env_failures: int = 0
    skipped_episodes: int = 0  # Training episodes that could not be played; each used a number.
    skipped_tests: int = 0  # Evaluation episodes that could not be played; in `test_episodes` too.


class Checkpoints:
    """The checkpoints of a run, `<folder>/<environment steps>.npz`, the newest `keep` of them.

    A stop saves one more, `<environment steps>-stopped.npz`, kept until the next regular one.
    After bad numbers no run goes back to it, because outcomes must not depend on stops. While
    updates are being skipped, the newest checkpoint from before them is kept too.
    """

    def __init__(self, folder: str | pathlib.Path, keep: int = 3):
        self._folder, self._keep = pathlib.Path(folder), keep
        self._folder.mkdir(parents=True, exist_ok=True)

    def paths(self) -> list[pathlib.Path]:
        """All checkpoints, newest first."""
        return self.found_in(self._folder)

    @staticmethod
    def found_in(folder: pathlib.Path) -> list[pathlib.Path]:
        """All checkpoints of a folder, newest first."""
        named = ((NAME.fullmatch(path.name), path) for path in folder.glob("[0-9]*.npz"))
        found = [(int(match[1]), bool(match[2]), path) for match, path in named if match]
        return [path for *_, path in sorted(found, reverse=True)]

    def _due(self) -> list[pathlib.Path]:
        return [path for path in self.paths() if not path.stem.endswith(STOPPED)]

    def save(
        self, variables: Mapping[str, np.ndarray], counters: Counters, stopped: bool = False
    ) -> pathlib.Path:
        """Writes a checkpoint and, if it is not that of a stop, removes those too old to keep."""
        arrays: dict[str, Any] = {name: np.asarray(value) for name, value in variables.items()}
        meta = json.dumps(dataclasses.asdict(counters))
        path = self._folder / f"{counters.steps:09d}{STOPPED if stopped else ''}.npz"
        with atomic_write(path) as file:
            np.savez(file, meta=np.array(meta), **arrays)
        if not stopped:
            kept = self._due()[: self._keep]
            if counters.bad_run and (good := self._first_of(self._due(), _good, arrays=False)):
                kept.append(good[0])
            for old in {*self.paths()} - {*kept}:
                old.unlink()
        return path

    def load_newest(self) -> tuple[dict[str, np.ndarray], Counters]:
        """The newest that can be read, no arrays if there is none; damaged ones are set aside.

        Raises CheckpointError if all are damaged, as a new start would overwrite episodes; else as
        `load`.
        """
        found = self._first_of(self.paths(), lambda counters: True)
        if found is None and any(self._folder.glob("*.npz.bad")):
            advice = "use another --logdir, or delete this run's to start from scratch"
            raise CheckpointError(f"{self._folder}: no checkpoint can be read; {advice}")
        return found[1:] if found else ({}, Counters())

    def go_back(self) -> tuple[dict[str, np.ndarray], Counters] | None:
        """(arrays, counters) of the newest good checkpoint, or None; removes all newer ones.

        A good checkpoint was not made by a stop, and its last update was not skipped.
        """
        found = self._first_of(self._due(), _good)
        if found is None:
            return None
        due = self._due()
        for path in {*self.paths()} - {*due[due.index(found[0]) :]}:
            path.unlink()
        return found[1:]

    def _first_of(
        self, paths: Sequence[pathlib.Path], good: Callable[[Counters], bool], arrays: bool = True
    ) -> tuple[pathlib.Path, dict[str, np.ndarray], Counters] | None:
        for path in paths:
            try:
                found, counters = load(path, arrays)
                if good(counters):
                    return path, found, counters
            except DamagedError as error:
                _log.warning("%s; trying the one before", error)
                path.rename(path.with_name(path.name + ".bad"))
        return None


def _good(counters: Counters) -> bool:
    """Whether the last update before a checkpoint was made."""
    return not counters.bad_run


def newest(
    folder: pathlib.Path, arrays: bool = True
) -> tuple[pathlib.Path | None, dict[str, np.ndarray], Counters]:
    """The newest that can be read, while a run may train; its path is None if there is none."""
    tried: set[pathlib.Path] = set()
    # Listed each time, as a run that trains makes new ones and removes old ones meanwhile.
    while found := [path for path in Checkpoints.found_in(folder) if path not in tried]:
        tried.add(path := found[0])
        try:
            return path, *load(path, arrays)
        except (CheckpointError, OSError) as error:
            if path.exists():
                _log.warning("%s; taking the one before", error)
    return None, {}, Counters()


def load(path: pathlib.Path, arrays: bool = True) -> tuple[dict[str, np.ndarray], Counters]:
    """({name: array}, counters); CheckpointError, or OSError if the disk does not give it now."""
    try:
        with np.load(path, allow_pickle=False) as file:
            names = [name for name in file.files if arrays and name != "meta"]
            counters = Counters(**json.loads(str(file["meta"])))
            return {name: file[name] for name in names}, counters
    except TypeError as error:  # Counters that this version does not know.
        raise CheckpointError(f"{path}: of another version of clion_tf ({error})") from error
    except (*DAMAGE, OSError) as error:
        # EINVAL: a directory of the archive that points nowhere.
        if isinstance(error, OSError) and error.errno != errno.EINVAL:
            raise
        raise DamagedError(f"{path}: damaged checkpoint ({error})") from error


def restore(variables: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
    """Assigns every array to the variable of its name; CheckpointError before if one differs."""
    differing = variables.keys() ^ arrays.keys()
    if odd := sorted(name for name in differing if not LOSS_SCALE.match(name)):
        where = "the checkpoint" if odd[0] in arrays else "the agent"
        raise CheckpointError(f"checkpoint does not fit: only {where} has {odd[0]}")
    common = {name: variable for name, variable in variables.items() if name in arrays}
    for name, variable in common.items():
        ours, theirs = tuple(variable.shape), arrays[name].shape
        if ours != theirs:
            raise CheckpointError(f"checkpoint does not fit: {name} is {theirs}, agent's {ours}")
    for name, variable in common.items():
        variable.assign(arrays[name])


def digest(arrays: Mapping[str, np.ndarray]) -> str:
    """SHA-256 of all names, types, shapes and bytes: equal only for identical states."""
    total = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        total.update(f"{name} {array.dtype.str} {array.shape}\n".encode() + array.tobytes())
    return total.hexdigest()
