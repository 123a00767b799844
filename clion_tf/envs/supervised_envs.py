"""Environments that are started again when one fails, a limited number of times an hour."""

import collections
import logging
import re
import time
from collections.abc import Callable
from typing import TypeVar

from clion_tf.envs.env_spec import EpisodeFailed, WorkerError
from clion_tf.envs.remote_env import Ready, RemoteEnv

T = TypeVar("T")

_log = logging.getLogger(__name__)

HOUR = 3600.0  # seconds
LEAST_IN_A_ROW = 5
_VARYING = re.compile(r"0x[0-9a-f]+|\d+")  # numbers and addresses


class SupervisedEnvs:
    """Keeps `count` environments alive that are used together.

    start: makes one; called for each at the beginning, in order, and for each again after a
      failure, as the others may be in the middle of a step.
    per_hour: failures within an hour that are forgiven.
    same_way: failures of one episode in the same way that make an EpisodeFailed; 0: never. They
      count no more towards `per_hour`; but after more than `per_hour` (at least LEAST_IN_A_ROW)
      failed episodes in a row the environment itself counts as broken.
    """

    def __init__(
        self,
        start: Callable[[], RemoteEnv],
        per_hour: int,
        clock: Callable[[], float] = time.monotonic,
        count: int = 1,
        same_way: int = 3,
    ):
        self._start, self._per_hour, self._clock = start, per_hour, clock
        self._same_way = same_way
        self._failures: list[tuple[float, int | None]] = []
        self._in_a_row = 0  # episodes that failed, since the last that did not
        self.envs = [start() for _ in range(count)]

    def wait_ready(self) -> Ready:
        """Waits until all are made; what one of them is."""
        each = [env.wait_ready() for env in self.envs]
        return each[0]

    def attempt(self, task: Callable[[list[RemoteEnv]], T], on_failure: Callable[[], None]) -> T:
        """The result of `task(envs)`, tried again from its beginning when an environment fails.

        What a failed attempt did is the task's to drop. Calls `on_failure` at each failure.
        Raises EpisodeFailed for an episode that fails in the same way each time (others may be
        tried), WorkerError for the failure that was one too many, naming its cause.
        """
        ways: collections.Counter[tuple[int | None, str]] = collections.Counter()
        while True:
            try:
                result = task(self.envs)
                self._in_a_row = 0
                return result
            except WorkerError as error:
                on_failure()
                way = error.episode, _VARYING.sub("#", str(error))
                ways[way] += 1
                given_up = error.episode is not None and ways[way] == self._same_way
                if too_many := self._too_many(error.episode, given_up):
                    raise WorkerError(f"{too_many}, the last: {error}", error.details) from error
                if not given_up:
                    _log.warning("environment failed, starting it again: %s", error)
                self.close()
                self.envs = [self._start() for _ in self.envs]
                if given_up:
                    times = "once" if self._same_way == 1 else f"{self._same_way} times"
                    text = f"episode {error.episode} failed {times}: {error}"
                    raise EpisodeFailed(text, error.details, error.episode) from error

    def _too_many(self, episode: int | None, given_up: bool) -> str:
        """Notes a failure, or forgets those of an episode that is given up; '' to go on."""
        if given_up:
            self._in_a_row += 1
            self._failures = [failure for failure in self._failures if failure[1] != episode]
            if self._in_a_row > max(self._per_hour, LEAST_IN_A_ROW):
                return f"{self._in_a_row} episodes in a row failed"
        else:
            now = self._clock()
            recent = [failure for failure in self._failures if failure[0] > now - HOUR]
            self._failures = [*recent, (now, episode)]
            if len(self._failures) > self._per_hour:
                return f"{len(self._failures)} failures within an hour"
        return ""

    def close(self) -> None:
        """Ends the environments."""
        for env in self.envs:
            env.close()

    def __enter__(self) -> "SupervisedEnvs":
        return self

    def __exit__(self, *args: object) -> None:
        self.close()
