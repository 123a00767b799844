"""Ray: each attempt at a run is a task with its resources, on one machine or on many."""

import contextlib
import logging
import os
import signal
import socket
import time
from collections.abc import Sequence
from typing import Any

from clion_tf.command import Failure, UsageError
from clion_tf.console import FAILED
from clion_tf.sweep.attempt import Ended, Resources, attempt
from clion_tf.sweep.sweep_plan import PlannedRun

# Of a Ray of this machine; the store's bytes are about Ray's least, as nothing large travels.
LOCAL = {"include_dashboard": False, "object_store_memory": 80 * 2**20}
CONNECT = 10.0  # Seconds to wait for a cluster's head.


def attempt_there(run: PlannedRun, number: int, given: Resources) -> Ended:
    """The task: an attempt on the machine that Ray has chosen."""
    import ray

    node = f"{socket.gethostname()}/{ray.get_runtime_context().get_node_id()[:6]}"
    # Ray cancels by an interrupt, which a cluster that was started in the background would ignore.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    return attempt(run, number, given, node)


class RayCluster:
    """A running cluster, or a Ray of this machine that ends with this object.

    Args:
      address: "" starts a local Ray; `auto` is the cluster that this machine is part of.
      given: to each attempt.

    Raises:
      UsageError: if there is no Ray, or no such cluster. Failure: if a local Ray does not start.
    """

    def __init__(self, address: str, given: Resources):
        try:
            import ray
        except ImportError as error:
            raise UsageError(f"{error}; pip install 'clion_tf[sweep]'") from error
        self._ray, self._given = ray, given
        _check_address(address)
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        # Runs without a GPU are told so by clion_tf.sweep.attempt.
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        options = {"log_to_driver": False, "logging_level": logging.ERROR}
        try:
            ray.init(address or "local", **options, **({} if address else LOCAL))
        except Exception as error:  # Among them bare ones, when Ray's own processes do not start.
            reason = " ".join(str(error).split())
            if not address:
                raise Failure(f"Ray does not start here: {reason}") from error
            hint = "if it has a token, set RAY_AUTH_MODE=token"
            text = f"--address={address}: cannot join a cluster there ({reason}); {hint}"
            raise UsageError(text) from error
        options = {"num_cpus": given.cpus, "num_gpus": given.gpus, "max_retries": 0}
        self._task = ray.remote(attempt_there).options(**options, scheduling_strategy="SPREAD")

    def require_room(self) -> None:
        """Raises UsageError if no machine has what an attempt needs."""
        wanted = {"CPU": self._given.cpus, "GPU": self._given.gpus}
        machines = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
        if any(all(m.get(k, 0) >= n for k, n in wanted.items()) for m in machines):
            return
        most = {k: max((m.get(k, 0) for m in machines), default=0) for k in wanted}
        lacking = [f"{n:g} {k} (at most {most[k]:g} there)" for k, n in wanted.items() if n]
        text = "no machine has what a run is to get"
        raise UsageError(f"--cpus, --gpus: {text}: {', '.join(lacking)}")

    def submit(self, run: PlannedRun, number: int) -> Any:
        """Queues an attempt; returns its ticket."""
        return self._task.remote(run, number, self._given)

    def wait(self, tickets: Sequence[Any], seconds: float) -> list[Any]:
        """Tickets of attempts that have ended, after at most so long."""
        if not tickets:
            time.sleep(seconds)
            return []
        return self._ray.wait(tickets, num_returns=len(tickets), timeout=seconds)[0]

    def result(self, ticket: Any) -> Ended:
        """How one ended; one that was cancelled, or whose machine is lost, has failed."""
        try:
            return self._ray.get(ticket)
        except self._ray.exceptions.RayError as error:
            # Ray explains at length; an error in the task itself comes with its cause.
            cause = getattr(error, "cause", None) or error
            lines = (line.strip() for line in str(cause).splitlines())
            return Ended(FAILED, f"{type(cause).__name__}: {next(filter(None, lines), '')}")

    def cancel(self, ticket: Any) -> None:
        """Takes back an attempt that waits; one that goes on is interrupted."""
        self._ray.cancel(ticket)

    def close(self) -> None:
        """Leaves the cluster; attempts are ended, and a local Ray with them."""
        with contextlib.suppress(Exception):
            self._ray.shutdown()


def _check_address(address: str) -> None:
    """Ray itself would wait for minutes where nothing answers."""
    if address in ("", "auto"):
        return
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT).close()
    except (ValueError, OSError, OverflowError) as error:
        text = "auto, on a machine of the cluster, or HOST:PORT of a running Ray"
        raise UsageError(f"--address={address}: no such cluster ({error}); {text}") from error
