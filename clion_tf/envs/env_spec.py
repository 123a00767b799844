"""What an environment is made from, and what can go wrong with one."""

import dataclasses
import difflib
from collections.abc import Iterable
from typing import Any

import numpy as np

from clion_tf.console import REFUSED, UserError

# What the agent observes, and what `reset` and `step` give.
Observation = dict[str, np.ndarray]
Reset = tuple[Observation, dict[str, Any]]
Step = tuple[Observation, float, bool, bool, dict[str, Any]]


class EnvError(UserError, RuntimeError):
    """Anything wrong with an environment; the message is one line for the user."""


class UnknownTaskError(EnvError):
    """No task or factory has the name that was asked for."""

    exit_code = REFUSED


class WorkerError(EnvError):
    """The worker process failed, hung or died.

    raised: whether the worker raised an exception. episode: number of the failed episode.
    """

    def __init__(self, message: str, raised: bool = False, episode: int | None = None):
        super().__init__(message)
        self.raised, self.episode = raised, episode


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

    `seed`, `stream` and an episode's number decide everything random in the episode. `index` is
    for ports, folders and displays. No episode may depend on it, because which environment plays
    an episode depends on the number of environments and on failures.
    """

    task: str  # see docs/environments.md
    seed: int = 0  # the run's
    stream: int = 0  # which of the run's sequences of episodes; 0: training
    action_repeat: int = 2  # control steps for which an action is held
    time_limit: int = 1000  # control steps; dm_control's own limit (1000, lqr: none) stays in force
    size: tuple[int, int] = (64, 64)  # height and width of the images in pixels
    rotation_degrees: float = 0.0  # each frame is rotated by an angle from U(-x, x)
    rotation_fill: str = "edge"  # "edge": the image's edge is repeated outside of it; or "black"
    rotation_per: str = "frame"  # "frame": one angle for each frame; "episode": one for all
    rotation_told: bool = False  # image stays; its angle, in degrees, is `rotation` (fig. 6)
    blank_frames: float = 0.0  # probability with which a frame shows nothing
    observe: str = "auto"  # what the agent sees, see docs/environments.md
    picture_size: tuple[int, int] | None = None  # of `picture`, a second image for people; or none
    index: int = 0  # own number among all environments that one command has at the same time

    def __post_init__(self) -> None:
        if self.rotation_degrees > 0 and self.observe == "vector":
            raise EnvError("rotation_degrees: there is no image to rotate with observe=vector")
