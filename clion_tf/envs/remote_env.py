"""Environments in processes of their own, seen from the learner, and started again if they fail."""

import collections
import contextlib
import dataclasses
import logging
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any, NamedTuple, TypeVar

import gymnasium
import numpy as np

from clion_tf.envs.env_spec import EnvError, EnvSpec, EpisodeFailed, Observation, Step, WorkerError
from clion_tf.files import python_path

T = TypeVar("T")

_log = logging.getLogger(__name__)
_START = 60.0  # seconds at least for what comes before the environment's own code
_GRACE = 3.0  # seconds that a worker gets to end by itself
HOUR = 3600.0  # seconds
LEAST_IN_A_ROW = 5
LONGEST_PAUSE = 5  # seconds, before workers that could not be started are started again
_VARYING = re.compile(r"0x[0-9a-f]+|\d+")  # numbers and addresses
_KEEPER = pathlib.Path(__file__).with_name("worker_keeper.py")


class Ready(NamedTuple):
    """What a worker tells once."""

    action_space: gymnasium.Space
    observation_space: gymnasium.spaces.Dict
    renderer: str  # such as 'llvmpipe …' (software); '' where the environment does not say
    description: dict[str, Any]  # see `make_env.describe`


@dataclasses.dataclass(eq=False)
class RemoteEnv(contextlib.AbstractContextManager["RemoteEnv"]):
    """Starts a worker and asks it; several can work at once by way of `send` and `receive`.

    The constructor returns at once; the first use, or `wait_ready`, waits. An episode is a pure
    function of spec.seed, spec.stream and its number. With a worker end all processes of its
    environment, on Linux also with the thread that constructed this.

    Every method may raise WorkerError (died, hung, or the environment raised something),
    PromiseError, UnknownTaskError, or EnvError (a call or an action that makes no sense). After a
    death or a hang the worker is gone; else the next `reset` goes on.
    """

    spec: EnvSpec
    timeout: float = 120.0  # seconds for which an answer is awaited
    remark: Callable[[str], None] = _log.warning  # told, in a line, what is odd and does no harm

    action_space = property(lambda self: self.wait_ready().action_space)
    observation_space = property(lambda self: self.wait_ready().observation_space)
    renderer = property(lambda self: self.wait_ready().renderer)
    description = property(lambda self: self.wait_ready().description)

    def __post_init__(self) -> None:
        self.pid: int | None = None  # of the worker, once it has started
        self._ready: Ready | None = None
        self._awaited = ""  # the command whose answer is under way
        self._episode: int | None = None  # that was last asked for
        here, there = socket.socketpair()
        # A fresh interpreter, as multiprocessing's would import the main module, and between it
        # and us its keeper, the process that we see.
        descriptor = str(there.fileno())
        keeper = [sys.executable, "-I", "-S", str(_KEEPER), descriptor]
        with there:
            self._process = subprocess.Popen(
                [*keeper, sys.executable, "-m", "clion_tf.envs.worker", descriptor],
                pass_fds=(there.fileno(),),
                stdin=subprocess.PIPE,  # Its end is how the keeper learns of ours.
                env={**os.environ, "PYTHONPATH": python_path()},
                start_new_session=True,  # Out of reach of the terminal's Ctrl-C from the beginning.
            )
        self._connection = Connection(here.detach())
        self._write(self.spec)

    def wait_ready(self) -> Ready:
        """Wait until the environment is made."""
        if self._ready is None:
            try:
                if self.pid is None:
                    self.pid = self._read("start", max(self.timeout, _START))
                self._ready = self._read("construction", self.timeout)
            except EnvError:
                self.close()  # there is no environment to go on with
                raise
        return self._ready

    def reset(self, episode: int) -> Observation:
        """Start the episode of that number; returns its first observation, see `make_env.make`."""
        return self.ask("reset", episode)

    def step(self, action: np.ndarray | int) -> Step:
        """One agent step. action: float32 [actions] in [-1, 1] and finite, or an index.

        Returns observation, reward, whether the task has terminated, whether the episode was cut,
        and a dict of 'steps' (control steps).
        """
        return self.ask("step", action)

    def ask(self, command: str, argument: Any = None) -> Any:
        """What the worker answers to a command, one of `worker.Session`'s."""
        self.send(command, argument)
        return self.receive()

    def send(self, command: str, argument: Any = None) -> None:
        """Ask and go on; `receive` gives the answer, before the next command."""
        self.wait_ready()
        if self._awaited:
            raise EnvError(f"the answer to {self._awaited} has not been received yet")
        if command == "reset":
            self._episode = argument
        self._write((command, argument))
        self._awaited = command

    def receive(self) -> Any:
        """The answer to what was sent."""
        return self._read(self._awaited, self.timeout)

    def close(self) -> None:
        """End the worker and all that it started, by force if need be; may be called again."""
        self._awaited = ""
        self._connection.close()  # the worker's signal to end
        for stop in (self._process.terminate, self._process.kill):
            try:
                self._process.wait(_GRACE)
                break
            except subprocess.TimeoutExpired:
                stop()
        self._process.communicate()  # Closes its stdin too.

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _write(self, message: Any) -> None:
        try:
            self._connection.send(message)
        except OSError as error:
            raise self._death() from error

    def _read(self, command: str, timeout: float) -> Any:
        try:
            if not self._connection.poll(timeout):
                self._process.terminate()  # the keeper; the worker would not listen to less
                self.close()
                text = f"hung: no answer to {command} for {timeout:g} s"
                raise WorkerError(f"environment {self.spec.task} {text}", episode=self._episode)
            answer, remarks = self._connection.recv()
        except (EOFError, OSError) as error:
            raise self._death() from error
        # Only now: after an interrupt while waiting, the answer is still to come, and must not
        # be taken for that to a later command.
        self._awaited = ""
        for text in remarks:
            self.remark(text)
        if isinstance(answer, WorkerError):
            answer.episode = self._episode
        if isinstance(answer, EnvError):
            raise answer
        return answer

    def _death(self) -> WorkerError:
        how = "is closed"
        if not self._connection.closed:
            self.close()
            code = self._process.returncode
            number = -code if code < 0 else code - 128  # The keeper's own, or the worker's.
            names = {one.value: f"signal {one.name}" for one in signal.Signals}
            how = f"died with {names.get(number, f'exit code {code}')}"
        text = f"the worker of environment {self.spec.task} {how}"
        return WorkerError(text, episode=self._episode)


@dataclasses.dataclass(eq=False)
class SupervisedEnvs(contextlib.AbstractContextManager["SupervisedEnvs"]):
    """Keeps `count` environments, that are used together, alive.

    Failures of an episode that is given up count no more towards `per_hour`; but more than
    `per_hour` (at least LEAST_IN_A_ROW) such episodes in a row are too many.
    """

    start: Callable[[], RemoteEnv]  # makes one; called for each in order, and again after a failure
    per_hour: int  # failures within an hour that are forgiven
    count: int = 1
    same_way: int = 3  # failures of one episode in the same way that are an EpisodeFailed; 0: never

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
                    raise WorkerError(f"{too_many}, the last: {error}", error.details) from error
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
                    raise EpisodeFailed(text, error.details, error.episode) from error

    def _too_many(self, episode: int | None, given_up: bool) -> str:
        """Notes a failure, or forgets those of an episode that is given up; '' to go on."""
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
