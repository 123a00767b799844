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
from clion_tf.sweep.attempt import Ended, Order, attempt

OBJECT_STORE = 80 * 2**20  # Bytes, about Ray's least: nothing large travels.
CONNECT = 10.0  # Seconds to wait for a cluster's head.
CANCELLED = Ended(FAILED, "cancelled")


def attempt_there(order: Order) -> Ended:
    """The task: an attempt on the machine that Ray has chosen."""
    import ray

    node = f"{socket.gethostname()}/{ray.get_runtime_context().get_node_id()[:6]}"
    # Ray cancels by an interrupt, which a cluster that was started in the background would ignore.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return attempt(order, node)
    except KeyboardInterrupt:
        return CANCELLED


class RayCluster:
    """A running cluster, or a Ray of this machine that ends with this object.

    Args:
      address: "" starts a local Ray; `auto` is the cluster that this machine is part of.
      cpus, gpus: that each attempt takes.

    Raises:
      UsageError: if there is no Ray or no such cluster.
      Failure: if a local Ray does not start.
    """

    def __init__(self, address: str, cpus: float, gpus: float):
        self._ray = _import()
        self._wanted = {"CPU": cpus, "GPU": gpus}
        self._connect(address)
        self._task = self._ray.remote(attempt_there).options(
            num_cpus=cpus, num_gpus=gpus, max_retries=0, scheduling_strategy="SPREAD"
        )

    def _connect(self, address: str) -> None:
        _check_address(address)
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        # Runs without a GPU are told so by clion_tf.sweep.attempt.
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        local = {"include_dashboard": False, "object_store_memory": OBJECT_STORE}
        try:
            self._ray.init(
                address=address or "local",
                log_to_driver=False,
                logging_level=logging.ERROR,
                **({} if address else local),
            )
        except Exception as error:  # Among them bare ones, when Ray's own processes do not start.
            reason = " ".join(str(error).split())
            if address:
                hint = "if it has a token, set RAY_AUTH_MODE=token"
                text = f"--address={address}: cannot join a cluster there ({reason}); {hint}"
                raise UsageError(text) from error
            raise Failure(f"Ray does not start here: {reason}") from error

    def lacking(self) -> str:
        """What an attempt needs and no machine has; "" if one has it all."""
        machines = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
        wanted = self._wanted.items()
        if any(all(m.get(k, 0) >= n for k, n in wanted) for m in machines):
            return ""
        most = {k: max((m.get(k, 0) for m in machines), default=0) for k in self._wanted}
        return ", ".join(f"{n:g} {k} (at most {most[k]:g} there)" for k, n in wanted if n)

    def submit(self, order: Order) -> Any:
        """Queues an attempt; returns its ticket."""
        return self._task.remote(order)

    def wait(self, tickets: Sequence[Any], seconds: float) -> list[Any]:
        """Tickets of attempts that have ended, after at most so long."""
        if not tickets:
            time.sleep(seconds)
            return []
        return self._ray.wait(tickets, num_returns=len(tickets), timeout=seconds)[0]

    def result(self, ticket: Any) -> Ended:
        """How one ended; a machine that is lost is a failure."""
        try:
            return self._ray.get(ticket)
        except self._ray.exceptions.TaskCancelledError:
            return CANCELLED
        except self._ray.exceptions.RayError as error:
            return Ended(FAILED, _first_line(error))

    def cancel(self, ticket: Any) -> None:
        """Takes back an attempt that has not begun; has one that goes on end its run by SIGTERM."""
        self._ray.cancel(ticket)

    def close(self) -> None:
        """Leaves the cluster; attempts that go on are ended, and a local Ray with them."""
        with contextlib.suppress(Exception):
            self._ray.shutdown()


def _check_address(address: str) -> None:
    """Ray itself would wait for minutes where nothing answers."""
    host, colon, port = address.rpartition(":")
    if "//" in address:
        raise UsageError(
            f"--address={address}: start the sweep on a machine of the cluster, with --address=auto"
        )
    if not address or (address == "auto" and not colon):
        return
    if not colon or not port.isdecimal():
        raise UsageError(f"--address={address}: auto, or HOST:PORT of a running Ray")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT).close()
    except (OSError, OverflowError) as error:
        raise UsageError(f"--address={address}: no such cluster ({error})") from error


def _import() -> Any:
    try:
        import ray
    except ImportError as error:
        raise UsageError(f"{error}; pip install 'clion_tf[sweep]'") from error
    return ray


def _first_line(error: Exception) -> str:
    """Ray explains at length; an error in the task itself comes with its cause."""
    cause = getattr(error, "cause", None) or error
    lines = (line.strip() for line in str(cause).splitlines())
    return f"{type(cause).__name__}: {next(filter(None, lines), '')}"
