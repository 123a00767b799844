"""What each process of a run of several does: the chief trains, the others follow it.

The others make the updates that it tells them of. They write nothing; of the logdir they read the
episodes.
"""

import logging
import time
from collections.abc import Callable, Generator, Sequence

from clion_tf.config import Config
from clion_tf.console import FAILED, stop_signals
from clion_tf.distributed.processes import Team
from clion_tf.distributed.tf_config import Task
from clion_tf.files import user_path
from clion_tf.logdir.run_folder import RunFolder
from clion_tf.replay.observation_shapes import Shapes
from clion_tf.replay.replay_buffer import Batch, Replay, ReplayError, prefetch
from clion_tf.training import training_process

log = logging.getLogger(__name__)

PATIENCE = 60.0  # Seconds for another machine's file to be seen here: network folders lag.


def take_part(config: Config, task: Task) -> int:
    """One process's part in a run of several replicas; returns the exit code."""
    team = Team(config, task)
    if not task.chief:
        with stop_signals() as stop:
            return follow(team, lambda: bool(stop))
    code = FAILED
    try:
        code = training_process.train(config, team)
        return code
    finally:
        team.end(code)


def follow(team: Team, stopping: Callable[[], bool]) -> int:
    """Until the chief ends the run; returns its exit code.

    Args:
      stopping: whether this process was asked to stop; then the run stops as if the chief was.

    Raises:
      PeerLost: if another process is gone.
      ReplayError: if the chief's episodes are not seen here.
    """
    agent = source = None
    while True:
        message, stop = team.exchange(vote=stopping())
        if "end" in message:
            log.info("the chief ended the run with code %d", message["end"])
            return message["end"]
        if "agent" in message:
            size, discrete, observed = message["agent"]
            observed = {key: tuple(shape) for key, shape in observed.items()}
            agent = team.agent(size, discrete, observed)
            source = Source(team.config, {**observed, "action": (size,)})
        elif not stop:
            if message["state"]:
                team.share_state()
            _update(agent, message["updates"], source.batches(message))


def _update(agent, numbers: Sequence[int], batches: list[Batch]) -> None:
    if len(numbers) > 1:
        agent.train_several(batches, numbers)
    else:
        agent.train(batches[0], numbers[0])


class Source:
    """The batches of the updates that the chief tells of, from its episodes."""

    def __init__(self, config: Config, shapes: Shapes):
        self._config = config
        folder = RunFolder(user_path(config.logdir).absolute()).episodes
        self._replay = Replay(
            folder,
            config.batch_length,
            config.seed,
            config.dataset_balance,
            shapes,
            config.replay_transitions,
        )
        self._folder = folder
        self._holds: list[int] | None = None
        self._drawn: Generator[tuple[int, Batch]] | None = None
        self._next: int | None = None  # The update that `_drawn` yields next,
        self._last: int | None = None  # and the last one, with which the phase ends.

    def batches(self, message: dict) -> list[Batch]:
        """The batches of a message's updates, in order; the phase's next ones are read ahead."""
        numbers = message["updates"]
        drawn = numbers[0] == self._next and message["last"] == self._last
        if message["state"] or message["holds"] != self._holds or not drawn:
            self._begin(message)
        found = [next(self._drawn)[1] for _ in numbers]
        self._next = numbers[-1] + 1
        return found

    def _begin(self, message: dict) -> None:
        if self._drawn is not None:
            self._drawn.close()  # Its thread reads the index, which changes now.
        self._catch_up(message)
        draw = self._replay.sample_fn(self._config.batch_size)
        self._last = message["last"]
        numbers = range(message["updates"][0], self._last + 1)
        self._drawn = prefetch(draw, numbers, depth=2 * len(message["updates"]))

    def _catch_up(self, message: dict) -> None:
        """Indexes the chief's episodes; waits where they cannot be seen yet."""
        self._holds, until = message["holds"], time.monotonic() + PATIENCE
        self._replay.follow(message["episodes"])
        while [self._replay.episodes, self._replay.steps(1)] != self._holds:
            if time.monotonic() > until:
                raise ReplayError(
                    f"{self._folder}: holds {self._replay.episodes} episodes of "
                    f"{self._replay.steps(1)} transitions here, for the chief {self._holds[0]} of "
                    f"{self._holds[1]}; all processes need the same --logdir"
                )
            time.sleep(0.5)
            self._replay.load(message["episodes"], tidy=False)
