"""The processes and devices of one run, and how the chief keeps the others in step.

Before each call of the update the chief sends the others the updates' numbers and how many
episodes to draw from; they read the same folder and draw the same batches. A message is a sum
over replicas, to which the others add zeros and their votes, so it is also a barrier.
"""

import contextlib
import dataclasses
import functools
import json
import logging
import re
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from clion_tf.config import Config, ConfigError, changed, different, from_flagfile, to_flagfile
from clion_tf.console import FAILED, handling, stop_signals
from clion_tf.distributed.replicated_agent import (
    PeerLost,
    ReplicatedAgent,
    collective_errors,
    error_text,
)
from clion_tf.files import user_path
from clion_tf.learning import replica_sums
from clion_tf.logdir.run_folder import RunFolder
from clion_tf.replay.observation_shapes import Shapes
from clion_tf.replay.replay_buffer import Batch, Replay, ReplayError, prefetch
from clion_tf.training import hardware, training_process
from clion_tf.training.run_state import Interrupted, Run

_log = logging.getLogger(__name__)

LONGEST = 1 << 14  # Bytes of the longest message; all options take about 2,100.
PATIENCE = 60.0  # Seconds for another machine's file to be seen here: network folders lag.
_HOW = '{"cluster": {"worker": ["host:port", ...]}, "task": {"type": "worker", "index": 0}}'


def take_part(config: Config, environ: Mapping[str, str]) -> int:
    """One process's part in a run; returns the exit code. Raises ConfigError or PeerLost."""
    team = Team(config, *check(config, environ))
    if not team.chief:
        with stop_signals() as stop:
            return follow(team, lambda: bool(stop))
    code = FAILED
    try:
        code = training_process.train(config, team)
        return code
    finally:
        team.end(code)


def check(config: Config, environ: Mapping[str, str]) -> tuple[int, int]:
    """The number of this process, 0 for the chief, and how many there are; or ConfigError."""
    if config.agent != "clion":
        raise ConfigError(f"--strategy={config.strategy}: not with --agent={config.agent}")
    if config.jit == "on":
        raise ConfigError(f"--jit=on: not with --strategy={config.strategy}; leave it at auto")
    if config.strategy == "mirrored":
        return 0, 1
    text = environ.get("TF_CONFIG", "")
    if not text:
        raise ConfigError(f"--strategy=multiworker: set TF_CONFIG to who takes part: {_HOW}")
    try:
        found = json.loads(text)
        jobs = {"chief": [], "worker": [], **found["cluster"]}
        kind, index = found["task"]["type"], found["task"]["index"]
        addresses = [*jobs["chief"], *jobs["worker"]]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(f"TF_CONFIG: not of the form {_HOW} ({error!r})") from error
    if len(jobs) > 2 or len(jobs["chief"]) > 1:
        raise ConfigError(f"TF_CONFIG: only workers, and one chief, take part; use {_HOW}")
    for address in addresses:
        found = re.fullmatch(r"\S+:(\d{1,5})", str(address))
        if not found or not 0 < int(found[1]) < 2**16 or addresses.count(address) > 1:
            raise ConfigError(f"TF_CONFIG: {address!r} is not host:port, or is there twice")
    found = jobs.get(kind, []) if isinstance(kind, str) else []
    if type(index) is not int or not 0 <= index < len(found):
        raise ConfigError(f"TF_CONFIG: its cluster has no {kind} number {index}")
    _check_batch(config, len(addresses), "processes in TF_CONFIG")
    return index + (len(jobs["chief"]) if kind == "worker" else 0), len(addresses)


def _check_batch(config: Config, parts: int, what: str) -> None:
    """Refuses a batch that cannot be split into equal parts: weights and means rely on that."""
    if config.batch_size % parts:
        divisible = f"not divisible by the {parts} {what} (--strategy={config.strategy})"
        raise ConfigError(f"--batch_size={config.batch_size}: {divisible}")


def follow(team: "Team", stopping: Callable[[], bool]) -> int:
    """Makes the same updates as the chief until it ends the run; returns the chief's exit code."""
    agent: ReplicatedAgent
    source: Source
    while True:
        message, stop = team.exchange(vote=stopping())
        if "end" in message:
            team.heard()
            _log.info("the chief ended the run with code %d", message["end"])
            return message["end"]
        if "agent" in message:
            size, discrete, observed = message["agent"]
            observed = {key: tuple(shape) for key, shape in observed.items()}
            agent = team.agent(size, discrete, observed)
            source = Source(team.config, {**observed, "action": (size,)})
        elif not stop:
            if message["state"]:
                agent.share_state()
            agent.train_several(source.batches(message), updates_of(message))


def updates_of(message: dict) -> range:
    """The numbers of the updates that the chief tells of."""
    return range(message["first"], message["first"] + message["count"])


class Team:
    """This process's part in a run of several replicas; any method may raise PeerLost."""

    def __init__(self, config: Config, index: int, count: int):
        self.config, self.chief, self._alone = config, index == 0, count == 1
        # The collectives of CPUs do not compile, and an update has them in its middle.
        self.precision, _, device = hardware.prepare(dataclasses.replace(config, jit="off"))
        self.strategy = _strategy(config, index, count)
        replicas = self.strategy.num_replicas_in_sync
        _check_batch(config, replicas, "replicas")
        self.device = f"{device}, {replicas} replicas"
        if replicas == 1:
            self.device = f"{device}, 1 replica, as there is one device only"
        self._exchange = tf.function(self._exchange_all, autograph=False)
        self._agent: ReplicatedAgent | None = None
        self._told_state: int | None = None  # The rollback that the others' state is of.
        self._compare_options()

    def agent(self, action_size: int, discrete: bool, observed: Shapes) -> ReplicatedAgent:
        """The agent on all replicas; the chief's call makes the others build theirs."""
        if self.chief:
            self.exchange({"agent": [action_size, discrete, observed]})
        how = action_size, discrete, observed, self.precision
        self._agent = ReplicatedAgent(self.strategy, self.config, *how)
        return self._agent

    def announce(self, run: Run, numbers: Sequence[int], last: int) -> None:
        """Has the others make these updates (`last` ends the phase), or raises Interrupted."""
        state, replay = run.counters.rollbacks, run.replay
        message: dict[str, Any] = {"first": numbers[0], "count": len(numbers), "last": last}
        message |= {"state": self._told_state != state}
        message |= {"episodes": replay.next_index, "holds": [len(replay), replay.transitions]}
        _, stop = self.exchange(message)
        if stop:
            raise Interrupted
        if self._agent and self._told_state != state:
            self._agent.share_state()
            self._told_state = state

    def end(self, code: int) -> None:
        """Tells the others that the run is over; where one is gone, they learn it from that."""
        if self._agent is None or not self._agent.broken:
            with contextlib.suppress(PeerLost):
                self.exchange({"end": code})
                self.heard()

    def heard(self) -> None:
        """Waits until all have the last message: one that ends cuts off what is on its way."""
        with contextlib.suppress(PeerLost):  # Another has waited already, and ended.
            self.exchange({})

    def exchange(self, message: dict | None = None, vote: bool = False) -> tuple[dict, bool]:
        """(the chief's message, whether any process voted); all call it together."""
        if self._alone:
            return message or {}, vote
        text = b"" if message is None else json.dumps(message).encode()
        sent = np.zeros(LONGEST + 1, np.int32)
        sent[: len(text)] = np.frombuffer(text, np.uint8)
        sent[LONGEST] = vote
        with collective_errors():
            heard = self._exchange(tf.constant(sent)).numpy()
        return json.loads(heard[:LONGEST].astype(np.uint8).tobytes().rstrip(b"\0")), heard[-1] > 0

    def _exchange_all(self, sent: tf.Tensor) -> tf.Tensor:
        def one(sent: tf.Tensor) -> tf.Tensor:
            # A process has as many voices as replicas; the chief's message counts once.
            words = sent[:LONGEST] if replica_sums.rank() == 0 else tf.zeros_like(sent[:LONGEST])
            return replica_sums.total(tf.concat([words, sent[LONGEST:]], 0))

        return self.strategy.experimental_local_results(self.strategy.run(one, (sent,)))[0]

    def _compare_options(self) -> None:
        """Refuses processes that would compute something else."""
        ours = dataclasses.replace(self.config, precision=self.precision)
        message, _ = self.exchange({"options": to_flagfile(ours)} if self.chief else None)
        theirs = from_flagfile(message["options"])
        odd = changed(theirs, ours)
        # May change between runs, but not between those who draw the same batch.
        pairs = different(theirs, ours).items()
        odd |= {name: pair for name, pair in pairs if name in ("replay_capacity", "precision")}
        _, any_odd = self.exchange({} if self.chief else None, vote=bool(odd))
        if any_odd:
            self.heard()
        if odd:
            text = ", ".join(f"--{n}={new} (the chief: {old})" for n, (old, new) in odd.items())
            raise ConfigError(f"other options than the chief's: {text}")
        if any_odd:
            raise ConfigError("another process was started with other options, and says which")


def _strategy(config: Config, index: int, count: int) -> tf.distribute.Strategy:
    tf.get_logger().setLevel(logging.ERROR)
    if config.strategy == "mirrored":
        return tf.distribute.MirroredStrategy()
    _log.info("process %d of %d: waiting for the others", index, count)
    # Here TensorFlow waits where no handler of Python's runs; Ctrl-C must end it all the same.
    with handling(signal.SIG_DFL, signal.SIGINT):
        try:
            return tf.distribute.MultiWorkerMirroredStrategy()
        except tf.errors.OpError as error:
            apart = f"TF_CONFIG: its processes do not come together ({error_text(error)})"
            advice = "is each of them started, with an address of its own that is free?"
            raise ConfigError(f"{apart}; {advice}") from error


class Source:
    """The batches of the updates that the chief tells of, from its episodes."""

    def __init__(self, config: Config, shapes: Shapes):
        self._folder = RunFolder(user_path(config.logdir).absolute()).episodes
        drawn = config.batch_length, config.seed, config.dataset_balance
        self._replay = Replay(self._folder, *drawn, shapes, config.replay_transitions)
        self._draw = functools.partial(self._replay.sample, config.batch_size)
        self._drawn = prefetch(self._draw, ())
        self._last: int | None = None  # The update that ends the phase which `_drawn` is of.

    def batches(self, message: dict) -> list[Batch]:
        """The batches of a message's updates, in order; the phase's next ones are read ahead."""
        numbers, last = updates_of(message), message["last"]
        if last != self._last:
            self._drawn.close()  # Its thread reads the index, which changes now.
            self._catch_up(message["episodes"], message["holds"])
            phase = range(numbers[0], last + 1)
            self._drawn, self._last = prefetch(self._draw, phase, depth=2 * len(numbers)), last
        return [next(self._drawn)[1] for _ in numbers]

    def _catch_up(self, count: int, holds: list[int]) -> None:
        """Indexes the chief's episodes; waits where they cannot be seen yet."""
        until = time.monotonic() + PATIENCE
        while (found := [self._replay.load(count, tidy=False), self._replay.transitions]) != holds:
            if time.monotonic() > until:
                here = f"holds {found[0]} episodes of {found[1]} transitions here"
                chief = f"for the chief {holds[0]} of {holds[1]}"
                same = "all processes need the same --logdir"
                raise ReplayError(f"{self._folder}: {here}, {chief}; {same}")
            time.sleep(0.5)
