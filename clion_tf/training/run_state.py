"""A run: what the phases of Algorithm 1 work with, what they do to it, and how it is stopped."""

import contextlib
import dataclasses
import itertools
import logging
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from clion_tf.config import Config, to_flagfile
from clion_tf.console import UserError
from clion_tf.envs import EpisodeFailed, RemoteEnv, SupervisedEnvs, WorkerError
from clion_tf.files import atomic_write
from clion_tf.logdir import checkpoints as saved
from clion_tf.logdir.checkpoints import CheckpointError, Checkpoints, Counters
from clion_tf.logdir.run_folder import RunFolder
from clion_tf.replay.episode_files import Episode
from clion_tf.replay.episode_player import OnStep, Policy, run_episodes
from clion_tf.replay.observation_shapes import Shapes
from clion_tf.replay.replay_buffer import Replay
from clion_tf.replay.stopwatch import Stopwatch

if TYPE_CHECKING:  # They load TensorFlow.
    from clion_tf.agents.base import Learner
    from clion_tf.logdir.metrics_log import Logger, Progress

_log = logging.getLogger(__name__)


class Interrupted(Exception):
    """The run was asked to stop."""


class BadNumbers(UserError):
    """Too many updates in a row were skipped."""


class Team(Protocol):
    """What makes updates with other processes or devices: `distributed.processes.Team`."""

    device: str  # Where the learner runs, in words.

    def agent(self, action_size: int, discrete: bool, observed: Shapes) -> "Learner": ...
    def announce(self, run: "Run", numbers: Sequence[int], last: int) -> None: ...


class Played(NamedTuple):
    """Episodes played to their ends; a resumed run repeats those that a stop cut off."""

    episodes: list[Episode]
    skipped: int  # How many episode numbers were skipped, as these cannot be played.
    failures: int  # How often an environment failed.


@dataclasses.dataclass
class Run:
    """A run, put together by `clion_tf.training.build_run`."""

    config: Config
    folder: RunFolder
    agent: "Learner"
    train_envs: SupervisedEnvs
    test_envs: SupervisedEnvs
    replay: Replay
    logger: "Logger"
    progress: "Progress"
    checkpoints: Checkpoints
    counters: Counters  # All that changes and that a checkpoint holds beside the agent.
    stopping: Callable[[], bool]  # Whether the run was asked to stop.
    updates_per_call: int = 1  # Of the compiled function.
    team: Team | None = None
    watch: Stopwatch = dataclasses.field(default_factory=Stopwatch)
    resumable: bool = True  # Whether a checkpoint made now leads to the same outcome.

    def __post_init__(self) -> None:
        self.saved_time = time.monotonic()
        self._saved = self._state()
        # Environment steps and updates at which `watch` was last asked.
        self.timed_from = self.counters.steps, self.counters.updates

    @property
    def own_steps(self) -> int:
        """Environment steps of the run's episodes; a converted agent may have more (`begun_at`)."""
        return self.counters.steps - self.counters.begun_at

    @property
    def seeding(self) -> bool:
        """Whether seed episodes are missing."""
        return self.own_steps < self.config.prefill

    @property
    def unsaved(self) -> bool:
        """Whether episodes, updates, evaluations or log lines came after the last checkpoint."""
        return self._state() != self._saved

    def _state(self) -> tuple:
        c = self.counters
        return c.episodes, c.updates, c.evaluated_at, c.logged_at

    @property
    def next_update(self) -> int:
        """The next update's number; after a rollback a new one, so that other batches are drawn."""
        return self.counters.updates + (self.counters.rollbacks << 32)

    def play(
        self, envs: SupervisedEnvs, policy: Policy, first: int, count: int = 1,
        on_step: OnStep = lambda _: None,
    ) -> Played:  # fmt: skip
        """Episodes from number `first` on, side by side.

        All begin again if an environment fails. The number of an episode that cannot be played is
        skipped, by a resumed run too. Raises Interrupted, or WorkerError for too many failures.
        """
        failed: set[int | None] = set()
        failures = 0

        def checked(step: int) -> None:
            if self.stopping():
                raise Interrupted
            on_step(step)

        def count_failure() -> None:
            nonlocal failures
            if self.stopping():  # Who stops a run may well have stopped its workers too.
                raise Interrupted
            failures += 1

        def attempt(each: list[RemoteEnv]) -> list[Episode]:
            left = (number for number in itertools.count(first) if number not in failed)
            numbers = list(itertools.islice(left, count))
            return run_episodes(each[:count], policy, numbers, checked)

        while True:
            try:
                return Played(envs.attempt(attempt, count_failure), len(failed), failures)
            except EpisodeFailed as error:
                failed.add(error.episode)
                kind = "evaluation" if envs is self.test_envs else "training"
                _log.warning("%s %s; it is skipped", kind, error)
            except WorkerError:
                self.counters.env_failures += failures
                raise

    def add(self, played: Played) -> None:
        """Training episodes into the replay, the counters and the log."""
        counters = self.counters
        counters.skipped_episodes += played.skipped
        counters.env_failures += played.failures
        for episode in played.episodes:
            self.replay.add(episode)
            length = len(episode["reward"]) - 1
            counters.episodes += 1
            counters.steps += length * self.config.action_repeat
            counters.train_return = float(episode["reward"].sum())
            totals = {
                "episodes": counters.episodes,
                "env_failures": counters.env_failures,
                "skipped_episodes": counters.skipped_episodes + counters.skipped_tests,
            }
            train = {"return": counters.train_return, "length": length}
            self.logger.scalars(counters.steps, {"train": train, "": totals})
            self.progress.show(counters.steps, train=counters.train_return)
        self.resumable = True

    def save_if_due(self) -> None:
        """By steps, or by seconds where those are over before."""
        config, steps = self.config, self.counters.steps - self.counters.saved_at
        by_steps = config.save_every and steps >= config.save_every
        if by_steps or 0 < config.save_seconds <= time.monotonic() - self.saved_time:
            self.save()

    def save(self, stopped: bool = False) -> None:
        """Writes a checkpoint; that of a stop leaves the time of the next one as it was."""
        with self.watch("save"):
            if not stopped:
                self.counters.saved_at, self.saved_time = self.counters.steps, time.monotonic()
            self.counters.metrics_bytes = self.logger.position
            variables = {name: v.numpy() for name, v in self.agent.named_state().items()}
            self.checkpoints.save(variables, self.counters, stopped)
            self._saved = self._state()
            if self.config.replay_capacity:
                oldest = self.checkpoints.paths()[-1]
                with contextlib.suppress(CheckpointError):  # A damaged one soon makes way.
                    self.replay.prune(saved.load(oldest, arrays=False)[1].episodes)

    def roll_back(self, error: BadNumbers) -> None:
        """Returns to the last good checkpoint, once a run; else saves the bad batch and raises."""
        # Not to a checkpoint that a stop made: the outcome must not depend on stops.
        found = None if self.counters.rollbacks else self.checkpoints.go_back()
        if found is None:
            path = self.folder.bad_update_file(self.counters.updates - 1)
            dump: dict[str, Any] = self.replay.sample(self.config.batch_size, self.next_update - 1)
            with atomic_write(path) as file:
                np.savez(file, options=np.array(to_flagfile(self.config)), **dump)
            raise BadNumbers(f"{error}; its batch and the options are in {path}") from error
        arrays, counters = found
        saved.restore(self.agent.named_state(), arrays)
        self.counters = dataclasses.replace(counters, rollbacks=1)
        self.timed_from = counters.steps, counters.updates
        self.replay.load(counters.episodes)
        self.logger.rewind(counters.metrics_bytes)
        self.folder.forget_after(counters.steps)
        self.progress.show(counters.steps)
        self.progress.message(f"{error}; going back to {counters.steps} environment steps, once")
