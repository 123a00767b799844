"""The process in which an environment lives: `python -m clion_tf.envs.worker FD`.

TensorFlow and Mesa's software renderer crash in one process, so an environment gets its own and
nothing imported here may import TensorFlow. FD is an inherited socket over which pickled tuples
travel: in come an EnvSpec and then ('reset', episode) or ('step', action); out go ('result', …) for
each of them or ('error', type, message, traceback). No class of this module travels, as here it is
called __main__.
"""

import ctypes
import signal
import sys
import traceback
from multiprocessing.connection import Connection
from typing import Any

import gymnasium
import numpy as np

from clion_tf.envs import described, factory
from clion_tf.envs.spec import EnvError, EnvSpec

_PR_SET_PDEATHSIG = 1


class Session:
    """An environment that answers commands, each allowed only where it makes sense."""

    def __init__(self, spec: EnvSpec):
        self._spec = spec
        self._env = factory.make(spec)
        self._running = False

    def ready(self) -> tuple[gymnasium.Space, gymnasium.Space, str, dict[str, Any]]:
        """Action space, observation space, what renders ('' if that is not known), description."""
        # Asking for the renderer makes the OpenGL context, so that a machine that cannot render
        # says so now, not in the first episode; where nothing is rendered it needs none.
        seen = self._env.observation_space.spaces.keys() & {"image", "picture"}
        renderer = getattr(self._env.unwrapped, "renderer", "") if seen else ""
        spaces = self._env.action_space, self._env.observation_space
        return *spaces, str(renderer), described.describe(self._env)

    def reset(self, episode: int) -> dict[str, np.ndarray]:
        self._running = False
        observation, _ = self._env.reset(seed=factory.episode_seed(self._spec, episode))
        self._running = True
        return observation

    def step(self, action: Any) -> tuple[dict[str, np.ndarray], float, bool, bool, dict[str, Any]]:
        if not self._running:
            raise EnvError("no episode is running: reset the environment before a step")
        action = check_action(action, self._env.action_space)
        self._running = False  # stays so if the environment fails half-way
        observation, reward, terminated, truncated, info = self._env.step(action)
        self._running = not (terminated or truncated)
        return observation, float(reward), bool(terminated), bool(truncated), info

    def close(self) -> None:
        self._env.close()


def check_action(action: Any, space: gymnasium.Space) -> np.ndarray | int:
    """The action as the space wants it, float32 for a Box and int for Discrete.

    Raises EnvError for a wrong shape, an index out of range or a number that is not finite: a
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
    return action


def serve(connection: Connection) -> None:
    """Make the environment and answer until the other end closes, with EOFError or OSError."""
    spec = connection.recv()
    try:
        session = Session(spec)
        ready = session.ready()
    except Exception as error:
        connection.send(_failure(error, spec, "construction"))
        return
    connection.send(("result", ready))
    commands = {"reset": session.reset, "step": session.step}
    try:
        while True:
            command, argument = connection.recv()
            try:
                answer = ("result", commands[command](argument))
            except Exception as error:
                answer = _failure(error, spec, command)
            _send(connection, answer, spec)
    finally:
        session.close()


def _send(connection: Connection, answer: tuple, spec: EnvSpec) -> None:
    try:
        connection.send(answer)
    except OSError:
        raise  # the learner is gone
    except Exception as error:  # pickling comes before writing, so nothing has been sent yet
        connection.send(_failure(error, spec, "sending its answer"))


def _failure(error: Exception, spec: EnvSpec, doing: str) -> tuple[str, str, str, str]:
    """The error as text: the learner may lack the class, or be unable to unpickle it."""
    details = "".join(traceback.format_exception(error))
    if isinstance(error, EnvError):
        return ("error", type(error).__name__, str(error), details)
    cause = " ".join(f"{type(error).__name__}: {error}".split())
    return ("error", "WorkerError", f"environment {spec.task} failed in {doing}: {cause}", details)


def _die_with_parent() -> None:
    """Ask Linux to kill this process with its parent, even while it hangs in a simulator."""
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def main(arguments: list[str]) -> None:
    # Ctrl-C goes to the whole terminal, but what then happens is the learner's to decide.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _die_with_parent()
    try:
        serve(Connection(int(arguments[1])))
    except (EOFError, OSError):
        return  # the learner has closed the connection, or has died: the usual way to end


if __name__ == "__main__":
    main(sys.argv)
