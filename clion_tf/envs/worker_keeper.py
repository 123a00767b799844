"""Starts an environment's worker, and ends all that the worker started when it has ended.

`python worker_keeper.py FD COMMAND ...` runs COMMAND, the worker, with the inherited descriptor FD.
It exits with COMMAND's exit code, or 128 plus the number of the signal that ended COMMAND. It
kills COMMAND when stdin closes: the learner has the other end, so even `kill -9` of the learner
closes it. Only the standard library is imported, which costs a few megabytes.
"""

import contextlib
import ctypes
import os
import pathlib
import signal
import subprocess
import sys
import threading

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
_LINUX = sys.platform.startswith("linux")


def main(arguments: list[str]) -> None:
    descriptor, *command = arguments[1:]
    # Ctrl-C goes to the whole terminal, but what then happens is the learner's to decide. What is
    # started here ignores it too.
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
    pid = 0
    while pid != worker:  # Others are orphans of the worker's.
        pid, status = os.wait()
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(worker, signal.SIGKILL)
    with contextlib.suppress(ChildProcessError):  # None is left.
        while True:
            _kill_children()
            os.wait()  # What the dead one leaves behind is now among the children.
    code = os.waitstatus_to_exitcode(status)
    os._exit(code if code >= 0 else 128 - code)


def _wait_for_learner(worker: int) -> None:
    os.read(0, 1)
    _kill(worker)


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _kill_children() -> None:
    for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # It has ended meanwhile.
            # After the name, which may hold anything: state, parent.
            parent = stat.read_bytes().rpartition(b")")[2].split()[1]
            if int(parent) == os.getpid():
                _kill(int(stat.parent.name))


if __name__ == "__main__":
    main(sys.argv)
