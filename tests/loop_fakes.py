"""An environment that counts and an agent that checks, for tests of the loop."""

import hashlib
from collections.abc import Collection
from typing import ClassVar

import gymnasium
import numpy as np

from clion_tf.envs import WorkerError


class CountingEnv:
    """Like RemoteEnv: frame t of episode e has the pixels (e, t); rewards are t.

    It fails once for each number in `fails`, which it takes out, and always in `broken` episodes.
    """

    renderer = "fake"
    description: ClassVar = {"action": {}}

    def __init__(
        self, length: int = 10, fails: list[int] | None = None, broken: Collection[int] = ()
    ):
        self.action_space = gymnasium.spaces.Box(-1, 1, (2,), np.float32)
        image = gymnasium.spaces.Box(0, 255, (64, 64, 3), np.uint8)
        self.observation_space = gymnasium.spaces.Dict({"image": image})
        self._length, self._fails = length, [] if fails is None else fails
        self._broken = broken
        self.episodes = []

    def wait_ready(self):
        return self

    def close(self):
        pass

    def _obs(self):
        image = np.full((64, 64, 3), self._step, np.uint8)
        image[0] = self.episodes[-1]
        return {"image": image}

    def reset(self, episode: int):
        self.episodes.append(episode)
        self._step = 0
        return self._obs()

    def send(self, command, argument):
        self._answer = lambda: getattr(self, command)(argument)

    def receive(self):
        return self._answer()

    def step(self, action):
        if self._step == 3 and self.episodes[-1] in self._fails:
            self._fails.remove(self.episodes[-1])
            raise WorkerError("the fake broke", episode=self.episodes[-1])
        if self._step == 3 and self.episodes[-1] in self._broken:
            raise WorkerError(f"always at 0x{id(self):x}", episode=self.episodes[-1])
        assert np.shape(action) == (2,) and np.abs(action).max() <= 1
        self._step += 1
        done = self._step == self._length
        return self._obs(), float(self._step), False, done, {}


class Variable:
    """What a checkpoint needs of a variable."""

    def __init__(self, value):
        self.value = np.asarray(value)

    @property
    def shape(self):
        return self.value.shape

    def numpy(self):
        return self.value

    def assign(self, value):
        self.value = np.asarray(value)


class CheckingAgent:
    """Its one weight is a digest of every batch it was trained on, in order."""

    has_world_model = True
    observed: ClassVar = {"image": (64, 64, 3)}
    action_size, discrete = 2, False
    metric_names = ("model/model_loss", "behaviour/actor_loss", "model/skipped")

    def __init__(self, skips=lambda update: False):
        self._digest = Variable(np.zeros(32, np.uint8))
        self._skips = skips
        self.updates, self.acted = [], []

    def named_state(self):
        return {"weights/digest": self._digest}

    def parameter_counts(self):
        return {"model": 32}

    def summary(self, layers):
        return ["digest"]

    def train(self, batch, update):
        self.updates.append(update)
        if self._skips(update):
            return np.array([np.nan, np.nan, 1.0])
        parts = [self._digest.value.tobytes(), str(update).encode()]
        parts += [np.ascontiguousarray(batch[key]).tobytes() for key in sorted(batch)]
        digest = hashlib.sha256(b"".join(parts)).digest()
        self._digest.assign(np.frombuffer(digest, np.uint8))
        return np.array([float(digest[0]), float(update), 0.0])

    def train_several(self, batches, updates):
        rows = [self.train(*one) for one in zip(batches, updates, strict=True)]
        return np.stack(rows)

    def initial(self, batch):
        return 0

    def snapshot_networks(self):
        self._remembered = self._digest.value

    def policy(self, observation, state, step, training, amount, earlier=False):
        # The state counts steps of the episode, and the image must be of this very step.
        [image] = observation.values()
        assert image[0, 1, 0, 0] == state == step[1]
        self.acted.append((training, *step, amount))
        value = self._remembered if earlier else self._digest.value
        digest = value.astype(np.float32) / 255
        action = digest[None, :2] * (1 if training else -1)
        return np.repeat(action, len(image), 0), state + 1
