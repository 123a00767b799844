"""The processes and devices of one run, and how the chief keeps the others in step.

The chief runs Algorithm 1 as always. Before each call of the update it tells the others its number
and the episodes that it may draw from; they read the same folder, draw the same batch and each
replica takes its rows. What is told travels as a sum over replicas of tf.distribute, to which only
the chief adds anything, so a message is also where all wait for each other.
"""

import contextlib
import dataclasses
import functools
import json
import logging
import signal
import time
from collections.abc import Callable, Generator, Sequence

import numpy as np
import tensorflow as tf

from clion_tf.config import Config, ConfigError, changed, from_flagfile, to_flagfile
from clion_tf.console import FAILED, stop_signals
from clion_tf.distributed.replicated_agent import ReplicatedAgent, collective, told
from clion_tf.distributed.tf_config import PeerLost, Task, check_batch
from clion_tf.files import user_path
from clion_tf.learning import replica_sums
from clion_tf.logdir.run_folder import RunFolder
from clion_tf.replay.observation_shapes import Shapes
from clion_tf.replay.replay_buffer import Batch, Replay, ReplayError, prefetch
from clion_tf.training import hardware, training_process
from clion_tf.training.run_state import Interrupted, Run

log = logging.getLogger(__name__)

LONGEST = 1 << 14  # Bytes of a message: all options take a quarter of it.
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


def follow(team: "Team", stopping: Callable[[], bool]) -> int:
    """Until the chief ends the run; returns its exit code. `stopping` asks it to stop."""
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
                agent.take_state_of_first()
            agent.train_several(source.batches(message), message["updates"])


class Team:
    """This process's part in a run of several replicas; the chief's if `task.chief`.

    Raises ConfigError if the batch cannot be split or the processes have other options; this and
    all methods PeerLost if another process is gone.
    """

    def __init__(self, config: Config, task: Task):
        self.config, self.task = config, task
        # The collectives of CPUs do not compile, and an update has them in its middle.
        self.precision, _, device = hardware.prepare(dataclasses.replace(config, jit="off"))
        self.strategy = _strategy(config, task)
        count = self.strategy.num_replicas_in_sync
        check_batch(config, count, "replicas")
        alone = config.strategy == "mirrored" and count == 1
        only = ", as there is one device only" if alone else ""
        self.device = f"{device}, {count} {'replica' if count == 1 else 'replicas'}{only}"
        self._exchange = tf.function(self._exchange_all, autograph=False)
        self._agent: ReplicatedAgent | None = None
        self._told_state: int | None = None  # The rollback that the others' state is of.
        self._compare_options()

    def agent(self, action_size: int, discrete: bool, observed: Shapes) -> ReplicatedAgent:
        """The agent on all replicas; the chief's call makes the others build theirs."""
        if self.task.chief:
            self.exchange({"agent": [action_size, discrete, observed]})
        self._agent = ReplicatedAgent(
            self.strategy, self.config, action_size, discrete, self.precision, observed
        )
        return self._agent

    def announce(self, run: Run, numbers: Sequence[int], last: int) -> None:
        """Tells the others to make these updates with the chief, of a phase that ends with `last`.

        Raises Interrupted if one of them was asked to stop.
        """
        if self.task.count == 1:
            return
        changed_state = self._told_state != run.counters.rollbacks
        message = {
            "updates": [*numbers],
            "last": last,
            "episodes": run.replay.next_index,
            "holds": [len(run.replay), run.replay.transitions],
            "state": changed_state,
        }
        _, stop = self.exchange(message)
        if stop:
            raise Interrupted
        if changed_state:
            self._agent.take_state_of_first()
            self._told_state = run.counters.rollbacks

    def end(self, code: int) -> None:
        """Tells the others that the run is over; where one is gone, they learn it from that."""
        if self._agent is None or not self._agent.broken:
            with contextlib.suppress(PeerLost):
                self.exchange({"end": code})

    def exchange(self, message: dict | None = None, vote: bool = False) -> tuple[dict, bool]:
        """(the chief's message, whether any process voted); all call it together."""
        if self.task.count == 1:
            return message, vote
        text = b"" if message is None else json.dumps(message).encode()
        sent = np.zeros(LONGEST + 1, np.int32)
        sent[: len(text)] = np.frombuffer(text, np.uint8)
        sent[LONGEST] = vote
        with collective():
            heard = self._exchange(tf.constant(sent)).numpy()
        return json.loads(heard[:LONGEST].astype(np.uint8).tobytes().rstrip(b"\0")), heard[-1] > 0

    def _exchange_all(self, sent: tf.Tensor) -> tf.Tensor:
        def one(sent):
            # A process has as many voices as replicas; the chief's message counts once.
            words = sent[:LONGEST] if replica_sums.rank() == 0 else tf.zeros_like(sent[:LONGEST])
            return replica_sums.total(tf.concat([words, sent[LONGEST:]], 0))

        return self.strategy.experimental_local_results(self.strategy.run(one, (sent,)))[0]

    def _compare_options(self) -> None:
        """Refuses processes that would compute something else."""
        message = {"options": to_flagfile(self.config), "precision": self.precision}
        message, _ = self.exchange(message if self.task.chief else None)
        theirs = from_flagfile(message["options"])
        odd = changed(theirs, self.config)
        # May change between runs, but not between those who draw the same batch.
        if theirs.replay_capacity != self.config.replay_capacity:
            odd["replay_capacity"] = theirs.replay_capacity, self.config.replay_capacity
        if message["precision"] != self.precision:
            odd["precision"] = message["precision"], self.precision
        _, any_odd = self.exchange({} if self.task.chief else None, vote=bool(odd))
        if odd:
            text = ", ".join(f"--{n}={new} (the chief: {old})" for n, (old, new) in odd.items())
            raise ConfigError(f"other options than the chief's: {text}")
        if any_odd:
            raise ConfigError("another process was started with other options, and says which")


def _strategy(config: Config, task: Task) -> tf.distribute.Strategy:
    tf.get_logger().setLevel(logging.ERROR)
    if config.strategy == "mirrored":
        return tf.distribute.MirroredStrategy()
    log.info("process %d of %d: waiting for the others", task.index, task.count)
    # Here TensorFlow waits where no handler of Python's runs; Ctrl-C must end it all the same.
    before = signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        return tf.distribute.MultiWorkerMirroredStrategy()
    except tf.errors.OpError as error:
        raise ConfigError(
            f"TF_CONFIG: its processes do not come together ({told(error)}); is each of them "
            "started, with an address of its own that is free?"
        ) from error
    finally:
        signal.signal(signal.SIGINT, before)


class Source:
    """The batches of the updates that the chief tells of, from its episodes."""

    def __init__(self, config: Config, shapes: Shapes):
        self._folder = RunFolder(user_path(config.logdir).absolute()).episodes
        self._replay = Replay(
            self._folder,
            config.batch_length,
            config.seed,
            config.dataset_balance,
            shapes,
            config.replay_transitions,
        )
        self._draw = functools.partial(self._replay.sample, config.batch_size)
        self._drawn: Generator[tuple[int, Batch]] | None = None
        self._last: int | None = None  # The update that ends the phase which `_drawn` is of.

    def batches(self, message: dict) -> list[Batch]:
        """The batches of a message's updates, in order; the phase's next ones are read ahead."""
        numbers, last = message["updates"], message["last"]
        if last != self._last:
            if self._drawn is not None:
                self._drawn.close()  # Its thread reads the index, which changes now.
            self._catch_up(message["episodes"], message["holds"])
            phase = range(numbers[0], last + 1)
            self._drawn, self._last = prefetch(self._draw, phase, depth=2 * len(numbers)), last
        return [next(self._drawn)[1] for _ in numbers]

    def _catch_up(self, count: int, holds: list[int]) -> None:
        """Indexes the chief's episodes; waits where they cannot be seen yet."""
        until = time.monotonic() + PATIENCE
        while [self._replay.load(count, tidy=False), self._replay.transitions] != holds:
            if time.monotonic() > until:
                raise ReplayError(
                    f"{self._folder}: holds {len(self._replay)} episodes of "
                    f"{self._replay.transitions} transitions here, for the chief {holds[0]} of "
                    f"{holds[1]}; all processes need the same --logdir"
                )
            time.sleep(0.5)
