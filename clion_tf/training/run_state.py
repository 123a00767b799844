"""A run: what the phases of Algorithm 1 work with, what they do to it, and how it is stopped.

It sees no network and no renderer: the agent and the environments are used by their methods.
"""

import contextlib
import dataclasses
import itertools
import logging
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from clion_tf.config import Config, to_flagfile
from clion_tf.console import UserError
from clion_tf.envs import EpisodeFailed, RemoteEnv, SupervisedEnvs
from clion_tf.files import atomic_write
from clion_tf.logdir.checkpoints import CheckpointError, Checkpoints, Counters, restore
from clion_tf.logdir.run_folder import RunFolder
from clion_tf.replay.episode_files import Episode
from clion_tf.replay.episode_player import OnStep, Policy, run_episodes
from clion_tf.replay.replay_buffer import Replay
from clion_tf.replay.stopwatch import Stopwatch

if TYPE_CHECKING:  # They load TensorFlow.
    from clion_tf.agents.base import Learner
    from clion_tf.logdir.metrics_log import Logger, Progress
    from clion_tf.training.heldout_diagnostics import Heldout

_log = logging.getLogger(__name__)


class Interrupted(Exception):
    """The run was asked to stop."""


class BadNumbers(UserError):
    """Too many updates in a row were skipped, the last of number `update`."""

    def __init__(self, message: str, update: int):
        super().__init__(message)
        self.update = update


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
    # Called with the run, the numbers of the updates that a call is about to make and the last of
    # the phase: other processes may have to make them too.
    announce: Callable[["Run", Sequence[int], int], None] = lambda *_: None
    # What the world model sees in the newest episode after so many updates; None: not asked.
    look: "Callable[[int], Heldout] | None" = None
    watch: Stopwatch = dataclasses.field(default_factory=Stopwatch)
    resumable: bool = True  # Whether a checkpoint made now leads to the same outcome.

    def __post_init__(self) -> None:
        self.saved_time = time.monotonic()
        self._saved = self._state()
        # Environment steps and updates at which `watch` was last asked.
        self.timed_from = self.counters.steps, self.counters.updates

    @property
    def own_steps(self) -> int:
        """Environment steps of the episodes that there are; another program may have made more."""
        return self.counters.steps - self.counters.begun_at

    @property
    def seeding(self) -> bool:
        """Whether seed episodes are missing."""
        return self.own_steps < self.config.prefill

    @property
    def unsaved(self) -> bool:
        """Whether there is something that the last checkpoint has not."""
        return self._state() != self._saved

    def _state(self) -> tuple:
        c = self.counters
        return c.episodes, c.updates, c.evaluated_at, c.logged_at

    def check_stop(self) -> None:
        """Raises Interrupted if the run was asked to stop."""
        if self.stopping():
            raise Interrupted

    # Episodes.

    def play(
        self,
        envs: SupervisedEnvs,
        policy: Policy,
        first: int,
        count: int = 1,
        on_step: OnStep = lambda _: None,
    ) -> tuple[list[Episode], int]:
        """Episodes from number `first` on, side by side, and how many numbers were skipped.

        All begin again if an environment fails. The number of an episode that cannot be played is
        skipped, and one more played at the end: as an episode is a function of its number, a run
        that is resumed skips the same. Raises Interrupted when asked to stop, WorkerError when an
        environment fails too often.
        """
        failed: set[int | None] = set()

        def checked(step: int) -> None:
            self.check_stop()
            on_step(step)

        def count_failure() -> None:
            self.counters.env_failures += 1

        def play(each: list[RemoteEnv]) -> list[Episode]:
            left = (number for number in itertools.count(first) if number not in failed)
            numbers = list(itertools.islice(left, count))
            return run_episodes(each[:count], policy, numbers, checked)

        while True:
            try:
                return envs.attempt(play, count_failure), len(failed)
            except EpisodeFailed as error:
                failed.add(error.episode)
                kind = "evaluation" if envs is self.test_envs else "training"
                _log.warning("%s %s; it is skipped", kind, error)

    def add(self, episodes: list[Episode], skipped: int) -> None:
        """Training episodes into the replay, the counters and the log."""
        counters = self.counters
        counters.skipped_episodes += skipped
        for episode in episodes:
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
            self.progress.note(train=counters.train_return)
            self.progress.advance(counters.steps)
        self.resumable = True

    # Checkpoints.

    def save_if_due(self) -> None:
        """By steps, or by seconds where those are over before."""
        config, steps = self.config, self.counters.steps - self.counters.saved_at
        by_steps = config.save_every and steps >= config.save_every
        if by_steps or 0 < config.save_seconds <= time.monotonic() - self.saved_time:
            self.save()

    def save(self, stopped: bool = False) -> None:
        """Writes a checkpoint of everything that a resumed run needs.

        `stopped`: the run stops, so the next one that is due comes when it would have come.
        """
        with self.watch("save"):
            if not stopped:
                self.counters.saved_at, self.saved_time = self.counters.steps, time.monotonic()
            self.counters.metrics_bytes = self.logger.position
            variables = {name: v.numpy() for name, v in self.agent.named_state().items()}
            self.checkpoints.save(variables, self.counters, stopped)
            self._saved = self._state()
            if self.config.replay_capacity:
                with contextlib.suppress(CheckpointError):  # A damaged one soon makes way.
                    self.replay.prune(self.checkpoints.oldest().episodes)

    def roll_back(self, error: BadNumbers) -> None:
        """Once, to the newest checkpoint, to go on with other batches; then gives up with a dump.

        Not to one that a stop made: an outcome must not depend on stops.
        """
        found = self.checkpoints.load_newest(stops=False)
        if self.counters.rollbacks or found is None:
            path = self.folder.path / f"bad-update-{error.update & 0xFFFFFFFF:09d}.npz"
            batch = self.replay.sample(self.config.batch_size, error.update)
            arrays: dict[str, Any] = {"options": np.array(to_flagfile(self.config)), **batch}
            with atomic_write(path) as file:
                np.savez(file, **arrays)
            text = f"{error}; its batch and the options are in {path}"
            raise BadNumbers(text, error.update) from error
        arrays, counters = found
        restore(self.agent.named_state(), arrays)
        self.counters = dataclasses.replace(counters, rollbacks=1)
        self.replay.load(counters.episodes)
        self.logger.rewind(counters.metrics_bytes)
        self.progress.advance(counters.steps)
        self.progress.message(f"{error}; going back to {counters.steps} environment steps, once")

    def close(self) -> None:
        """Writes what is pending, and leaves the bar as it stands."""
        self.progress.close()
        self.logger.close()
