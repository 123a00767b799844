"""An agent that goes on from a run's checkpoint, all of it or parts: the rest stays as it is."""

from collections.abc import Collection, Mapping

import numpy as np
import tensorflow as tf

from clion_tf.agents.clion import Agent, Losses
from clion_tf.analysis.studies.study_settings import PARTS
from clion_tf.learning.noise import Noise
from clion_tf.logdir.checkpoints import LOSS_SCALE, CheckpointError


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
        """As Agent's, with the metrics of parts that learn only.

        TensorFlow leaves out what no metric and no step needs, but for loops (models/rssm.py).
        """
        found = super().update(data, noise)
        return {name: value for name, value in found.items() if self._wanted(name)}

    def _wanted(self, name: str) -> bool:
        if name.startswith("evaluator/weight"):  # Of what is imagined for the behaviour.
            return "behaviour" in self._learning
        return name == "model/skipped" or name.partition("/")[0] in self._learning

    def go_on(
        self, saved: Mapping[str, np.ndarray], anew: Collection[str] = (), moments: bool = False
    ) -> list[str]:
        """Takes a checkpoint's variables over, but for the learning rates.

        Parts of `anew`, and the behaviour or the evaluator where sizes differ, stay as they are;
        with `moments` so do all optimisers.

        Returns:
          the parts that do.

        Raises:
          CheckpointError: if the world model does not fit.
        """
        fresh = []
        for part in PARTS:
            mine = self._variables(part)
            fits = all(
                name in saved and saved[name].shape == tuple(variable.shape)
                for name, variable in mine.items()
                if not LOSS_SCALE.match(name)
            )
            if part == "model" and not fits:
                raise CheckpointError("checkpoint does not fit: its world model has other sizes")
            if part in anew or not fits:
                fresh += [part] if mine else []
                continue
            for name, variable in mine.items():
                # Loss scales are not there where the precision was another.
                if name in saved and not (moments and name.startswith("optimizer/")):
                    variable.assign(saved[name])
        return fresh

    def _variables(self, part: str) -> dict[str, tf.Variable]:
        """Those of a part by their names in a checkpoint."""
        found = {}
        for loss in PARTS[part]:
            if optimizer := self.optimizers.get(loss):
                found |= {f"weights/{variable.path}": variable for variable in optimizer.variables}
                state = optimizer.named_state()
                found |= {f"optimizer/{name}": variable for name, variable in state.items()}
        return {name: v for name, v in found.items() if not name.endswith("/learning_rate")}
