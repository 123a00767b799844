"""A run: what the phases of Algorithm 1 work with, and how it is stopped.

The phases see no network and no renderer: the agent and the environments are used by their methods.
"""

import dataclasses
import pathlib
import time
from collections.abc import Callable, Sequence

from clion_tf.checkpoint import Checkpoints, Counters
from clion_tf.config import Config
from clion_tf.envs import RemoteEnv, SupervisedEnvs
from clion_tf.episodes import Episode
from clion_tf.interaction import OnStep, Policy, run_episodes
from clion_tf.logger import Logger, Progress
from clion_tf.replay import Replay
from clion_tf.stopwatch import Stopwatch


class Interrupted(Exception):
    """The run was asked to stop."""


@dataclasses.dataclass
class Run:
    """What a run works with; see `clion_tf.run` for how it is put together.

    `stopping` answers whether the run was asked to stop.
    """

    config: Config
    logdir: pathlib.Path
    agent: object
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


def play_episodes(
    run: Run,
    envs: SupervisedEnvs,
    policy: Policy,
    first: int,
    count: int = 1,
    on_step: OnStep = lambda _: None,
) -> list[Episode]:
    """Episodes from number `first` on, side by side; begun again if an environment fails."""

    def checked(step: int) -> None:
        check_stop(run)
        on_step(step)

    def count_failure() -> None:
        run.counters.env_failures += 1

    def play(each: list[RemoteEnv]) -> list[Episode]:
        return run_episodes(each[:count], policy, first, checked)

    return envs.attempt(play, count_failure)
