"""Processes that answer in lines of JSON: the original's code, and ours beside it.

And what the original makes of episodes: does each side read the other's files as the same numbers?
Each file is put, as a link, into a folder of its own, from which each side reads with the function
that it trains with: the original's `tools.load_episodes`, our `Replay`. Files stay as they are.
"""

import contextlib
import json
import os
import pathlib
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from clion_tf.command import UsageError
from clion_tf.dreamer import original_code
from clion_tf.replay.episode_files import DAMAGE, check_file
from clion_tf.replay.replay_buffer import Replay, ReplayError

_GRACE = 5.0  # Seconds that a child without a stdout gets to end by itself.
KEYS = ("image", "action", "reward", "discount")

Arrays = dict[str, np.ndarray]


class Child:
    """Speaks as `original_code` does; UsageError if it cannot be run, dies, or talks nonsense."""

    def __init__(self, name: str, command: Sequence[str], environment: Mapping[str, str]):
        self._name = f"{name} ({command[0]})"
        self._stderr = tempfile.TemporaryFile("w+", errors="replace")
        try:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._stderr,
                env=environment, bufsize=1, text=True, errors="replace",
            )  # fmt: skip
        except (OSError, ValueError) as error:
            raise UsageError(f"{name}: cannot run {command[0]}: {error}") from error

    def ask(self, request: Any, *names: str) -> dict[str, Any]:
        """The answer to a request, which has these names."""
        with contextlib.suppress(BrokenPipeError):  # It died: reading says how.
            self._process.stdin.write(json.dumps(request) + "\n")
        return self.read(*names)

    def read(self, *names: str) -> dict[str, Any]:
        """The next answer."""
        line = self._process.stdout.readline()
        if not line.endswith("\n"):
            raise UsageError(f"{self._name} {self._death()}")
        with contextlib.suppress(ValueError):
            message = json.loads(line)
            if isinstance(message, dict) and set(names) <= message.keys():
                return message
        raise UsageError(f"{self._name} said {line.strip()!r}, not {', '.join(names)}")

    def close(self) -> None:
        """Ends the process, which has nothing to save."""
        self._process.kill()
        self._process.communicate()
        self._stderr.close()

    def _death(self) -> str:
        """How it ended, and the last line that it wrote to stderr."""
        how = "closed its stdout"
        with contextlib.suppress(subprocess.TimeoutExpired):
            code = self._process.wait(_GRACE)
            how = f"ended with exit code {code}"
            if code < 0:
                how = f"was ended by {signal.Signals(-code).name}"
                how += ", as for want of memory" if -code == signal.SIGKILL else ""
        self._stderr.seek(0)
        said = self._stderr.read().strip() or "it said nothing"
        return f"{how}: {said.splitlines()[-1]}"


def original(
    checkout: pathlib.Path, file: str, python: str, *words: str, gpus: bool = False
) -> Child:
    """`original_code` in a checkout, which must have `file`, run by `python`."""
    if not (checkout / file).is_file():
        raise UsageError(f"{checkout}: no {file} there; it is no checkout of danijar/dreamer")
    own = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME")}
    own["TF_CPP_MIN_LOG_LEVEL"] = "3"
    if not gpus:
        own["CUDA_VISIBLE_DEVICES"] = "-1"
    # -B: nothing is written into the checkout.
    command = [python, "-B", original_code.__file__, str(checkout.resolve()), *words]
    return Child("original", command, own)


class Row(NamedTuple):
    """One file, as another reader and our replay read it; None if it cannot be read."""

    other: Arrays | None
    ours: Arrays | None
    same: bool  # In all values and types.
    counted: tuple[int, int] = (0, 0)  # Episodes and agent steps, by the original.


def some_files(folder: pathlib.Path, count: int) -> list[pathlib.Path]:
    """At most `count` episode files, evenly spread over the folder's; UsageError without any."""
    found = sorted(folder.glob("*.npz"))
    if not found:
        raise UsageError(f"{folder}: no episodes there")
    chosen = np.linspace(0, len(found) - 1, min(count, len(found))).astype(int)
    return [found[i] for i in chosen]


def compare_episodes(
    title: str, files: Sequence[pathlib.Path], child: Child | None, length: int
) -> tuple[list[str], bool]:
    """The lines of a table of these files, and whether all agrees.

    The original, `child`, also writes each file again, for our replay to read, and draws a sequence
    of `length` frames. Without it the files are compared with plain NumPy.
    """
    with tempfile.TemporaryDirectory() as scratch:
        rows = []
        for path in files:
            folder = pathlib.Path(tempfile.mkdtemp(dir=scratch))
            (folder / path.name).symlink_to(path.resolve())
            rows.append(_row(folder, child, length))
    width = max(len(path.name) for path in files)
    reader = "its tools.load_episodes" if child else "numpy.load"
    lines = [f"{title}, read by {reader} and by our replay"]
    lines.append(f"{'file':{width}}  frames  return: its      ours  verdict")
    for path, row in zip(files, rows, strict=True):
        rewards = [read and read["reward"] for read in (row.other, row.ours)]
        frames = next((len(found) for found in rewards if found is not None), "-")
        sums = ["unread" if r is None else f"{r.sum(dtype=np.float64):.3f}" for r in rewards]
        verdict = "same" if row.same else "DIFFERS"
        lines.append(f"{path.name:{width}}  {frames:>6}  {sums[0]:>11}  {sums[1]:>11}  {verdict}")
    same, read = all(row.same for row in rows), [row.ours for row in rows if row.ours]
    for ours in read[:1]:
        lines.append(f"keys: {', '.join(f'{key} {ours[key].dtype}' for key in KEYS)}")
    if child:
        ours = len(read), sum(len(each["reward"]) - 1 for each in read)
        its = tuple(map(sum, zip(*(row.counted for row in rows), strict=True)))
        text = f"counted: {ours[0]} episodes, {ours[1]} agent steps"
        lines.append(f"{text}; by it {its[0]} and {its[1]}")
        same = same and ours == its
    return lines, same


def _row(folder: pathlib.Path, child: Child | None, length: int) -> Row:
    """Of a folder's only episode; what was drawn from it must be part of it."""
    ours = _by_replay(folder)
    if child is None:
        other = _by_numpy(folder)
        return Row(other, ours, _equal(ours, other))
    answer = child.ask({"folder": str(folder), "length": length}, "episodes", "steps")
    other, drawn = _by_numpy(folder / "read"), _by_numpy(folder / "drawn")
    same = _equal(ours, other) and _equal(_by_replay(folder / "read"), other)
    if same and drawn:
        length = len(drawn["reward"])
        starts = range(len(ours["reward"]) - length + 1)
        parts = ({k: a[i : i + length] for k, a in ours.items()} for i in starts)
        same = any(_equal(part, drawn) for part in parts)
    return Row(other, ours, same, (answer["episodes"], answer["steps"]))


def _equal(ours: Arrays | None, other: Arrays | None) -> bool:
    if ours is None or other is None:
        return False
    pairs = [(ours[key], other[key]) for key in KEYS]
    return all(a.dtype == b.dtype and np.array_equal(a, b) for a, b in pairs)


def _by_replay(folder: pathlib.Path) -> Arrays | None:
    """The folder's episode, which is float32, in the types that the file has."""
    try:
        (path,) = folder.glob("*.npz")
        entry = check_file(path)
        replay = Replay(folder, 1)
        replay.load()
        batch = replay.newest(entry.frames, 1)
    except (*DAMAGE, ReplayError):
        return None
    return {key: batch[key][0].astype(entry.arrays[key].dtype) for key in KEYS}


def _by_numpy(folder: pathlib.Path) -> Arrays | None:
    """The folder's only file, if there is one."""
    try:
        (path,) = folder.glob("*.npz")
        with np.load(path, allow_pickle=False) as file:
            return {key: file[key] for key in KEYS}
    except DAMAGE:  # Among them ValueError, without a file.
        return None
