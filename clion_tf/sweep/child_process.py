"""`python -m clion_tf.sweep.child_process PARENT WORD...`: becomes a run that dies with its parent.

The parent is a worker of Ray. When it is killed, or its machine's Ray ends, the run must end too,
or a second copy, started elsewhere, would find the logdir in use.
"""

import ctypes
import os
import signal
import sys
from collections.abc import Sequence

_PR_SET_PDEATHSIG = 1


def command(words: Sequence[str]) -> list[str]:
    """A command that makes a run which dies with the thread that starts it."""
    return [sys.executable, "-m", "clion_tf.sweep.child_process", str(os.getpid()), *words]


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
