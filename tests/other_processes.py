"""What is known of processes that are not ours to wait for. Linux only."""

import pathlib
import time


def is_running(pid):
    """Whether a process lives; one that is dead but not yet reaped does not."""
    try:
        status = pathlib.Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):  # Before it was opened, or after.
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


def ends_within(pid, seconds=20.0):
    """Whether it ends in that time."""
    deadline = time.monotonic() + seconds
    while is_running(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not is_running(pid)
