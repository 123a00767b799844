"""One attempt at a run: starts its process, waits for it, ends with it. Knows nothing of Ray.

`python -m clion_tf.sweep.attempt PARENT WORD...` is a run that dies with its parent, a worker of
Ray: one that outlives it would hold the logdir against the next attempt, made elsewhere.
"""

import contextlib
import ctypes
import datetime
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from clion_tf.console import FAILED
from clion_tf.logdir.run_folder import RunFolder

if TYPE_CHECKING:
    from clion_tf.sweep.sweep_plan import PlannedRun

POLL = 1.0  # Seconds between looks at whether the run goes on; an interrupt waits for no more.
FREE_WITHIN = 300.0  # Seconds in which whoever has the logdir must have left it.
GRACE = 90.0  # Seconds to end in after SIGTERM; building the first graph is not interrupted.
HEADLINE = re.compile(rb"^--- attempt \d+ on (\S+),", re.MULTILINE)
_PR_SET_PDEATHSIG = 1


class Ended(NamedTuple):
    """How an attempt ended: the process's exit code (negative: a signal) and last line."""

    code: int
    line: str


class Resources(NamedTuple):
    """What each run gets: its share of a machine, and where tasks `module:function` are found."""

    cpus: float
    gpus: float
    cwd: str
    python_path: str


def attempt(run: "PlannedRun", number: int, given: Resources, node: str) -> Ended:
    """Makes the run, or goes on with it, until it ends; its output is added to `run.log`.

    `number` is 1 for the first attempt, `node` this machine's name in the log. On an interrupt the
    run is asked to end by SIGTERM; when it has, KeyboardInterrupt is raised.
    """
    if not run.root.is_dir():
        where = socket.gethostname()
        return Ended(FAILED, f"{run.root}: not there on {where}; machines must share it")
    until = time.monotonic() + FREE_WITHIN
    while RunFolder(run.folder).in_use():
        if time.monotonic() > until:
            return Ended(FAILED, f"{run.folder}: another process is using it")
        time.sleep(POLL)
    run.log.parent.mkdir(parents=True, exist_ok=True)
    with run.log.open("ab") as log:
        when = datetime.datetime.now().astimezone()
        log.write(f"--- attempt {number} on {node}, {when:%Y-%m-%d %H:%M:%S %Z}\n".encode())
        log.flush()
        begin = log.tell()
        code = _run(run.words, given, log)
    lines = map(str.strip, run.log.read_bytes()[begin:].decode(errors="replace").splitlines())
    line = next(filter(None, reversed([*lines])), f"exit code {code}")
    if code < 0:
        line = f"killed by {signal.Signals(-code).name} after: {line}"
    return Ended(code, line)


def node_of(log: pathlib.Path, begin: int) -> str:
    """The machine of the attempt that a log has from byte `begin` on; "" before it has begun."""
    with contextlib.suppress(OSError), log.open("rb") as file:
        file.seek(begin)
        # What a dying attempt before it still wrote may come first.
        if found := HEADLINE.search(file.read(4096)):
            return found[1].decode()
    return ""


def command(words: Sequence[str]) -> list[str]:
    """Makes a run which dies with the thread that starts it."""
    return [sys.executable, "-m", "clion_tf.sweep.attempt", str(os.getpid()), *words]


def _run(words: Sequence[str], given: Resources, log) -> int:
    """The exit code of the run's process, which never outlives this."""
    process = subprocess.Popen(
        command(words), cwd=given.cwd if os.path.isdir(given.cwd) else None,
        env=_environment(given), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
    )  # fmt: skip
    try:
        while process.poll() is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(POLL)
    finally:
        # On SIGTERM a run saves.
        for stop, seconds in ((process.terminate, GRACE), (process.kill, None)):
            if process.poll() is None:
                stop()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(seconds)
    return process.returncode


def _environment(given: Resources) -> Mapping[str, str]:
    """As many threads as the run has cores: many runs on a large machine share it."""
    threads = str(max(1, round(given.cpus)))
    limits = {f"TF_NUM_{kind}_THREADS": threads for kind in ("INTRAOP", "INTEROP")}
    own = {"PYTHONPATH": given.python_path, "OMP_NUM_THREADS": threads}
    if not given.gpus:  # Fewer than there are is said by Ray.
        own["CUDA_VISIBLE_DEVICES"] = "-1"
    return {**limits, **os.environ, **own}


def main(arguments: Sequence[str]) -> None:
    """Asks Linux to be killed with the parent, then is `clion_tf.run`."""
    parent, *words = arguments
    if sys.platform.startswith("linux"):
        # By SIGKILL, for a hung run may ignore others; its last checkpoint stands.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != int(parent):
        return  # It died before that was asked.
    # Workers of Ray have SIGINT blocked, which would be inherited.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT, signal.SIGTERM})
    os.execv(sys.executable, [sys.executable, "-m", "clion_tf.run", *words])


if __name__ == "__main__":
    main(sys.argv[1:])
