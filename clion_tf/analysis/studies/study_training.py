"""Trains an agent, or parts of it, on recorded episodes and judges it on held-out ones."""

import tempfile
from collections.abc import Callable, Collection, Mapping

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from clion_tf.agents.clion import Agent, Losses
from clion_tf.analysis import evaluation, trained_agent
from clion_tf.analysis.studies import judging
from clion_tf.analysis.studies.study_settings import PARTS
from clion_tf.analysis.trained_agent import Saved, TrainedAgent
from clion_tf.config import Config
from clion_tf.learning.noise import Noise
from clion_tf.logdir.checkpoints import CheckpointError, restore
from clion_tf.logdir.run_folder import RunFolder
from clion_tf.replay.replay_buffer import Replay, ReplayError
from clion_tf.training import hardware

SEQUENCES = 8  # Of each episode to judge by.


class PartialAgent(Agent):
    """An agent of which only the parts of PARTS in `learning` learn; all else as Agent's."""

    def __init__(self, *args, learning: Collection[str] = tuple(PARTS), **kwargs):
        super().__init__(*args, **kwargs)
        self._learning = frozenset(learning)

    def gradients(self, data: dict[str, tf.Tensor], noise: Noise) -> tuple[dict[str, list], Losses]:
        """As Agent's, of the parts that learn only, so that no other optimiser steps."""
        grads, out = super().gradients(data, noise)
        learning = {loss for part in self._learning for loss in PARTS[part]}
        return {loss: grads[loss] for loss in grads if loss in learning}, out

    def update(self, data: dict[str, tf.Tensor], noise: Noise) -> dict[str, tf.Tensor]:
        """As Agent's, but only with the metrics of the parts that learn and of the world model.

        TensorFlow does not compute what no metric and no step reads, except loops (models/scan.py).
        """
        kept, found = {"model", *self._learning}, super().update(data, noise)
        return {name: found[name] for name in found if name.partition("/")[0] in kept}

    def take_over(
        self, saved: Mapping[str, np.ndarray], anew: Collection[str] = (), moments: bool = False
    ) -> list[str]:
        """Assigns a checkpoint's variables, except the learning rates, to the parts.

        Parts in `anew` keep their own; so do the behaviour and the evaluator if their sizes differ
        from the checkpoint's. With `moments` all optimisers keep their own state. Returns the
        parts that keep their weights. Raises CheckpointError if the world model does not fit.
        """
        fresh = []
        for part in PARTS:
            mine = self._variables(part, "weights/" if moments else "")
            try:
                if part not in anew:
                    restore(mine, {name: saved[name] for name in mine if name in saved})
                    continue
            except CheckpointError:
                if part == "model":
                    raise
            fresh += [part] if mine else []
        return fresh

    def _variables(self, part: str, kind: str) -> dict[str, tf.Variable]:
        """Those of a part by their names in a checkpoint, which begin so."""
        found = {}
        for loss in PARTS[part]:
            if optimizer := self.optimizers.get(loss):
                found |= {f"weights/{variable.path}": variable for variable in optimizer.variables}
                state = optimizer.named_state().items()
                found |= {f"optimizer/{n}": v for n, v in state if not n.endswith("/learning_rate")}
        return {name: variable for name, variable in found.items() if name.startswith(kind)}


def episodes(saved: Saved, heldout: int, new: bool) -> tuple[Callable[[Config], Replay], dict]:
    """(function that makes a setting's replay, sequences [N, L, ...] of `heldout` other episodes).

    The replay draws batches as a run with the setting's options would. It has the same episodes
    for all settings, even if the run continues; ReplayError if the run has removed some. If `new`,
    the saved agent, which was trained on all of the run's episodes, plays the held-out ones now;
    else they are the run's newest, and the replay leaves them out. Raises ReplayError if the run
    has too few episodes, EnvError or Refused if playing fails.
    """
    config, folder = saved.config, RunFolder(saved.config.logdir).episodes
    replay = Replay(folder, config.batch_length)
    held, count = replay.load(tidy=False), replay.next_index
    there = replay.paths

    def drawn(setting: Config) -> Replay:
        if not all(path.exists() for path in there):
            text = "its run has removed episodes since this began; wait until it has ended"
            raise ReplayError(f"{folder}: {text}")
        how = (setting.batch_length, setting.seed, setting.dataset_balance)
        found = Replay(folder, *how, capacity=setting.replay_transitions)
        found.load(count, tidy=False)
        found.leave_out(0 if new else heldout)
        return found

    if new:
        return drawn, played_by(trained_agent.build(saved), heldout)
    if held <= heldout:
        raise ReplayError(f"{folder}: has {held} episodes, so {heldout} cannot be held out")
    return drawn, _sequences(replay, config.batch_length, heldout)


def played_by(trained: TrainedAgent, count: int) -> dict:
    """Sequences [N, L, ...] of new episodes of a run's agent, seen as in its training."""
    config = trained.config
    seen = {"rotation_degrees": config.rotation_degrees, "blank_frames": config.blank_frames}
    spec = evaluation.spec(config, **seen)
    with tempfile.TemporaryDirectory() as folder:
        replay = Replay(folder, config.batch_length)
        for _, episode in evaluation.play(trained.policy, config, spec, count, 1):
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
    config: Config, saved: Saved, replay: Replay, unseen: dict[str, np.ndarray], title: str,
    *, updates: int, learning: Collection[str], start: Mapping[str, np.ndarray] | None,
    anew: Collection[str], anew_moments: bool, play: int,
) -> dict:  # fmt: skip
    """Trains an agent of these options on the replay and judges it by unseen sequences.

    Equal arguments give equal results on one machine. The run `saved` says what the agent acts on
    and sees; `title` is of the bar on a terminal. `start` is a checkpoint's variables, see
    `PartialAgent.take_over`; `play`, how many evaluation episodes to play afterwards. Raises
    CheckpointError if the start is of another world model, ReplayError if no episode is long
    enough, EnvError if playing fails.

    Returns:
      `metrics`, means over the last tenth of the updates; `found` by `judging.judge`, with
      `return`, the mean of the `returns` of the episodes played; `skipped`, how many updates were
      not made because of numbers that are not finite; `anew`, the parts with new weights.
    """
    precision, jit, _ = hardware.prepare(config)
    options = {**Agent.sizes_of(saved.config, saved.weights), "precision": precision, "jit": jit}
    agent = PartialAgent(config, **options, learning=learning)
    fresh = agent.take_over(start, anew, anew_moments) if start else list(PARTS)
    rows = []
    for number in tqdm(range(updates), title, unit="update", leave=False, disable=None):
        rows.append(agent.train(replay.sample(config.batch_size, number), number))
    values = dict(zip(agent.metric_names, np.array(rows, np.float64).T, strict=True))
    skipped = int(values.pop("model/skipped").sum())
    last = max(1, updates // 10)
    found, returns = judging.judge(agent, unseen), []
    if play:
        trained = TrainedAgent(config, agent, saved.counters, saved.path)
        played = evaluation.play(trained.policy, config, evaluation.spec(config), play, 1)
        returns = [float(episode["reward"].sum()) for _, episode in played]
        found["return"] = float(np.mean(returns))
    return {
        "metrics": {name: float(each[-last:].mean()) for name, each in values.items()},
        "found": found,
        "skipped": skipped,
        "anew": fresh,
        "returns": returns,
    }
