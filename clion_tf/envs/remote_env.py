"""An environment in a process of its own, seen from the learner."""

import contextlib
import dataclasses
import logging
import os
import pathlib
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

import gymnasium
import numpy as np

from clion_tf.envs.env_spec import EnvError, EnvSpec, Observation, Step, WorkerError
from clion_tf.files import python_path

_log = logging.getLogger(__name__)
_START = 60.0  # seconds at least for what comes before the environment's own code
GRACE = 3.0  # seconds that a worker gets to end by itself
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
    function of spec.seed, spec.stream and its number. When the worker ends, all processes of its
    environment end. On Linux the worker ends with the thread that called the constructor.

    Every method may raise WorkerError (died, hung, or the environment raised something),
    PromiseError, UnknownTaskError, or EnvError (a call or an action that makes no sense). After a
    death or a hang the worker is gone; else the next `reset` can be called.
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
                self.close()  # there is no environment to continue with
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
        """Asks and does not wait; `receive` gives the answer, before the next command."""
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
                self._process.wait(GRACE)
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
