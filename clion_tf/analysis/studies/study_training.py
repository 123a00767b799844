"""Trains an agent on recorded episodes and shows it others that it has not seen."""

import pathlib
import tempfile
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from clion_tf.agents.clion import Agent
from clion_tf.analysis import evaluation, trained_agent
from clion_tf.analysis.studies import judging
from clion_tf.analysis.studies.partial_training import PartialAgent
from clion_tf.analysis.studies.study_settings import PARTS
from clion_tf.analysis.trained_agent import Saved, TrainedAgent
from clion_tf.config import Config
from clion_tf.logdir.run_folder import RunFolder
from clion_tf.replay.replay_buffer import Replay, ReplayError
from clion_tf.training import hardware

SEQUENCES = 8  # Of each episode to judge by.


class Plan(NamedTuple):
    """What is done with each setting."""

    updates: int
    learning: tuple[str, ...] = tuple(PARTS)
    start: Mapping[str, np.ndarray] = {}  # A checkpoint's variables to go on from; empty: none.
    anew: tuple[str, ...] = ()  # Parts that begin anew all the same.
    anew_moments: bool = False  # Whether Adam's moments do in the others too.
    play: int = 0  # Evaluation episodes to play afterwards, with the setting's options.


class Study(NamedTuple):
    """One setting's outcome."""

    metrics: dict[str, float]  # Means over the last tenth of the updates.
    found: dict[str, float]  # By `judging.judge`; `return`, the mean of those played.
    skipped: int  # Updates that were not made because of numbers that are not finite.
    anew: list[str]  # Parts that began anew.
    returns: list[float]  # Of the episodes played.


class Recorded(NamedTuple):
    """The episodes of a run to train on, the same ones for all settings while the run goes on."""

    folder: pathlib.Path
    count: int  # Index of the first that is left out because it came later.
    heldout: int = 0  # How many of the newest others are left out.

    def replay(self, config: Config) -> Replay:
        """To draw a setting's batches from, as a run of its options would."""
        capacity = config.replay_capacity // config.action_repeat or None
        drawn = (config.batch_length, config.seed, config.dataset_balance)
        replay = Replay(self.folder, *drawn, capacity=capacity)
        replay.load(self.count, tidy=False)
        replay.leave_out(self.heldout)
        return replay


def episodes(saved: Saved, heldout: int, new: bool) -> tuple[Recorded, dict]:
    """A run's episodes to train on, and `heldout` others to judge by, sequences [N, L, ...].

    Args:
      new: those to judge by are played now, by the agent as it was saved, which has trained on all
        of the run's; else they are the newest of the run's, and are not trained on.

    Raises:
      ReplayError: if the run has too few.
      EnvError: if playing fails.
    """
    config, folder = saved.config, RunFolder(saved.config.logdir).episodes
    replay = Replay(folder, config.batch_length)
    held = replay.load(tidy=False)
    if new:
        return Recorded(folder, replay.next_index), played(trained_agent.build(saved), heldout)
    if held <= heldout:
        raise ReplayError(f"{folder}: has {held} episodes, so {heldout} cannot be held out")
    unseen = _sequences(replay, config.batch_length, heldout)
    return Recorded(folder, replay.next_index, heldout), unseen


def played(trained: TrainedAgent, count: int) -> dict:
    """Sequences [N, L, ...] of new episodes of a run's agent, seen as in its training."""
    config = trained.config
    spec = evaluation.spec(config, config.rotation_degrees, config.blank_frames)
    with tempfile.TemporaryDirectory() as folder:
        replay = Replay(folder, config.batch_length)
        for _, episode in evaluation.play(trained.policy, spec, count, 1, config.worker_timeout):
            replay.add(episode)
        return _sequences(replay, config.batch_length, count)


def _sequences(replay: Replay, length: int, count: int) -> dict:
    """Sequences of the newest `count` episodes, oldest first; of one length.

    Episodes too short for a whole sequence are left out; if all are, all are cut to the shortest.
    """
    parts = [replay.newest(length, SEQUENCES, before) for before in reversed(range(count))]
    frames = [part["reward"].shape[1] for part in parts]
    common = length if length in frames else min(frames)
    parts = [part for part, has in zip(parts, frames, strict=True) if has >= common]
    return {key: np.concatenate([part[key][:, :common] for part in parts]) for key in parts[0]}


def study(
    config: Config,
    saved: Saved,
    recorded: Recorded,
    unseen: dict[str, np.ndarray],
    plan: Plan,
    on_update: Callable[[int], None] = lambda number: None,
) -> Study:
    """Trains an agent of these options on the replay and judges it by unseen sequences.

    Equal options, episodes and plans give equal results on one machine.

    Args:
      config: the options; the seed is that of weights, batches and noise.
      saved: the run, which says what the agent acts on and sees.
      recorded, unseen: see `episodes`.
      on_update: told the number of updates made.

    Raises:
      CheckpointError: if the plan's start is of another world model.
      ReplayError, EnvError: if no episode is long enough; if episodes to play fail.
    """
    precision, jit, _ = hardware.prepare(config)
    options = {**Agent.described(saved.config, saved.weights), "precision": precision, "jit": jit}
    agent = PartialAgent(config, **options, learning=plan.learning)
    anew = list(PARTS)
    if plan.start:
        anew = agent.go_on(plan.start, plan.anew, plan.anew_moments)
    replay, values = recorded.replay(config), []
    for number in range(plan.updates):
        values.append(agent.train(replay.sample(config.batch_size, number), number).numpy())
        on_update(number + 1)
    skipped = sum(row[agent.metric_names.index("model/skipped")] for row in values)
    last = np.mean(values[-max(1, plan.updates // 10) :], 0, np.float64).tolist()
    means = dict(zip(agent.metric_names, last, strict=True))
    del means["model/skipped"]
    found, returns = judging.judge(agent, config, unseen), []
    if plan.play:
        conditions = evaluation.Conditions(config.test_rotation, 0.0, config.test_blank)
        policy = TrainedAgent(config, agent, saved.counters, saved.path).policy
        returns = evaluation.evaluate(policy, config, conditions, plan.play, 1).returns
        found["return"] = float(np.mean(returns))
    return Study(means, found, int(skipped), anew, returns)
