"""Trains an agent on recorded episodes and shows it others that it has not seen."""

import pathlib
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from clion_tf import hardware
from clion_tf.agent import Agent
from clion_tf.config import Config
from clion_tf.offline import judging
from clion_tf.replay import Replay, ReplayError

SEQUENCES = 8  # Of each held-out episode.


class Study(NamedTuple):
    """One setting's outcome.

    metrics: means of the training metrics over the last tenth of the updates.
    found: what `judging.judge` says of the held-out episodes.
    skipped: updates that were not made because of numbers that are not finite.
    """

    metrics: dict[str, float]
    found: dict[str, float]
    skipped: int


def split(folder: pathlib.Path, config: Config, heldout: int) -> tuple[Replay, dict]:
    """The episodes but the newest `heldout` as a replay, and those as sequences [N, L, ...].

    Raises:
      ReplayError: if there are not more episodes than that.
    """
    counting = Replay(folder, config.batch_length, config.seed)
    count = counting.load()
    if count <= heldout:
        raise ReplayError(f"{folder}: has {count} episodes, so {heldout} cannot be held out")
    parts = []
    for number in range(count - heldout, count):
        counting.load(number + 1)
        parts.append(counting.newest(config.batch_length, SEQUENCES))
    whole = {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
    counting.load(count - heldout)
    return counting, whole


def study(
    config: Config,
    replay: Replay,
    unseen: dict[str, np.ndarray],
    updates: int,
    on_update: Callable[[int], None] = lambda number: None,
) -> Study:
    """Trains a new agent of these options on the replay and judges it by unseen sequences.

    Equal options and episodes give equal results on one machine.

    Args:
      config: the options; the seed is that of weights, batches and noise.
      replay: what batches are drawn from.
      unseen: sequences [N, L, ...], see `split`.
      updates: how many to make.
      on_update: told the number of updates made.
    """
    precision, jit, _ = hardware.prepare(config)
    shapes = {key: unseen[key].shape[2:] for key in ("image", "vector") if key in unseen}
    agent = Agent(config, unseen["action"].shape[-1], False, precision, jit, shapes)
    rows, last = [], max(1, updates // 10)
    skipped = 0
    for number in range(updates):
        values = agent.train(replay.sample(config.batch_size, number), number).numpy()
        named = dict(zip(agent.metric_names, values.tolist(), strict=True))
        skipped += int(named.pop("model/skipped"))
        rows = [*rows, named][-last:]
        on_update(number + 1)
    means = {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}
    return Study(means, judging.judge(agent, config, unseen), skipped)
