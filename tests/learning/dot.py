"""A cheap rendered task with a known optimum: steer a dot onto a ring and keep it there.

    .venv/bin/python -m clion_tf.run --flagfile=tests/learning/dot.flags --task=dot:make --logdir=…

with this folder in PYTHONPATH. No OpenGL: an image is drawn in a tenth of a millisecond.
With --blank_frames it is a task in which memory matters: `blanked_return` tells how much.
"""

import gymnasium
import numpy as np

STEPS = 50  # Of an episode.
SPEED = 0.2  # Way of a full action; the field is [-1, 1] in both directions.
TARGET = np.array([0.4, -0.3])
WIDTH = 0.35  # Distance from the target at which the reward has fallen to a half.
RADIUS = 0.3  # Of the dot and the ring.
PIXELS = np.linspace(-1.1, 1.1, 64)


class Dot(gymnasium.Env):
    """Actions [2] move the dot; the reward is 1 on the target and has a slope everywhere."""

    render_mode = "rgb_array"
    action_space = gymnasium.spaces.Box(-1.0, 1.0, (2,), np.float32)
    observation_space = gymnasium.spaces.Box(-1.0, 1.0, (2,), np.float64)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self._place = self.np_random.uniform(-1, 1, 2)
        return self._place.copy(), {}

    def step(self, action):
        self._place = move(self._place, np.asarray(action))
        return self._place.copy(), reward(self._place), False, False, {}

    def render(self):
        image = np.zeros((64, 64, 3), np.uint8)
        image[np.abs(_distance(TARGET) - RADIUS) < 0.04] = (60, 120, 60)
        # So large that the image loss, a sum of squares, has something to gain from its place.
        image[_distance(self._place) < RADIUS] = (255, 230, 80)
        return image


def make(spec) -> gymnasium.Env:
    """The task, as `--task=dot:make` wants it."""
    return Dot()


def move(place: np.ndarray, action: np.ndarray) -> np.ndarray:
    """Where an action leads."""
    return np.clip(place + SPEED * np.clip(action, -1, 1), -1, 1)


def reward(place: np.ndarray) -> float:
    """Of being there."""
    return float(1 / (1 + np.sum((place - TARGET) ** 2) / WIDTH**2))


def _distance(place: np.ndarray) -> np.ndarray:
    return np.hypot(PIXELS[None, :] - place[0], PIXELS[:, None] - place[1])


def episode_return(place: np.ndarray, choose) -> float:
    """Return of a policy `choose(place) -> action` from a first place."""
    total = 0.0
    for _ in range(STEPS):
        place = move(place, choose(place))
        total += reward(place)
    return total


def optimum(place: np.ndarray) -> float:
    """The best return: each coordinate goes straight, as nothing couples them."""
    return episode_return(place, lambda p: (TARGET - p) / SPEED)


def blanked_return(place: np.ndarray, seen: np.ndarray, memory: bool) -> float:
    """Return of going straight where only some frames are seen, bool [STEPS].

    With memory, from the first of them on; without it stays where it is whenever it sees nothing.
    """
    known = np.maximum.accumulate(seen) if memory else seen
    moments = iter(known)
    return episode_return(place, lambda p: next(moments) * (TARGET - p) / SPEED)
