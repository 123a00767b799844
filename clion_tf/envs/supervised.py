"""Environments that are started again when one fails, a limited number of times an hour."""

import collections
import logging
import time
from collections.abc import Callable
from typing import TypeVar

from clion_tf.envs.remote import Ready, RemoteEnv
from clion_tf.envs.spec import WorkerError

T = TypeVar("T")

_log = logging.getLogger(__name__)

HOUR = 3600.0  # seconds


class SupervisedEnvs:
    """Keeps environments alive that are used together.

    start: makes one; called for each at the beginning, and for each again after a failure, as the
      others may be in the middle of a step.
    per_hour: failures within an hour that are forgiven.
    clock: seconds that never go backwards.
    count: how many environments.
    """

    def __init__(
        self,
        start: Callable[[], RemoteEnv],
        per_hour: int,
        clock: Callable[[], float] = time.monotonic,
        count: int = 1,
    ):
        self._start, self._per_hour, self._clock, self._count = start, per_hour, clock, count
        self._failures: collections.deque[float] = collections.deque()
        self.envs = self._started()

    def _started(self) -> list[RemoteEnv]:
        return [self._start() for _ in range(self._count)]

    def wait_ready(self) -> Ready:
        """Waits until all are made; what one of them is."""
        each = [env.wait_ready() for env in self.envs]
        return each[0]

    def attempt(self, task: Callable[[list[RemoteEnv]], T], on_failure: Callable[[], None]) -> T:
        """The result of `task(envs)`, tried again from its beginning when an environment fails.

        What a failed attempt did is the task's to drop. Calls `on_failure` at each failure.

        Raises:
          WorkerError: of the failure that was one too many within an hour, naming its cause.
        """
        while True:
            try:
                return task(self.envs)
            except WorkerError as error:
                on_failure()
                self._restart(error)

    def _restart(self, error: WorkerError) -> None:
        now = self._clock()
        self._failures.append(now)
        while self._failures[0] <= now - HOUR:
            self._failures.popleft()
        if len(self._failures) > self._per_hour:
            count = len(self._failures)
            raise WorkerError(f"{count} failures within an hour, the last: {error}", error.details)
        _log.warning("environment failed, starting it again: %s", error)
        self.close()
        self.envs = self._started()

    def close(self) -> None:
        """Ends the environments."""
        for env in self.envs:
            env.close()

    def __enter__(self) -> "SupervisedEnvs":
        return self

    def __exit__(self, *args) -> None:
        self.close()
