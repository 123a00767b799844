"""The process in which an environment lives: `python -m clion_tf.envs.worker FD`.

TensorFlow and Mesa's software renderer crash in one process, so an environment gets its own and
nothing imported here may import TensorFlow. FD is an inherited socket over which pickled tuples
travel: in come an EnvSpec and then ('reset', episode), ('step', action) or ('close', None); out go
('result', …, remarks) for each of them, first of all for this process's id, or ('error', type,
its arguments …, remarks). Only numbers, text, plain arrays and Gymnasium's spaces go out: the
learner must load nothing of the environment's, beside TensorFlow. No class of this module travels,
as here it is called __main__.
"""

import ctypes
import os
import pathlib
import signal
import sys
import sysconfig
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

import gymnasium
import numpy as np

from clion_tf.envs import make_env, step_checks, task_description
from clion_tf.envs.env_spec import EnvError, EnvSpec, PromiseError, RenderingError, UnknownTaskError

_PR_SET_PDEATHSIG = 1
_LONGEST = 300  # characters of an environment's own error message
_OURS = pathlib.Path(__file__).resolve().parent
# Of Gymnasium its environments are like the user's; these are what lies around them.
_GYMNASIUM = {
    pathlib.Path(gymnasium.__file__).resolve().parent / name for name in ("core.py", "wrappers")
}
_LIBRARIES = {
    pathlib.Path(sysconfig.get_path(name)).resolve()
    for name in ("stdlib", "platstdlib", "purelib", "platlib")
}


class Session:
    """An environment that answers commands, each allowed only where it makes sense."""

    def __init__(self, spec: EnvSpec):
        self._spec = spec
        self._env = make_env.make(spec)
        self._running = False

    def ready(self) -> tuple[gymnasium.Space, gymnasium.Space, str, dict[str, Any]]:
        """Action space, observation space, what renders ('' if that is not known), description."""
        # Asking for the renderer makes the OpenGL context, so that a machine that cannot render
        # says so now, not in the first episode; where nothing is rendered it needs none.
        space = self._env.observation_space
        seen = isinstance(space, gymnasium.spaces.Dict) and not {"image", "picture"}.isdisjoint(
            space
        )
        said = getattr(self._env.unwrapped, "renderer", "") if seen else ""
        # An environment may have something else of that name.
        renderer = " ".join(said.split()) if isinstance(said, str) else ""
        spaces = self._env.action_space, self._env.observation_space
        return *spaces, renderer, task_description.describe(self._env)

    def reset(self, episode: int) -> dict[str, np.ndarray]:
        self._running = False
        observation, _ = self._env.reset(seed=make_env.episode_seed(self._spec, episode))
        self._running = True
        return observation

    def step(self, action: Any) -> tuple[dict[str, np.ndarray], float, bool, bool, dict[str, Any]]:
        if not self._running:
            raise EnvError("no episode is running: reset the environment before a step")
        action = check_action(action, self._env.action_space)
        self._running = False  # stays so if the environment fails half-way
        observation, reward, terminated, truncated, info = self._env.step(action)
        self._running = not (terminated or truncated)
        return observation, float(reward), terminated, truncated, info

    def take_remarks(self) -> list[str]:
        """What was odd since the last time."""
        remarks = self._env.get_wrapper_attr("remarks")
        taken = remarks.copy()
        remarks.clear()
        return taken

    def close(self, argument: None = None) -> None:
        self._running = False
        self._env.close()


def check_action(action: Any, space: gymnasium.Space) -> np.ndarray | int:
    """The action as the space wants it, float32 for a Box and int for Discrete.

    Raises EnvError for a wrong shape, an index out of range or a number that is not in [-1, 1]: a
    simulator takes NaN and gives back nonsense, far from its cause.
    """
    if isinstance(space, gymnasium.spaces.Discrete):
        if np.shape(action) != () or action not in range(space.n):
            raise EnvError(f"an action is an integer from 0 to {space.n - 1}, not {action!r}")
        return int(action)
    action = np.asarray(action, np.float32)
    if action.shape != space.shape:
        raise EnvError(f"an action has shape {space.shape}, not {action.shape}")
    if not np.isfinite(action).all():
        raise EnvError(f"the action is not finite: {action.tolist()}")
    if (np.abs(action) > 1).any():
        raise EnvError(f"an action lies in [-1, 1], not {action.tolist()}")
    return action


def serve(connection: Connection) -> None:
    """Make the environment and answer until the other end closes, with EOFError or OSError."""
    spec = connection.recv()
    connection.send(("result", os.getpid(), []))
    try:
        session = Session(spec)
        answer: tuple[Any, ...] = ("result", session.ready(), [])
    except BaseException as error:  # `sys.exit` is no way for an environment to end.
        connection.send((*_failure(error, spec, "construction"), []))
        return
    connection.send(answer)
    commands: dict[str, Callable[[Any], Any]] = {
        "reset": session.reset,
        "step": session.step,
        "close": session.close,
    }
    closed = False
    try:
        while True:
            command, argument = connection.recv()
            closed = closed or command == "close"
            try:
                answer = ("result", commands[command](argument))
            except BaseException as error:
                answer = _failure(error, spec, command)
            connection.send((*answer, [_named(spec, command, r) for r in session.take_remarks()]))
    finally:
        if not closed:
            _close(session, spec)


def _close(session: Session, spec: EnvSpec) -> None:
    """The learner is gone and nobody is there to tell: what goes wrong is said, and no more."""
    try:
        session.close()
    except BaseException as error:
        sys.stderr.write(f"{_failure(error, spec, 'close')[2]}\n")


def _failure(error: BaseException, spec: EnvSpec, doing: str) -> tuple[str, ...]:
    """The error as text: the learner may lack the class, or be unable to unpickle it."""
    if isinstance(error, PromiseError):
        text = _named(spec, "" if error.promise == step_checks.RENDERS else doing, str(error))
        return ("error", "PromiseError", text, error.promise)
    for known in (UnknownTaskError, RenderingError, EnvError):
        if isinstance(error, known):
            return ("error", known.__name__, " ".join(str(error).split()))
    where = place(error)
    cause = f"{_cause(error)} ({where})" if where else _cause(error)
    message = f"environment {spec.task} failed in {doing}: {cause}"
    return ("error", "WorkerError", message, "".join(traceback.format_exception(error)))


def _named(spec: EnvSpec, method: str, text: str) -> str:
    return f"environment {spec.task}: {f'{method}() ' if method else ''}{text}"


def _cause(error: BaseException) -> str:
    try:
        text = f"{type(error).__name__}: {error}"
    except Exception:  # Whose text fails.
        text = type(error).__name__
    text = " ".join(text.split())
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def place(error: BaseException) -> str:
    """Where in the user's own code an error came from, such as 'File "a.py", line 3, in step'.

    The innermost line that is neither ours nor a library's; if all are, that of the environment
    itself, a package; '' if there is none.
    """
    if isinstance(error, SyntaxError) and error.filename:
        return f'File "{error.filename}", line {error.lineno}'
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith("<") and not _within(frame.filename, {_OURS, *_GYMNASIUM})
    ]
    own = [frame for frame in frames if not _within(frame.filename, _LIBRARIES)]
    for frame in own[-1:] or frames[:1]:
        return f'File "{frame.filename}", line {frame.lineno}, in {frame.name}'
    return ""


def _within(file: str, folders: set[pathlib.Path]) -> bool:
    return any(pathlib.Path(file).resolve().is_relative_to(folder) for folder in folders)


def _die_with_parent() -> None:
    """Ask Linux to kill this process with its parent, even while it hangs in a simulator."""
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def main(arguments: list[str]) -> None:
    # Ctrl-C goes to the whole terminal, but what then happens is the learner's to decide.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _die_with_parent()
    descriptor = int(arguments[1])
    os.set_inheritable(descriptor, False)  # what the environment starts shall not keep it open
    try:
        serve(Connection(descriptor))
    except (EOFError, OSError):
        return  # the learner has closed the connection, or has died: the usual way to end


if __name__ == "__main__":
    main(sys.argv)
