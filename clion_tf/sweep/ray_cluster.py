"""Ray: each attempt at a run is a task with its resources, on one machine or on many.

Retries are the schedule's (clion_tf.sweep.schedule), not Ray's, so that an attempt that fails and
one whose machine dies are counted and shown alike.
"""

import contextlib
import logging
import os
import socket
from collections.abc import Mapping, Sequence
from typing import Any

from clion_tf.command import Failure, UsageError
from clion_tf.sweep.attempt import STOPPED, Ended, Order, attempt
from clion_tf.sweep.run_progress import Standing
from clion_tf.sweep.schedule import Lost, Seen

OBJECT_STORE = 80 * 2**20  # Bytes, about Ray's least: nothing large travels.
CONNECT = 10.0  # Seconds to wait for a cluster's head.
ANSWER = 30.0  # Seconds to wait for the board.


class Board:
    """An actor to which attempts report, and which tells them to stop."""

    def __init__(self):
        self._seen: dict[int, Seen] = {}
        self._stop = False

    def report(self, number: int, seen: Seen) -> bool:
        """Notes where a run stands; answers whether to stop."""
        self._seen[number] = seen
        return self._stop

    def look(self, stop: bool) -> dict[int, Seen]:
        """The newest report of each run."""
        self._stop = stop
        return self._seen


def attempt_and_report(order: Order, number: int, board: Any) -> Ended:
    """The task: an attempt that reports to the board."""
    import ray

    node = f"{socket.gethostname()}/{ray.get_runtime_context().get_node_id()[:6]}"

    def report(now: Standing) -> bool:
        try:
            seen = Seen(order.number, node, now)
            return ray.get(board.report.remote(number, seen), timeout=ANSWER)
        except (ray.exceptions.GetTimeoutError, ray.exceptions.RayActorError):
            return False  # The run does not suffer for it.

    try:
        return attempt(order, report)
    except KeyboardInterrupt:  # Withdrawn just after it had begun.
        return STOPPED


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
        self._resources = {"num_cpus": cpus, "num_gpus": gpus}
        self._connect(address)
        here = self._ray.get_runtime_context().get_node_id()
        strategy = self._ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy
        # On this machine, so that it is lost only with the sweep itself.
        self._board = (
            self._ray.remote(Board)
            .options(
                num_cpus=0,
                max_restarts=-1,
                max_task_retries=-1,
                scheduling_strategy=strategy(here, soft=False),
            )
            .remote()
        )
        self._task = self._ray.remote(attempt_and_report).options(
            max_retries=0, scheduling_strategy="SPREAD", **self._resources
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
        except (ConnectionError, RuntimeError, ValueError, OSError, TimeoutError) as error:
            reason = " ".join(str(error).split())
            if address:
                hint = "if it has a token, set RAY_AUTH_MODE=token"
                text = f"--address={address}: cannot join a cluster there ({reason}); {hint}"
                raise UsageError(text) from error
            raise Failure(f"Ray does not start here: {reason}") from error

    def lacking(self) -> str:
        """What an attempt needs and no machine has; "" if one has it all."""
        machines = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
        wanted = {"CPU": self._resources["num_cpus"], "GPU": self._resources["num_gpus"]}
        if any(all(m.get(k, 0) >= n for k, n in wanted.items()) for m in machines):
            return ""
        most = {k: max((m.get(k, 0) for m in machines), default=0) for k in wanted}
        return ", ".join(f"{n:g} {k} (at most {most[k]:g} there)" for k, n in wanted.items() if n)

    def submit(self, number: int, order: Order) -> Any:
        """See `schedule.Cluster`."""
        return self._task.remote(order, number, self._board)

    def wait(self, tickets: Sequence[Any], seconds: float) -> list[Any]:
        """See `schedule.Cluster`."""
        return self._ray.wait(tickets, num_returns=len(tickets), timeout=seconds)[0]

    def result(self, ticket: Any) -> Ended | Lost:
        """See `schedule.Cluster`."""
        try:
            return self._ray.get(ticket)
        except self._ray.exceptions.TaskCancelledError:
            return STOPPED
        except self._ray.exceptions.RayError as error:
            return Lost(_first_line(error))

    def look(self, stop: bool) -> Mapping[int, Seen]:
        """See `schedule.Cluster`."""
        try:
            return self._ray.get(self._board.look.remote(stop), timeout=ANSWER)
        except (self._ray.exceptions.GetTimeoutError, self._ray.exceptions.RayActorError):
            return {}

    def withdraw(self, ticket: Any) -> None:
        """See `schedule.Cluster`."""
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
        import ray.util.scheduling_strategies
    except ImportError as error:
        raise UsageError(f"{error}; pip install 'clion_tf[sweep]'") from error
    return ray


def _first_line(error: Exception) -> str:
    """Ray explains at length; an error in the task itself comes with its cause."""
    cause = getattr(error, "cause", None) or error
    lines = (line.strip() for line in str(cause).splitlines())
    return f"{type(cause).__name__}: {next(filter(None, lines), '')}"
