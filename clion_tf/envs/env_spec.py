"""What an environment is made from, and what can go wrong with one."""

import dataclasses
import difflib
from collections.abc import Iterable
from typing import Any

import numpy as np

from clion_tf.console import REFUSED, UserError

OBSERVE = ("auto", "image", "vector", "both")

# What the agent observes, and what `reset` and `step` give.
Observation = dict[str, np.ndarray]
Reset = tuple[Observation, dict[str, Any]]
Step = tuple[Observation, float, bool, bool, dict[str, Any]]


class EnvError(UserError, RuntimeError):
    """Anything wrong with an environment; the message is one line for the user."""


class UnknownTaskError(EnvError):
    """No task or factory has the name that was asked for."""

    exit_code = REFUSED


class RenderingError(EnvError):
    """OpenGL cannot make images here; the message says what to install or set."""


class WorkerError(EnvError):
    """The worker process failed, hung or died.

    `details` holds the traceback inside the worker where there is one, else ''. `episode` is the
    number of the episode that failed, None where it was none.
    """

    episode: int | None = None

    def __init__(self, message: str, details: str = ""):
        super().__init__(message)
        self.details = details


class PromiseError(WorkerError):
    """The environment returned what no agent can take; `promise`: of `step_checks.PROMISES`."""

    def __init__(self, message: str, promise: str = ""):
        super().__init__(message)
        self.promise = promise


class EpisodeFailed(WorkerError):
    """An episode, `episode`, failed in the same way as often as it may."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The end of a message about an unknown name; '' if none is near."""
    nearest = difflib.get_close_matches(name, known)
    return f"; did you mean {', '.join(nearest)}?" if nearest else ""


@dataclasses.dataclass(frozen=True)
class EnvSpec:
    """One environment of a run, complete and picklable; its values are checked by Config.

    task: a task of dm_control's suite as domain_task ('walker_walk'); 'gym:CartPole-v1' or
      'gym:package.module:EnvId-v0', registered with gymnasium (by that module); 'atari_pong';
      or 'module:attribute', a function that takes this object and returns a gymnasium.Env.
    seed, stream: the run's seed, and which of its sequences of episodes this is (0: training).
      Together with an episode's number they decide everything random in the episode.
    rotation_told: images are not rotated; the observation says the angle instead, `rotation`,
      float32 in degrees, for an agent that rotates several frames alike (fig. 6).
    picture_size: of a second picture in each observation, `picture`, for people to look at; None
      for none. The images do not depend on it.
    index: this environment's own number among those that one command has at the same time, for
      training and evaluation together: for ports, folders and displays. Episodes must not depend
      on it, as which environment plays which episode is chance.
    """

    task: str
    seed: int = 0
    stream: int = 0
    action_repeat: int = 2  # control steps for which an action is held
    time_limit: int = 1000  # control steps; dm_control's own limit of 1000 stays in force
    size: tuple[int, int] = (64, 64)  # height and width of the images in pixels
    rotation_degrees: float = 0.0  # each frame is rotated by an angle from U(-x, x)
    rotation_fill: str = "edge"  # what lies outside a rotated image, or "black"
    rotation_per: str = "frame"  # each has an angle of its own, or each "episode"
    rotation_told: bool = False
    blank_frames: float = 0.0  # probability with which a frame shows nothing
    observe: str = "auto"  # what the agent sees, see docs/environments.md
    picture_size: tuple[int, int] | None = None
    index: int = 0

    def __post_init__(self) -> None:
        if self.rotation_degrees > 0 and self.observe == "vector":
            raise EnvError("rotation_degrees: there is no image to rotate with observe=vector")
