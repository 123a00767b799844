"""Environments whose methods return what they must not, each `task='odd_returns:<name>'`."""

import enum
import threading
from fractions import Fraction

import numpy as np
from env_fakes import CountingEnv
from gymnasium import spaces


class Odd(CountingEnv):
    """Observes what it is given: a value at reset, another in each step."""

    def __init__(
        self, space=None, reset=None, step=None, reward=1.0, flags=(False, False), info=()
    ):
        super().__init__()
        self.observation_space = spaces.Box(-np.inf, np.inf, (3,)) if space is None else space
        good = np.zeros(3)
        self._seen = [good if reset is None else reset, good if step is None else step]
        self._reward, self._flags, self._info = reward, flags, dict(info)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self._seen[0], self._info

    def step(self, action):
        super().step(action)
        return self._seen[1], self._reward, *self._flags, self._info


class Short(Odd):
    """As of the API before Gymnasium."""

    def reset(self, *, seed=None, options=None):
        return super().reset(seed=seed)[0]


class Four(Odd):
    def step(self, action):
        observation, reward, terminated, _, info = super().step(action)
        return observation, reward, terminated, info


class Unseen(CountingEnv):
    def render(self):
        return None if self.steps else np.zeros((8, 8, 3), np.uint8)


class Numbers:
    """What cannot be made an array."""

    def __array__(self, dtype=None, copy=None):
        raise RuntimeError("no numbers here")


class Subclass(np.ndarray):
    """An array of a class that only this module has."""


class Own(spaces.Discrete):
    """A space of a class that only this module has."""


class Phase(enum.Enum):
    ONE = 1


def odd_box():
    env = Odd(info={"lock": threading.Lock(), "phase": Phase.ONE, "self": threading})
    env._seen = [np.zeros(3).view(Subclass)] * 2
    env._reward = np.ones(()).view(Subclass)
    env.action_space = Own(3)
    env.renderer = threading.Lock()
    return env


DICT = spaces.Dict({"speed": spaces.Box(-1, 1, (2,)), "gear": spaces.Discrete(3)})
CAMERA = spaces.Dict({"camera": spaces.Box(0, 255, (8, 8, 3), np.uint8)})
DICE = spaces.MultiDiscrete([2, 3])
ENVIRONMENTS = {
    "fine": Odd,
    "foreign": odd_box,
    "api_reset": Short,
    "api_step": Four,
    "unseen": Unseen,
    "shorter": lambda: Odd(reset=np.zeros(2)),
    "shorter_step": lambda: Odd(step=np.zeros(2)),
    "axes": lambda: Odd(step=np.zeros((3, 1))),
    "none": lambda: Odd(step={}),
    "ragged": lambda: Odd(step=[[1], [1, 2]]),
    "text": lambda: Odd(step=np.array(["a", "b", "c"])),
    "complex": lambda: Odd(step=np.zeros(3, complex)),
    "array": lambda: Odd(step=Numbers()),
    "nan": lambda: Odd(step=np.array([0, np.nan, 0])),
    "inf": lambda: Odd(step=np.array([0, 0, -np.inf])),
    "large": lambda: Odd(reset=np.array([0.5, 1e300, 2.0])),
    "grid": lambda: Odd(
        spaces.Box(-9, 9, (2, 2)), np.zeros((2, 2)), np.array([[0, 0], [np.nan, 0]])
    ),
    "key": lambda: Odd(DICT, {"speed": np.zeros(2), "gear": 0}, {"speed": np.zeros(2)}),
    "no_dict": lambda: Odd(DICT, np.zeros(2)),
    "part": lambda: Odd(DICT, {"speed": np.zeros(4), "gear": 0}),
    "part_nan": lambda: Odd(DICT, {"speed": np.array([0, np.nan]), "gear": 0}),
    "gear": lambda: Odd(DICT, {"speed": np.zeros(2), "gear": 3}),
    "half_gear": lambda: Odd(DICT, {"speed": np.zeros(2), "gear": 1.0}),
    "dice": lambda: Odd(DICE, np.array([1, 3])),
    "bits": lambda: Odd(spaces.MultiBinary(2), np.array([1, 2])),
    "camera": lambda: Odd(CAMERA, {"camera": np.zeros((8, 8, 3))}),
    "camera_size": lambda: Odd(CAMERA, {"camera": np.zeros((8, 9, 3), np.uint8)}),
    "reward_none": lambda: Odd(reward="good"),
    "reward_nan": lambda: Odd(reward=np.float32("nan")),
    "reward_inf": lambda: Odd(reward=10**400),
    "reward_large": lambda: Odd(reward=1e39),
    "reward_sum": lambda: Odd(reward=6e15),
    "reward_two": lambda: Odd(reward=np.ones(2)),
    "reward_complex": lambda: Odd(reward=1j),
    "reward_array": lambda: Odd(reward=np.array([1], np.int8)),
    "reward_fraction": lambda: Odd(reward=Fraction(1, 2)),
    "flag_none": lambda: Odd(flags=(None, False)),
    "flag_text": lambda: Odd(flags=(False, "no")),
    "flag_number": lambda: Odd(flags=(0.5, False)),
    "flag_array": lambda: Odd(flags=(np.array([False, True]), False)),
    "flags_kinds": lambda: Odd(flags=(np.bool_(True), 1)),
    "beyond": lambda: Odd(spaces.Box(-1, 1, (3,)), step=np.array([0, 0, 1.5])),
    "lists": lambda: Odd(step=[1, 2, 3]),
}


def __getattr__(name):
    if name not in ENVIRONMENTS:
        raise AttributeError(name)
    return lambda spec: ENVIRONMENTS[name]()
