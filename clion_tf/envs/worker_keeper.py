"""Starts an environment's worker, and ends all that the worker started when it has ended.

`python worker_keeper.py FD COMMAND ...` runs COMMAND with the inherited descriptor FD and ends as
it does. It is ended by force when stdin, whose other end the learner has, is closed: also by a
`kill -9` of the learner, which can clean up nothing itself. Nothing is imported but the standard
library, so that this costs some megabytes and milliseconds.
"""

import contextlib
import ctypes
import os
import pathlib
import resource
import signal
import subprocess
import sys
import threading

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
_LINUX = sys.platform.startswith("linux")


def main(arguments: list[str]) -> None:
    descriptor, *command = arguments[1:]
    # Ctrl-C goes to the whole terminal, but what then happens is the learner's to decide.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if _LINUX:
        # Whatever the worker starts stays below this process, also what leaves its process group
        # and outlives its parent, as daemons do.
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)
    worker = subprocess.Popen(
        command, pass_fds=(int(descriptor),), stdin=subprocess.DEVNULL, start_new_session=True
    ).pid
    os.close(int(descriptor))  # Else the learner would not see that the worker has closed it.
    signal.signal(signal.SIGTERM, lambda *_: _kill(worker))
    if _LINUX:
        # The thread that asked for the environment may end before its process does.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    threading.Thread(target=_wait_for_learner, args=(worker,), daemon=True).start()
    pid, status = os.wait()
    while pid != worker:  # Orphans of the worker's.
        pid, status = os.wait()
    _end_others(worker)
    _end_as(os.waitstatus_to_exitcode(status))


def _wait_for_learner(worker: int) -> None:
    os.read(0, 1)
    _kill(worker)


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _end_others(worker: int) -> None:
    """Ends the worker's process group and, on Linux, all other descendants."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(worker, signal.SIGKILL)
    with contextlib.suppress(ChildProcessError):  # None is left.
        while True:
            for child in _children():
                _kill(child)
            os.wait()  # What the dead one leaves behind is now among the children.


def _children() -> list[int]:
    found = []
    for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # It has ended meanwhile.
            # After the name, which may hold anything: state, parent.
            parent = stat.read_bytes().rpartition(b")")[2].split()[1]
            if int(parent) == os.getpid():
                found.append(int(stat.parent.name))
    return found


def _end_as(code: int) -> None:
    """Ends with an exit code, or by a signal where it is negative."""
    if code < 0:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        with contextlib.suppress(OSError):  # SIGKILL's handler cannot be set.
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code)


if __name__ == "__main__":
    main(sys.argv)
