"""Trains an agent on recorded episodes and shows it others that it has not seen."""

import pathlib
import tempfile
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import numpy as np

from clion_tf import evaluation, hardware, loading
from clion_tf.agent import Agent
from clion_tf.config import Config
from clion_tf.interaction import AgentPolicy
from clion_tf.loading import Saved, TrainedAgent
from clion_tf.observations import Shapes
from clion_tf.offline import judging
from clion_tf.offline.going_on import PartialAgent
from clion_tf.offline.settings import PARTS
from clion_tf.replay import Replay, ReplayError

Kind = tuple[int, bool, Shapes]

SEQUENCES = 8  # Of each episode to judge by.


class Plan(NamedTuple):
    """What is done with each setting.

    updates: how many to make.
    learning: the parts that learn, see settings.PARTS.
    start: a checkpoint's variables to go on from; empty: a new agent.
    anew: parts that begin anew all the same.
    play: evaluation episodes to play afterwards, with the setting's options.
    """

    updates: int
    learning: tuple[str, ...] = tuple(PARTS)
    start: Mapping[str, np.ndarray] = {}
    anew: tuple[str, ...] = ()
    play: int = 0


class Study(NamedTuple):
    """One setting's outcome.

    metrics: means of the training metrics over the last tenth of the updates.
    found: what `judging.judge` says of the unseen episodes; `return`, the mean of those played.
    skipped: updates that were not made because of numbers that are not finite.
    anew: parts that began anew.
    returns: of the episodes played.
    """

    metrics: dict[str, float]
    found: dict[str, float]
    skipped: int
    anew: list[str]
    returns: list[float]


def episodes(saved: Saved, heldout: int, new: bool) -> tuple[Replay, dict]:
    """A run's episodes as a replay, and `heldout` others to judge by, sequences [N, L, ...].

    Args:
      new: those to judge by are played now, by the agent as it was saved, which has trained on all
        of the replay's; else they are the newest of the run's, and the replay lacks them.

    Raises:
      ReplayError: if the run has too few.
      EnvError: if playing fails.
    """
    config, folder = saved.config, pathlib.Path(saved.config.logdir) / "episodes"
    if not new:
        return split(folder, config, heldout)
    replay = Replay(folder, config.batch_length, config.seed)
    replay.load(tidy=False)
    return replay, played(loading.build(saved), heldout)


def played(trained: TrainedAgent, count: int) -> dict:
    """Sequences [N, L, ...] of new episodes of a run's agent, rotated as in its training.

    Raises:
      EnvError: if playing fails.
    """
    config = trained.config
    spec = evaluation.spec(config, config.rotation_degrees)
    with tempfile.TemporaryDirectory() as folder:
        replay = Replay(folder, config.batch_length, config.seed)
        for _, episode in evaluation.play(trained.policy, spec, count, 1, config.worker_timeout):
            replay.add(episode)
        return _sequences(replay, config, range(1, count + 1))


def split(folder: pathlib.Path, config: Config, heldout: int) -> tuple[Replay, dict]:
    """The episodes but the newest `heldout` as a replay, and those as sequences [N, L, ...].

    Raises:
      ReplayError: if there are not more episodes than that.
    """
    replay = Replay(folder, config.batch_length, config.seed)
    count = replay.load()
    if count <= heldout:
        raise ReplayError(f"{folder}: has {count} episodes, so {heldout} cannot be held out")
    whole = _sequences(replay, config, range(count - heldout + 1, count + 1))
    replay.load(count - heldout)
    return replay, whole


def _sequences(replay: Replay, config: Config, counts: Iterable[int]) -> dict:
    """Those of the last of so many episodes, for each of `counts`."""
    parts = []
    for count in counts:
        replay.load(count)
        parts.append(replay.newest(config.batch_length, SEQUENCES))
    return {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}


def kind(saved: Saved) -> Kind:
    """What the run's agent acts on and sees."""
    return Agent.described(saved.config, saved.weights)


def study(
    config: Config,
    kind: Kind,
    replay: Replay,
    unseen: dict[str, np.ndarray],
    plan: Plan,
    on_update: Callable[[int], None] = lambda number: None,
) -> Study:
    """Trains an agent of these options on the replay and judges it by unseen sequences.

    Equal options, episodes and plans give equal results on one machine.

    Args:
      config: the options; the seed is that of weights, batches and noise.
      kind: size of actions, whether they are discrete, and shapes of observations.
      replay: what batches are drawn from.
      unseen: sequences [N, L, ...], see `episodes`.
      plan: what to do.
      on_update: told the number of updates made.

    Raises:
      CheckpointError: if the plan's start is of another world model.
      EnvError: if episodes to play fail.
    """
    precision, jit, _ = hardware.prepare(config)
    size, discrete, observed = kind
    agent = PartialAgent(config, size, discrete, precision, jit, observed, plan.learning)
    anew = agent.go_on(plan.start, plan.anew) if plan.start else list(PARTS)
    rows, last = [], max(1, plan.updates // 10)
    skipped = 0
    for number in range(plan.updates):
        values = agent.train(replay.sample(config.batch_size, number), number).numpy()
        named = dict(zip(agent.metric_names, values.tolist(), strict=True))
        skipped += int(named.pop("model/skipped"))
        rows = [*rows, named][-last:]
        on_update(number + 1)
    means = {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}
    found, returns = judging.judge(agent, config, unseen), []
    if plan.play:
        returns = _returns(agent, config, plan.play)
        found["return"] = float(np.mean(returns))
    return Study(means, found, skipped, anew, returns)


def _returns(agent: Agent, config: Config, count: int) -> list[float]:
    def policy() -> AgentPolicy:
        return AgentPolicy(agent, training=False, amount=config.eval_noise)

    return evaluation.evaluate(policy, config, config.test_rotation, count, 1).returns
