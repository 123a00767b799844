"""One attempt at a run: starts its process, watches it, and ends with it. Knows nothing of Ray."""

import contextlib
import dataclasses
import datetime
import os
import pathlib
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator

from clion_tf.console import FAILED, REFUSED
from clion_tf.logdir.run_folder import RunFolder
from clion_tf.sweep import child_process, run_progress
from clion_tf.sweep.run_progress import NOWHERE, Standing

PACKAGE_PARENT = pathlib.Path(__file__).resolve().parents[2]
POLL = 1.0  # Seconds between looks at whether the run goes on and should.
READ_EVERY = 5.0  # Seconds between readings of its metrics.
FREE_WITHIN = 300.0  # Seconds in which whoever has the logdir must have left it.
GRACE = 90.0  # Seconds to end in after SIGTERM; building the first graph is not interrupted.
TAIL = 4096  # Bytes of a log in which its last line is looked for.

Report = Callable[[Standing], bool]  # Told where the run stands, answers whether to stop it.


@dataclasses.dataclass(frozen=True)
class Order:
    """What an attempt needs to know; travels to another machine.

    Attributes:
      words: arguments of `python -m clion_tf.run`.
      root: the sweep's folder, made before.
      folder, log: the run's logdir, and the file that its output is added to.
      cpus, gpus: that the run may use.
      number: 1 for the first attempt.
      delay: seconds to wait before it.
      cwd, python_path: where the sweep was started, for environments `module:function`.
    """

    words: tuple[str, ...]
    root: pathlib.Path
    folder: pathlib.Path
    log: pathlib.Path
    cpus: float = 1.0
    gpus: float = 0.0
    number: int = 1
    delay: float = 0.0
    cwd: str = ""
    python_path: str = ""


@dataclasses.dataclass(frozen=True)
class Ended:
    """How an attempt ended.

    Attributes:
      code: of the run's process; of a signal: negative.
      line: the last that the run wrote.
      standing: where it stands.
      stopped: whether it was told to stop before it ended.
    """

    code: int
    line: str
    standing: Standing = NOWHERE
    stopped: bool = False


STOPPED = Ended(0, "stopped", stopped=True)


def attempt(order: Order, report: Report) -> Ended:
    """Makes the run, or goes on with it, until it ends or is to stop."""
    if not order.root.is_dir():
        where = socket.gethostname()
        return Ended(FAILED, f"{order.root}: not there on {where}; machines must share it")
    if _pause(order.delay, lambda: False, report):
        return STOPPED
    folder = RunFolder(order.folder)
    if _pause(FREE_WITHIN, lambda: not folder.in_use(), report):
        return STOPPED
    if folder.in_use():
        return Ended(FAILED, f"{order.folder}: another process is using it")
    order.log.parent.mkdir(parents=True, exist_ok=True)
    with order.log.open("ab") as log:
        begin = log.tell()
        log.write(_headline(order).encode())
        log.flush()
        with _process(order, log) as process:
            stopped = _watch(process, order.folder, report)
    code = process.returncode
    line = _last_line(order.log, begin) or f"exit code {code}"
    if code < 0:
        line = f"killed by {signal.Signals(-code).name} after: {line}"
    return Ended(code, line, run_progress.read(order.folder), stopped)


def final(ended: Ended) -> bool:
    """Whether the same command would end in the same way again."""
    return ended.code in (0, REFUSED)


def _pause(seconds: float, enough: Callable[[], bool], report: Report) -> bool:
    """Waits until it is enough, at most so long; True if told to stop meanwhile."""
    until = time.monotonic() + seconds
    while time.monotonic() < until and not enough():
        if report(NOWHERE):
            return True
        time.sleep(min(POLL, seconds))
    return False


def _headline(order: Order) -> str:
    when = datetime.datetime.now().astimezone()
    return f"--- attempt {order.number} on {socket.gethostname()}, {when:%Y-%m-%d %H:%M:%S %Z}\n"


@contextlib.contextmanager
def _process(order: Order, log) -> Iterator[subprocess.Popen]:
    """The run's process, which never outlives the block."""
    process = subprocess.Popen(
        child_process.command(order.words),
        cwd=order.cwd if os.path.isdir(order.cwd) else None,
        env=_environment(order),
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
    )
    try:
        yield process
    finally:
        _end(process)


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


def _watch(process: subprocess.Popen, folder: pathlib.Path, report: Report) -> bool:
    """Until the process ends; True if told to stop it before."""
    read_at, now = 0.0, NOWHERE
    while process.poll() is None:
        if time.monotonic() >= read_at:
            now, read_at = _standing(folder, now), time.monotonic() + READ_EVERY
        if report(now):
            return True
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(POLL)
    return False


def _standing(folder: pathlib.Path, before: Standing) -> Standing:
    try:
        return run_progress.read(folder)
    except OSError:  # A file server that is away for a moment is the run's business.
        return before


def _end(process: subprocess.Popen) -> None:
    """SIGTERM, on which a run saves and ends; SIGKILL if it does not."""
    for stop, seconds in ((process.terminate, GRACE), (process.kill, None)):
        if process.poll() is None:
            stop()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(seconds)


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
