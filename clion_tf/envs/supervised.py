"""An environment that is started again when it fails, a limited number of times an hour."""

import collections
import logging
import time
from collections.abc import Callable
from typing import TypeVar

from clion_tf.envs.remote import RemoteEnv
from clion_tf.envs.spec import WorkerError

T = TypeVar("T")

_log = logging.getLogger(__name__)

HOUR = 3600.0  # seconds


class SupervisedEnv:
    """Keeps one environment alive.

    start: makes the environment, at the beginning and again after each failure.
    per_hour: failures within an hour that are forgiven.
    clock: seconds that never go backwards.
    """

    def __init__(
        self,
        start: Callable[[], RemoteEnv],
        per_hour: int,
        clock: Callable[[], float] = time.monotonic,
    ):
        self._start, self._per_hour, self._clock = start, per_hour, clock
        self._failures: collections.deque[float] = collections.deque()
        self.env = start()

    def attempt(self, task: Callable[[RemoteEnv], T], on_failure: Callable[[], None]) -> T:
        """The result of `task(env)`, tried again from its beginning when the environment fails.

        What a failed attempt did is the task's to drop. Calls `on_failure` at each failure.

        Raises:
          WorkerError: of the failure that was one too many within an hour, naming its cause.
        """
        while True:
            try:
                return task(self.env)
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
        self.env.close()
        self.env = self._start()

    def close(self) -> None:
        """Ends the environment."""
        self.env.close()

    def __enter__(self) -> "SupervisedEnv":
        return self

    def __exit__(self, *args) -> None:
        self.close()
