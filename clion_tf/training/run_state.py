"""A run: what the phases of Algorithm 1 work with, what they do to it, and how it is stopped.

It sees no network and no renderer: the agent and the environments are used by their methods.
Nothing here imports TensorFlow.
"""

import contextlib
import dataclasses
import itertools
import logging
import math
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from clion_tf.config import Config, to_flagfile
from clion_tf.console import UserError
from clion_tf.envs import EpisodeFailed, RemoteEnv, SupervisedEnvs
from clion_tf.files import atomic_write
from clion_tf.logdir.checkpoints import CheckpointError, Checkpoints, Counters, restore
from clion_tf.logdir.run_folder import RunFolder
from clion_tf.replay.episode_files import Episode
from clion_tf.replay.episode_player import AgentPolicy, OnStep, Policy, RandomPolicy, run_episodes
from clion_tf.replay.replay_buffer import Replay
from clion_tf.replay.stopwatch import Stopwatch
from clion_tf.training.gathered_metrics import GatheredMetrics, loss_text

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


class Played(NamedTuple):
    """Episodes in the order of their numbers, and how many numbers among them were skipped."""

    episodes: list[Episode]
    skipped: int


@dataclasses.dataclass
class Run:
    """A run, put together by `clion_tf.training.build_run`.

    Attributes:
      agent: who learns.
      train_envs, test_envs: the environments of training and of evaluations.
      counters: where the run stands; all that changes and that a checkpoint holds beside the agent.
      stopping: whether the run was asked to stop.
      updates_per_call: how many updates one call of the compiled function makes.
      announce: called with the run, the numbers of the updates that a call is about to make and the
        last of the phase: other processes may have to make them too.
      look: what the world model sees in the newest episode after so many updates; None: not asked.
      resumable: whether a checkpoint made now would be one to go on from with the same outcome.
    """

    config: Config
    folder: RunFolder
    agent: "Learner"
    train_envs: SupervisedEnvs
    test_envs: SupervisedEnvs
    replay: Replay
    logger: "Logger"
    progress: "Progress"
    checkpoints: Checkpoints
    counters: Counters
    stopping: Callable[[], bool]
    updates_per_call: int = 1
    announce: Callable[["Run", Sequence[int], int], None] = lambda *_: None
    look: "Callable[[int], Heldout] | None" = None
    watch: Stopwatch = dataclasses.field(default_factory=Stopwatch)
    resumable: bool = True

    def __post_init__(self) -> None:
        self.gathered = GatheredMetrics(self.config, self.counters, self.watch)
        self.saved_time = time.monotonic()
        self._saved = self._state()

    # Where it stands.

    @property
    def finished(self) -> bool:
        """Whether all environment steps are made."""
        return self.counters.steps >= self.config.steps

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

    def random_policy(self) -> RandomPolicy:
        """Who plays seed episodes."""
        sizes = self.agent.sizes
        return RandomPolicy(sizes.action_size, sizes.discrete, self.config.seed)

    def exploring_policy(self, earlier: bool = False) -> AgentPolicy:
        """Who plays training episodes; `earlier`: as the agent was at its last `remember`."""
        amount = self.config.exploration(self.counters.steps)
        return AgentPolicy(self.agent, training=True, amount=amount, earlier=earlier)

    def evaluation_policy(self) -> AgentPolicy:
        """Who plays the episodes of evaluations."""
        return AgentPolicy(self.agent, training=False, amount=self.config.eval_noise)

    def play_round(self, policy: Policy, on_step: OnStep) -> Played:
        """The next training episodes, one in each environment."""
        first = self.counters.episodes + self.counters.skipped_episodes
        return self.play(self.train_envs, policy, first, self._round_size(), on_step)

    def _round_size(self) -> int:
        """How many episodes to play side by side: no more than seeding or the run's end needs."""
        length: float = self.config.time_limit
        if self.counters.episodes and self.own_steps:
            length = self.own_steps / self.counters.episodes  # As long as they usually are.
        left = self.config.steps - self.counters.steps
        if self.seeding:
            left = min(left, self.config.prefill - self.own_steps)
        return max(1, min(self.config.envs, math.ceil(left / length)))

    def play(
        self,
        envs: SupervisedEnvs,
        policy: Policy,
        first: int,
        count: int = 1,
        on_step: OnStep = lambda _: None,
    ) -> Played:
        """Episodes from number `first` on, side by side; begun again if an environment fails.

        The number of an episode that cannot be played is skipped, and one more played at the end:
        as an episode is a function of its number, a run that is resumed skips the same.

        Raises:
          Interrupted: when asked to stop.
          WorkerError: when an environment fails too often.
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
                return Played(envs.attempt(play, count_failure), len(failed))
            except EpisodeFailed as error:
                failed.add(error.episode)
                kind = "evaluation" if envs is self.test_envs else "training"
                _log.warning("%s %s; it is skipped", kind, error)

    def add(self, played: Played) -> None:
        """Training episodes into the replay, the counters and the log."""
        self.counters.skipped_episodes += played.skipped
        for episode in played.episodes:
            self._add(episode)
        self.resumable = True

    def _add(self, episode: Episode) -> None:
        counters = self.counters
        self.replay.add(episode)
        length = len(episode["reward"]) - 1
        counters.episodes += 1
        counters.steps += length * self.config.action_repeat
        counters.train_return = float(episode["reward"].sum())
        groups = {"train": {"return": counters.train_return, "length": length}}
        groups[""] = {
            "episodes": counters.episodes,
            "env_failures": counters.env_failures,
            "skipped_episodes": counters.skipped_episodes + counters.skipped_tests,
        }
        self.logger.scalars(counters.steps, groups)
        self.progress.note(train=counters.train_return)
        self.progress.advance(counters.steps)

    # The log of updates.

    def log_if_due(self) -> None:
        """Every `log_every` environment steps what was gathered; a line on the console always."""
        counters, every = self.counters, self.config.log_every
        text = f"[{counters.steps}] train return {counters.train_return:.1f}"
        if counters.next_log is None:
            counters.next_log = counters.steps + every
        if self.gathered.pending and counters.steps >= counters.next_log:
            counters.next_log += every
            groups = self.gathered.groups()
            self.logger.scalars(counters.steps, groups)
            text += f"{loss_text(groups)}, {groups['speed']['fps']:.1f} steps/s"
            self.gathered.clear()
        self.progress.message(text)

    def log_rest(self, final: bool = True) -> None:
        """What was gathered since the last line, at the run's end.

        With a stop (not `final`) TensorBoard, which could not forget it, is not told, and the run
        that is resumed takes it back.
        """
        if not self.gathered.pending:
            return
        self.logger.scalars(self.counters.steps, self.gathered.groups(), events=final)
        if final:
            self.gathered.clear()

    # Checkpoints.

    def save_if_due(self) -> None:
        """By steps, or by seconds where those are over before."""
        config, steps = self.config, self.counters.steps - self.counters.saved_at
        by_steps = config.save_every and steps >= config.save_every
        if by_steps or 0 < config.save_seconds <= time.monotonic() - self.saved_time:
            self.save()

    def save(self, stopped: bool = False) -> None:
        """Writes a checkpoint of everything that a resumed run needs.

        Args:
          stopped: because the run stops; the next one that is due comes when it would have come.
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

        Raises:
          BadNumbers: for the second time, or where there is no checkpoint.
        """
        found = self.checkpoints.load_newest(stops=False)
        if self.counters.rollbacks or found is None:
            raise self._given_up(error) from error
        arrays, counters = found
        restore(self.agent.named_state(), arrays)
        vars(self.counters).update(vars(counters), rollbacks=1)
        self.replay.load(counters.episodes)
        self.logger.rewind(counters.metrics_bytes)
        self.progress.advance(counters.steps)
        self.progress.message(f"{error}; going back to {counters.steps} environment steps, once")

    def _given_up(self, error: BadNumbers) -> BadNumbers:
        path = self.folder.bad_update_file(error.update & 0xFFFFFFFF)
        batch = self.replay.sample(self.config.batch_size, error.update)
        arrays: dict[str, Any] = {"options": np.array(to_flagfile(self.config)), **batch}
        with atomic_write(path) as file:
            np.savez(file, **arrays)
        return BadNumbers(f"{error}; its batch and the options are in {path}", error.update)

    def close(self) -> None:
        """Writes what is pending, and leaves the bar as it stands."""
        self.progress.close()
        self.logger.close()
