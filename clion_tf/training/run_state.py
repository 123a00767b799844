"""A run: what the phases of Algorithm 1 work with, and how it is stopped.

The phases see no network and no renderer: the agent and the environments are used by their methods.
"""

import dataclasses
import itertools
import logging
import pathlib
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from clion_tf.agents.base import Learner
from clion_tf.config import Config
from clion_tf.envs import EpisodeFailed, RemoteEnv, SupervisedEnvs
from clion_tf.logdir.checkpoints import Checkpoints, Counters
from clion_tf.logdir.metrics_log import Logger, Progress
from clion_tf.replay.episode_files import Episode
from clion_tf.replay.episode_player import OnStep, Policy, run_episodes
from clion_tf.replay.observation_shapes import Shapes
from clion_tf.replay.replay_buffer import Replay
from clion_tf.replay.stopwatch import Stopwatch

_log = logging.getLogger(__name__)


class Interrupted(Exception):
    """The run was asked to stop."""


class Team(Protocol):
    """The processes and devices of a run that has several; see `distributed.processes`."""

    device: str

    def agent(self, action_size: int, discrete: bool, observed: Shapes) -> Learner:
        """The agent on all replicas."""

    def announce(self, run: "Run", numbers: Sequence[int], last: int) -> None:
        """Tells the others of the updates that the chief is about to make."""


@dataclasses.dataclass
class Run:
    """What a run works with; see `clion_tf.run` for how it is put together.

    `stopping` answers whether the run was asked to stop.
    """

    config: Config
    logdir: pathlib.Path
    agent: Learner
    train_envs: SupervisedEnvs
    test_envs: SupervisedEnvs
    replay: Replay
    logger: Logger
    progress: Progress
    checkpoints: Checkpoints
    counters: Counters
    stopping: Callable[[], bool]
    updates_per_call: int = 1
    # Called with the run, the numbers of the updates that a call is about to make and the last of
    # the phase: other processes may have to make them too.
    announce: Callable[["Run", Sequence[int], int], None] = lambda *_: None
    watch: Stopwatch = dataclasses.field(default_factory=Stopwatch)
    # Whether a checkpoint made now would be one to go on from with the same outcome.
    resumable: bool = True
    saved_time: float = dataclasses.field(default_factory=time.monotonic)
    saved: tuple = ()  # What `done` was at the last checkpoint.

    def __post_init__(self):
        self.saved = self.done

    @property
    def done(self) -> tuple:
        """Differs from what it was as soon as there is something to save."""
        c = self.counters
        return c.episodes, c.updates, c.evaluated_at, c.logged_at


def check_stop(run: Run) -> None:
    """Raises Interrupted if the run was asked to stop."""
    if run.stopping():
        raise Interrupted


class Played(NamedTuple):
    """Episodes in the order of their numbers, and how many numbers among them were skipped."""

    episodes: list[Episode]
    skipped: int


def play_episodes(
    run: Run,
    envs: SupervisedEnvs,
    policy: Policy,
    first: int,
    count: int = 1,
    on_step: OnStep = lambda _: None,
) -> Played:
    """Episodes from number `first` on, side by side; begun again if an environment fails.

    The number of an episode that cannot be played is skipped, and one more played at the end: as
    an episode is a function of its number, a run that is resumed skips the same.
    """
    failed: set[int] = set()

    def checked(step: int) -> None:
        check_stop(run)
        on_step(step)

    def count_failure() -> None:
        run.counters.env_failures += 1

    def play(each: list[RemoteEnv]) -> list[Episode]:
        left = (number for number in itertools.count(first) if number not in failed)
        numbers = list(itertools.islice(left, count))
        return run_episodes(each[:count], policy, numbers, checked)

    while True:
        try:
            return Played(envs.attempt(play, count_failure), len(failed))
        except EpisodeFailed as error:
            failed.add(error.episode)
            kind = "evaluation" if envs is run.test_envs else "training"
            _log.warning("%s %s; it is skipped", kind, error)
