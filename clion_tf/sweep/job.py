"""A run of a sweep: where it stands, and one attempt at it. Knows nothing of Ray.

As a command, this module becomes the run, which dies with its parent, a Ray worker. A run that
outlived the worker would keep the logdir locked against the next attempt on another machine.
"""

import contextlib
import ctypes
import dataclasses
import os
import pathlib
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

from clion_tf.analysis.curves import metrics_files
from clion_tf.analysis.curves.metrics_files import Metrics
from clion_tf.config import Config, different
from clion_tf.console import FAILED, REFUSED
from clion_tf.logdir.checkpoints import newest
from clion_tf.logdir.run_folder import BUSY, RunFolder

WAITING, RUNNING, DONE, GIVEN_UP, STOPPED = "waiting", "running", "done", "failed", "stopped"
OVER = (DONE, GIVEN_UP, STOPPED)
LOGS = "logs"  # Below the sweep's folder: what the runs write to stdout and stderr.
POLL = 1.0  # Seconds between looks at whether the logdir is free.
FREE_WITHIN = 300.0  # Seconds in which whoever has the logdir must have left it.
GRACE = 90.0  # Seconds to end in after SIGTERM; building the first graph is not interrupted.
HEADLINE = re.compile(rb"^--- attempt \d+ on (\S+),", re.MULTILINE)


@dataclasses.dataclass(eq=False)
class Job:
    """A run, with all its options, and how it is getting on."""

    root: pathlib.Path  # The sweep's folder.
    name: str  # `task/method/seed0`, the run's folder below it.
    config: Config
    state: str = WAITING
    metrics: Metrics = dataclasses.field(default_factory=lambda: Metrics({}))
    node: str = ""  # The machine that it is on, "" while it waits.
    best: int = 0  # Environment steps at the end of the attempt that got furthest.
    attempts: int = 0
    retries: int = 0  # Number of the present retry; 1 again after an attempt that got further.
    refusals: int = 0  # How many of the latest attempts in a row were refused.
    problem: str = ""  # Last line of output of the latest failed attempt.
    ticket: Any = None  # The cluster's handle of the attempt that is queued or running.
    due: float = 0.0  # No attempt is queued before this time.
    log_size: int = 0  # Length of the log in bytes when the present attempt was queued.
    read_at: float = 0.0  # When its metrics were last read.

    @property
    def folder(self) -> RunFolder:
        """The logdir."""
        return RunFolder(self.root / self.name)

    @property
    def log(self) -> pathlib.Path:
        """The file that its output is added to."""
        return self.root / LOGS / f"{self.name}.log"

    @property
    def words(self) -> list[str]:
        """Of `clion_tf.run`, without flagfiles, which others may lack."""
        differing = different(Config(), self.config).items()
        return [f"--{name}={value}" for name, (_, value) in differing]

    @property
    def steps(self) -> int:
        """Environment steps that it has logged."""
        return self.metrics.last_step()

    @property
    def left(self) -> int:
        """Those that it is still to make."""
        return max(0, self.config.steps - self.steps)

    @property
    def speed(self) -> float:
        """Environment steps a second, as logged last; 0 while it waits."""
        return self.metrics.last("fps") or 0.0 if self.state == RUNNING else 0.0

    def read(self) -> None:
        """How far its run is now; as before, while a file server is away for a moment."""
        with contextlib.suppress(OSError):
            self.metrics = metrics_files.read(self.folder.metrics_file)

    def read_at_start(self) -> None:
        """How far its run is before this sweep; done if its last evaluation is made."""
        self.read()
        self.best = self.steps
        *_, at = newest(self.folder.checkpoints, arrays=False)
        evaluated = at.evaluated_at == at.steps or not at.updates
        self.state = DONE if evaluated and at.steps >= self.config.steps else WAITING

    def mark_log(self) -> None:
        """Notes where in the log the next attempt begins; as before, while it cannot be read."""
        with contextlib.suppress(OSError):
            self.log_size = self.log.stat().st_size if self.log.exists() else 0

    def find_node(self) -> None:
        """Looks in the log whether, and on which machine, the attempt has begun."""
        with contextlib.suppress(OSError), self.log.open("rb") as file:
            file.seek(self.log_size)
            # What a dying attempt before it still wrote may come first.
            if found := HEADLINE.search(file.read(4096)):
                self.node = found[1].decode()
        self.state = RUNNING if self.node else WAITING


class Resources(NamedTuple):
    """What each run gets: its share of a machine, and where tasks `module:function` are found."""

    cpus: float
    gpus: float
    cwd: str
    python_path: str


def attempt(job: Job, given: Resources, node: str) -> tuple[int, str]:
    """Makes or resumes the run until it ends; its output is added to the log.

    `node` is this machine's name there. Returns the exit code (negative: a signal) and the last
    line. An interrupt asks the run to end by SIGTERM; when it has, KeyboardInterrupt is raised.
    """
    if not job.root.is_dir():
        return FAILED, f"{job.root}: not there on {node}; machines must share it"
    until = time.monotonic() + FREE_WITHIN
    while True:
        while job.folder.in_use():
            if time.monotonic() > until:
                return FAILED, f"{job.folder}: another process is using it"
            time.sleep(POLL)
        code, line = _logged(job, given, node)
        # Another may have taken it between the look and the run.
        if code != REFUSED or not line.endswith(BUSY):
            return code, line


def _logged(job: Job, given: Resources, node: str) -> tuple[int, str]:
    job.log.parent.mkdir(parents=True, exist_ok=True)
    with job.log.open("ab") as log:
        when = time.strftime("%Y-%m-%d %H:%M:%S %Z")
        log.write(f"--- attempt {job.attempts} on {node}, {when}\n".encode())
        log.flush()
        begin = log.tell()
        own = ["--device=gpu"] if given.gpus and job.config.device == "auto" else []
        code = _run([*job.words, *own], given, log)
    said = job.log.read_bytes()[begin:].decode(errors="replace").strip()
    line = said.splitlines()[-1] if said else f"exit code {code}"
    if code < 0:
        line = f"killed by {signal.Signals(-code).name} after: {line}"
    return code, line


def command(words: Sequence[str]) -> list[str]:
    """Makes a run which dies with the thread that starts it."""
    return [sys.executable, "-m", "clion_tf.sweep.job", str(os.getpid()), *words]


def _run(words: Sequence[str], given: Resources, log) -> int:
    """The exit code of the run's process, which never outlives this."""
    # As many threads as it has cores: many runs on a large machine share it.
    threads = str(max(1, round(given.cpus)))
    limits = {f"TF_NUM_{kind}_THREADS": threads for kind in ("INTRAOP", "INTEROP")}
    own = {"PYTHONPATH": given.python_path, "OMP_NUM_THREADS": threads}
    if not given.gpus:  # If the run gets some of the GPUs, Ray sets this variable.
        own["CUDA_VISIBLE_DEVICES"] = "-1"
    process = subprocess.Popen(
        command(words), cwd=given.cwd if os.path.isdir(given.cwd) else None,
        env={**limits, **os.environ, **own}, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
    )  # fmt: skip
    try:
        # With a limit, of years, it looks again and again, so that an interrupt is seen.
        return process.wait(threading.TIMEOUT_MAX)
    finally:
        process.terminate()  # It saves.
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(GRACE)
        process.kill()
        process.wait()


def main(arguments: Sequence[str]) -> None:
    """Asks Linux to be killed with the parent, then is `clion_tf.run`."""
    parent, *words = arguments
    if sys.platform.startswith("linux"):
        # PR_SET_PDEATHSIG: by SIGKILL, for a hung run may ignore others; its checkpoint stands.
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)
    if os.getppid() != int(parent):
        return  # It died before that was asked.
    # Workers of Ray have SIGINT blocked, which would be inherited.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT, signal.SIGTERM})
    os.execv(sys.executable, [sys.executable, "-m", "clion_tf.run", *words])


if __name__ == "__main__":
    main(sys.argv[1:])
