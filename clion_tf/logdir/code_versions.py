"""Which code and device a run was made with: a line in its folder whenever that changes."""

import contextlib
import importlib.metadata
import json
import logging
import os
import pathlib
import platform
import subprocess

from clion_tf.files import atomic_write
from clion_tf.logdir.run_folder import RunFolder

PACKAGES = ("clion_tf", "tensorflow", "keras", "dm_control", "mujoco", "numpy")
ROOT = pathlib.Path(__file__).resolve().parents[2]

_log = logging.getLogger(__name__)


def current() -> dict[str, str]:
    """{name: version} of Python and the packages, and the `commit` of a git checkout, if known."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        # clion_tf itself may be run from a checkout.
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--abbrev=12"]
    # No git, or a checkout on a slow disk.
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        if (ROOT / ".git").exists():
            done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
            found["commit"] = done.stdout.strip()
    return found


def record(logdir: str | os.PathLike[str], steps: int, device: str) -> None:
    """Notes what holds from `steps` on, if it is not what held at the last start.

    `device` says what computes, in which precision, and whether XLA compiles.
    """
    entry, earlier = {"step": steps, **current(), "device": device}, read(logdir)
    if earlier and {**earlier[-1], "step": steps} == entry:
        return
    with atomic_write(RunFolder(logdir).versions_file) as file:
        file.writelines(json.dumps(line).encode() + b"\n" for line in (*earlier, entry))


def read(logdir: str | os.PathLike[str]) -> list[dict]:
    """The lines of a run's folder, oldest first; none of older runs. Damaged lines are left out."""
    path, found = RunFolder(logdir).versions_file, []
    for line in path.read_bytes().splitlines() if path.is_file() else ():
        try:
            found.append(dict(json.loads(line)))
        except (ValueError, TypeError):
            _log.warning("%s: a damaged line left out", path)
    return found


def of_run(logdir: str | os.PathLike[str]) -> str | None:
    """All clion_tf versions that made a run, such as `0.1.0 (a1b2c3), 0.2.0`; None if unknown."""
    found = []
    for entry in read(logdir):
        version, commit = entry.get("clion_tf"), entry.get("commit")
        found.append(f"{version} ({commit})" if version and commit else version or commit)
    return ", ".join(dict.fromkeys(filter(None, found))) or None
