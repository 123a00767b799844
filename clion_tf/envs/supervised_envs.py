"""Environments that are started again when they fail, within limits."""

import collections
import contextlib
import dataclasses
import logging
import re
import time
from collections.abc import Callable
from typing import TypeVar

from clion_tf.envs.env_spec import EnvError, EpisodeFailed, WorkerError
from clion_tf.envs.remote_env import Ready, RemoteEnv

T = TypeVar("T")

_log = logging.getLogger(__name__)
HOUR = 3600.0  # seconds
LEAST_IN_A_ROW = 5
LONGEST_PAUSE = 5  # seconds, before workers that could not be started are started again
_VARYING = re.compile(r"0x[0-9a-f]+|\d+")  # numbers and addresses


@dataclasses.dataclass(eq=False)
class SupervisedEnvs(contextlib.AbstractContextManager["SupervisedEnvs"]):
    """Runs `count` environments side by side; when one fails, all are started again.

    Once an episode is given up, its failures no longer count towards `per_hour`. But more than
    max(per_hour, LEAST_IN_A_ROW) * count episodes given up in a row are too many.
    """

    start: Callable[[], RemoteEnv]  # starts one; called for each in order, again after a failure
    per_hour: int  # how many failures within an hour are tolerated
    count: int = 1
    same_way: int = 3  # failures in the same way after which an episode is given up; 0: never

    def __post_init__(self) -> None:
        self._failures: list[tuple[float, int | None]] = []
        self._in_a_row = 0  # episodes that failed, since the last that did not
        self._been_ready = False
        self._vain = 0  # failures in a row that were of no episode
        self.envs = [self.start() for _ in range(self.count)]

    def wait_ready(self) -> Ready:
        """Waits until all are made; what one of them is.

        Raises EnvError, but only WorkerError once they have been ready.
        """
        try:
            each = [env.wait_ready() for env in self.envs]
        except EnvError as error:
            if self._been_ready and not isinstance(error, WorkerError):
                raise WorkerError(str(error)) from error  # As it was fine before: try again.
            raise
        self._been_ready = True
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
                self.wait_ready()
                result = task(self.envs)
                self._in_a_row = self._vain = 0
                return result
            except WorkerError as error:
                on_failure()
                way = error.episode, _VARYING.sub("#", str(error))
                ways[way] += 1
                given_up = error.episode is not None and ways[way] == self.same_way
                if too_many := self._too_many(error.episode, given_up):
                    raise WorkerError(f"{too_many}, the last: {error}", error.raised) from error
                if not given_up:
                    _log.warning("environment failed, starting it again: %s", error)
                self.close()  # All, as others may be in the middle of a step.
                self._vain = 0 if error.episode is not None else self._vain + 1
                if self._vain > 1:  # What it needs may be away for some seconds.
                    time.sleep(min(self._vain - 1, LONGEST_PAUSE))
                self.envs = [self.start() for _ in self.envs]
                if given_up:
                    times = "once" if self.same_way == 1 else f"{self.same_way} times"
                    text = f"episode {error.episode} failed {times}: {error}"
                    raise EpisodeFailed(text, error.raised, error.episode) from error

    def _too_many(self, episode: int | None, given_up: bool) -> str:
        """Notes a failure, or forgets those of an episode given up; says why to stop, or ''."""
        if given_up:
            self._in_a_row += 1
            self._failures = [failure for failure in self._failures if failure[1] != episode]
            # Among many environments several episodes of a round may fail before one is done.
            if self._in_a_row > max(self.per_hour, LEAST_IN_A_ROW) * len(self.envs):
                return f"{self._in_a_row} episodes in a row failed"
        else:
            now = time.monotonic()
            recent = [failure for failure in self._failures if failure[0] > now - HOUR]
            self._failures = [*recent, (now, episode)]
            if len(self._failures) > self.per_hour:
                return f"{len(self._failures)} failures within an hour"
        return ""

    def close(self) -> None:
        """Ends the environments."""
        for env in self.envs:
            env.close()

    def __exit__(self, *args: object) -> None:
        self.close()
