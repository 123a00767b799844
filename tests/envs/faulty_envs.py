"""Environments that break a promise each, for `tools/check_env.py` to find."""

import fcntl
import os
import time

import gymnasium
import numpy as np
from env_fakes import CountingEnv


class Numbers(CountingEnv):
    """Its third control step: a reward that cannot be; the discount in info is nobody's."""

    def step(self, action):
        observation, reward, terminated, truncated, info = super().step(action)
        if self.steps == 3:
            return observation, np.inf, terminated, truncated, {"discount": 1.5}
        return observation, reward, terminated, truncated, info


class Nan(CountingEnv):
    """Its third control step: an observation that cannot be."""

    def step(self, action):
        observation, *rest = super().step(action)
        return np.full(1, np.nan) if self.steps == 3 else observation, *rest


class Declared(CountingEnv):
    """Observes more than it declares."""

    def __init__(self):
        super().__init__()
        self.observation_space.high[:] = 3


class Remembering(CountingEnv):
    """Its rewards go on from episode to episode."""

    total = 0

    def step(self, action):
        self.total += 1
        observation, _, *rest = super().step(action)
        return observation, self.total, *rest


class Process(CountingEnv):
    """Its rewards are of its process."""

    def step(self, action):
        observation, _, *rest = super().step(action)
        return observation, os.getpid(), *rest


class Shape(CountingEnv):
    """Observes less than it declares."""

    def __init__(self):
        super().__init__()
        self.observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (2,), np.float64)


class Raising(CountingEnv):
    def step(self, action):
        if self.steps == 2:
            raise ZeroDivisionError("nothing to divide by")
        return super().step(action)


class Unclosable(CountingEnv):
    def close(self):
        raise OSError("device busy")


class Slow(CountingEnv):
    def close(self):
        time.sleep(0.2)


class Locking(CountingEnv):
    """Has a file of its number for itself, as others have ports, until its process ends."""

    def __init__(self, spec):
        super().__init__()
        self.file = open(os.path.join(os.environ["LOCKS"], str(spec.index)), "w")
        fcntl.flock(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        HELD.append(self.file)


HELD = []


class Ends(CountingEnv):
    """Fails at the lower end of its actions only."""

    def step(self, action):
        if action[0] == -1:
            raise ValueError("action out of range")
        return super().step(action)


def make(spec):
    return globals()[spec.task.rpartition("_")[2].title()]()


make_numbers = make_nan = make_declared = make_shape = make_remembering = make_process = make
make_raising = make_ends = make_unclosable = make_slow = make


def locking(spec):
    return Locking(spec)
