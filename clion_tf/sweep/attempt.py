"""One attempt at a run: starts its process, waits for it, ends with it. Knows nothing of Ray."""

import contextlib
import dataclasses
import datetime
import os
import pathlib
import re
import signal
import socket
import subprocess
import time
from collections.abc import Iterator

from clion_tf.console import FAILED
from clion_tf.logdir.run_folder import RunFolder
from clion_tf.sweep import child_process

PACKAGE_PARENT = pathlib.Path(__file__).resolve().parents[2]
POLL = 1.0  # Seconds between looks at whether the run goes on; an interrupt waits for no more.
FREE_WITHIN = 300.0  # Seconds in which whoever has the logdir must have left it.
GRACE = 90.0  # Seconds to end in after SIGTERM; building the first graph is not interrupted.
TAIL = 4096  # Bytes of a log in which its first or last line is looked for.


@dataclasses.dataclass(frozen=True)
class Order:
    """What an attempt needs to know; travels to another machine.

    Attributes:
      words: arguments of `python -m clion_tf.run`.
      root: the sweep's folder, made before.
      folder, log: the run's logdir, and the file that its output is added to.
      cpus, gpus: that the run may use.
      number: 1 for the first attempt.
      cwd, python_path: where the sweep was started, for environments `module:function`.
    """

    words: tuple[str, ...]
    root: pathlib.Path
    folder: pathlib.Path
    log: pathlib.Path
    cpus: float = 1.0
    gpus: float = 0.0
    number: int = 1
    cwd: str = ""
    python_path: str = ""


@dataclasses.dataclass(frozen=True)
class Ended:
    """How an attempt ended: the process's exit code (negative: a signal) and last line."""

    code: int
    line: str


def attempt(order: Order, node: str = "here") -> Ended:
    """Makes the run, or goes on with it, until it ends. `node` is the machine's name in the log.

    Raises:
      KeyboardInterrupt: once the run has ended, which an interrupt asks of it by SIGTERM.
    """
    if not order.root.is_dir():
        where = socket.gethostname()
        return Ended(FAILED, f"{order.root}: not there on {where}; machines must share it")
    folder = RunFolder(order.folder)
    until = time.monotonic() + FREE_WITHIN
    while folder.in_use():
        if time.monotonic() > until:
            return Ended(FAILED, f"{order.folder}: another process is using it")
        time.sleep(POLL)
    order.log.parent.mkdir(parents=True, exist_ok=True)
    with order.log.open("ab") as log:
        begin = log.tell()
        when = datetime.datetime.now().astimezone()
        log.write(f"--- attempt {order.number} on {node}, {when:%Y-%m-%d %H:%M:%S %Z}\n".encode())
        log.flush()
        code = _run(order, log)
    line = _last_line(order.log, begin) or f"exit code {code}"
    if code < 0:
        line = f"killed by {signal.Signals(-code).name} after: {line}"
    return Ended(code, line)


def node_of(log: pathlib.Path, begin: int) -> str:
    """The machine of the attempt that a log has from byte `begin` on; "" before it has begun."""
    with contextlib.suppress(OSError), log.open("rb") as file:
        file.seek(begin)
        # What a dying attempt before it still wrote may come first.
        if found := re.search(rb"^--- attempt \d+ on (\S+),", file.read(TAIL), re.MULTILINE):
            return found[1].decode()
    return ""


def _run(order: Order, log) -> int:
    """The exit code of the run's process, which never outlives this."""
    process = subprocess.Popen(
        child_process.command(order.words),
        cwd=order.cwd if os.path.isdir(order.cwd) else None,
        env=_environment(order),
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
    )
    with _ending(process):
        while process.poll() is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(POLL)
    return process.returncode


@contextlib.contextmanager
def _ending(process: subprocess.Popen) -> Iterator[None]:
    """Ends the process with the block: by SIGTERM, on which a run saves; by SIGKILL if need be."""
    try:
        yield
    finally:
        for stop, seconds in ((process.terminate, GRACE), (process.kill, None)):
            if process.poll() is None:
                stop()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(seconds)


def _environment(order: Order) -> dict[str, str]:
    """As many threads as the run has cores: many runs on a large machine share it.

    Fewer GPUs than there are is said by Ray; none must be said here.
    """
    threads = str(max(1, round(order.cpus)))
    limits = {f"TF_NUM_{kind}_THREADS": threads for kind in ("INTRAOP", "INTEROP")}
    paths = [str(PACKAGE_PARENT), *filter(None, order.python_path.split(os.pathsep))]
    own = {"PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": threads}
    if not order.gpus:
        own["CUDA_VISIBLE_DEVICES"] = "-1"
    return {**limits, **os.environ, **own}


def _last_line(path: pathlib.Path, begin: int) -> str:
    """The last line that an attempt wrote after its headline; "" if none."""
    with path.open("rb") as file:
        file.seek(begin)
        file.readline()
        start = file.tell()
        size = file.seek(0, os.SEEK_END)
        file.seek(max(start, size - TAIL))
        lines = [line.strip() for line in file.read().decode(errors="replace").splitlines()]
    return next((line for line in reversed(lines) if line), "")
