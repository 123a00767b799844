"""The process in which an environment lives: `python -m clion_tf.envs.worker FD`.

TensorFlow and Mesa's software renderer crash in one process, so nothing here imports TensorFlow. FD
is an inherited socket for pickles. In: an EnvSpec, then pairs (command, argument). Out: pairs
(answer, remarks); first this process's id, then Ready or an error. They contain our types, plain
data, arrays and Gymnasium's spaces: the learner must not load the environment's classes.
"""

import contextlib
import ctypes
import os
import pathlib
import signal
import sys
import sysconfig
import traceback
from multiprocessing.connection import Connection
from typing import Any

import gymnasium
import numpy as np

from clion_tf.envs import env_checker, make_env, step_checks
from clion_tf.envs.env_spec import EnvError, EnvSpec, Observation, PromiseError, Step, WorkerError
from clion_tf.envs.remote_env import Ready

_PR_SET_PDEATHSIG = 1
_LONGEST = 300  # characters of an environment's own error message
# Of Gymnasium its environments are like the user's; its core and wrappers lie around them.
_GYMNASIUM = pathlib.Path(gymnasium.__file__).resolve().parent
_AROUND = [pathlib.Path(__file__).resolve().parent, _GYMNASIUM / "core.py", _GYMNASIUM / "wrappers"]
_LIBRARIES = [
    pathlib.Path(sysconfig.get_path(name)).resolve()
    for name in ("stdlib", "platstdlib", "purelib", "platlib")
]


class Session:
    """An environment and its commands: reset, step, check and close."""

    def __init__(self, spec: EnvSpec):
        self._spec, self._env = spec, make_env.make(spec)
        self.closed = self._running = False
        self._told = 0  # how many remarks

    def ready(self) -> Ready:
        """What the environment is, and by what it renders."""
        # Asking for the renderer makes the OpenGL context, so that a machine that cannot render
        # says so now, not in the first episode; where nothing is rendered it needs none.
        space: Any = self._env.observation_space
        seen = not {"image", "picture"}.isdisjoint(space)
        said = getattr(self._env.unwrapped, "renderer", "") if seen else ""
        # An environment may have something else of that name.
        renderer = " ".join(said.split()) if isinstance(said, str) else ""
        return Ready(self._env.action_space, space, renderer, make_env.describe(self._env))

    def answer(self, command: str, argument: Any = None) -> tuple[Any, list[str]]:
        """What a command returns, or its error, and what was odd and does no harm."""
        try:
            result = getattr(self, command)(argument)
        except BaseException as error:  # `sys.exit` is no way for an environment to end.
            result = failure(error, self._spec, command)
        remarks = [*self._env.get_wrapper_attr("remarks").values()]
        new, self._told = remarks[self._told :], len(remarks)
        return result, [f"environment {self._spec.task}: {command}() {text}" for text in new]

    def reset(self, episode: int) -> Observation:
        self._running = False
        observation, _ = self._env.reset(seed=make_env.episode_seed(self._spec, episode))
        self._running = True
        return observation

    def step(self, action: Any) -> Step:
        if not self._running:
            raise EnvError("no episode is running: reset the environment before a step")
        space = self._env.action_space
        discrete = isinstance(space, gymnasium.spaces.Discrete)
        action = action if discrete else np.asarray(action, np.float32)
        # A simulator takes NaN and gives back nonsense, far from its cause.
        if not space.contains(action):
            raise EnvError(f"an action lies in {space}, not {action!r}")
        self._running = False  # stays so if the environment fails half-way
        result: Any = self._env.step(int(action) if discrete else action)
        self._running = not (result[2] or result[3])
        return result

    def check(self, argument: None = None) -> list[env_checker.Check]:
        return env_checker.by_gymnasium(self._env)

    def close(self, argument: None = None) -> None:
        self._running, self.closed = False, True
        self._env.close()


def serve(connection: Connection) -> None:
    """Make the environment and answer until the other end closes, with EOFError or OSError."""
    spec = connection.recv()
    connection.send((os.getpid(), []))
    try:
        session = Session(spec)
        connection.send((session.ready(), []))
    except BaseException as error:
        connection.send((failure(error, spec, "construction"), []))
        return
    try:
        while True:
            connection.send(session.answer(*connection.recv()))
    finally:
        if not session.closed:  # The learner is gone, and nobody is there to tell.
            failed, _ = session.answer("close")
            if failed is not None:
                sys.stderr.write(f"{failed}\n")


def failure(error: BaseException, spec: EnvSpec, doing: str) -> EnvError:
    """The error as one of ours: the learner may lack its class, or be unable to unpickle it."""
    if isinstance(error, PromiseError):
        method = "" if error.promise == step_checks.RENDERS else f"{doing}() "
        return PromiseError(f"environment {spec.task}: {method}{error}", error.promise)
    if isinstance(error, EnvError):
        kinds = type(error).__mro__  # The first may be of the environment's own module.
        ours = next(kind for kind in kinds if kind.__module__ == EnvError.__module__)
        return ours(" ".join(str(error).split()))
    try:
        cause = " ".join(f"{type(error).__name__}: {error}".split())
    except Exception:  # Whose text fails.
        cause = type(error).__name__
    cause = cause if len(cause) <= _LONGEST else f"{cause[:_LONGEST]}…"
    if where := _place(error):
        cause = f"{cause} ({where})"
    return WorkerError(f"environment {spec.task} failed in {doing}: {cause}", raised=True)


def _place(error: BaseException) -> str:
    """Where in the user's own code an error came from, such as 'File "a.py", line 3, in step'."""
    if isinstance(error, SyntaxError) and error.filename:
        return f'File "{error.filename}", line {error.lineno}'
    every = traceback.extract_tb(error.__traceback__)
    frames = [one for one in every if one.filename[:1] != "<" and not _within(one, _AROUND)]
    # The innermost that is no library's; else the environment itself is one's.
    own = [one for one in frames if not _within(one, _LIBRARIES)]
    for frame in own[-1:] or frames[:1]:
        return f'File "{frame.filename}", line {frame.lineno}, in {frame.name}'
    return ""


def _within(frame: traceback.FrameSummary, folders: list[pathlib.Path]) -> bool:
    file = pathlib.Path(frame.filename).resolve()
    return any(file.is_relative_to(folder) for folder in folders)


def main(arguments: list[str]) -> None:
    if sys.platform.startswith("linux"):  # End with the parent, even while a simulator hangs.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    descriptor = int(arguments[1])
    os.set_inheritable(descriptor, False)  # what the environment starts shall not keep it open
    # The learner closes the connection, or dies: the usual ways to end.
    with contextlib.suppress(EOFError, OSError):
        serve(Connection(descriptor))


if __name__ == "__main__":
    main(sys.argv)
