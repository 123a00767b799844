"""Which code a run was made with: a line in its folder whenever that changes."""

import importlib.metadata
import json
import logging
import os
import pathlib
import platform
import subprocess
from collections.abc import Mapping

from clion_tf.files import atomic_write
from clion_tf.logdir.run_folder import RunFolder

PACKAGES = ("clion_tf", "tensorflow", "keras", "dm_control", "mujoco", "numpy")

_log = logging.getLogger(__name__)


def current() -> dict[str, str]:
    """{name: version} of Python and the packages, and the `commit` of a git checkout, if known."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue  # clion_tf itself, run from a checkout.
    commit = _commit(pathlib.Path(__file__).resolve().parents[2])
    return {**found, "commit": commit} if commit else found


def record(logdir: str | os.PathLike[str], steps: int) -> None:
    """Notes the versions that hold from `steps` on, if they are not those of the last start."""
    entry, earlier = {"step": steps, **current()}, read(logdir)
    if earlier and {**earlier[-1], "step": steps} == entry:
        return
    with atomic_write(RunFolder(logdir).versions_file) as file:
        file.writelines(json.dumps(line).encode() + b"\n" for line in (*earlier, entry))


def read(logdir: str | os.PathLike[str]) -> list[dict]:
    """The lines of a run's folder, oldest first; none of older runs. Damaged lines are left out."""
    path, found = RunFolder(logdir).versions_file, []
    try:
        lines = path.read_text(errors="replace").splitlines()
    except OSError:
        return []
    for line in lines:
        try:
            found.append(dict(json.loads(line)))
        except (ValueError, TypeError):
            _log.warning("%s: a damaged line left out", path)
    return found


def told(versions: Mapping[str, str]) -> str | None:
    """`0.1.0 (commit)` of clion_tf, as far as it is known."""
    version, commit = versions.get("clion_tf"), versions.get("commit")
    if version and commit:
        return f"{version} ({commit})"
    return version or commit


def of_run(logdir: str | os.PathLike[str]) -> str | None:
    """All that a run was made with, `0.1.0 (a1b2c3), 0.2.0`; None where it was not recorded."""
    found = [text for text in map(told, read(logdir)) if text]
    return ", ".join(dict.fromkeys(found)) or None


def _commit(root: pathlib.Path) -> str | None:
    if not (root / ".git").exists():
        return None
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=10, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.TimeoutExpired):  # No git, or a checkout on a slow disk.
        return None
    return done.stdout.strip() or None
