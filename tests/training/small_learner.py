"""A learner of one number, whose update compiles in no time and fails as it is told."""

import tensorflow as tf

from clion_tf.agents.base import Learner
from clion_tf.config import Config
from clion_tf.learning.noise import Noise

ACTIONS = 2


class SmallLearner(Learner):
    """`fails(jit)` is called while an update is traced; what it returns is added to the loss."""

    state_keys = ()
    sequence_length = 3

    def __init__(self, config: Config, jit: bool, fails=lambda jit: 0.0):
        self.weight, self.optimizers = tf.Variable(1.5), {}
        self.fails, self.calls = fails, []
        observed = {"image": (4, 4, 3), "vector": (5,)}
        super().__init__(config, ACTIONS, False, observed, jit=jit)

    def named_state(self):
        return {"weights/weight": self.weight}

    def parameter_counts(self):
        return {"model": 1}

    def summary(self, layers: bool = False):
        return ["small"]

    def update(self, data: dict, noise: Noise):
        extra = self.fails(self.jit)
        total = sum(tf.reduce_mean(tf.cast(value, tf.float32)) for value in data.values())
        self.weight.assign_add(1.0 + total + extra)
        return {"model/model_loss": total, "model/skipped": tf.constant(0.0)}

    def train(self, data, update):
        self.calls.append(1)
        return super().train(data, update)

    def train_several(self, batches, updates):
        self.calls.append(len(batches))
        return super().train_several(batches, updates)
