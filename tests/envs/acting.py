"""Episodes of 6 agent steps whose rewards depend on actions and seed; `acting:KIND` is a task."""

import os
import pathlib
import time

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Dict


class Env(gymnasium.Env):
    observation_space = Dict({"image": Box(0, 255, (64, 64, 3), np.uint8)})
    action_space = Box(-1.0, 1.0, (2,), np.float32)
    renderer = "a pencil"

    def __init__(self, what=""):
        self.what = what

    def observe(self):
        return {"image": self.np_random.integers(0, 256, (64, 64, 3), np.uint8)}

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps = 0
        return self.observe(), {}

    def step(self, action):
        self.steps += 1
        reward = float(action[0] + self.np_random.uniform())
        if self.what == "once" and self.steps == 3:
            mark = pathlib.Path(os.environ["MARK"])
            if not mark.exists():
                mark.touch()
                os._exit(1)
        if self.what == "always" and self.steps == 3:
            raise RuntimeError("out of order")
        if self.what == "nan" and self.steps == 3:
            reward = float("nan")
        if self.what == "hangs" and self.steps == 3:
            time.sleep(1000)
        if self.what == "slow":
            time.sleep(0.05)
        end = 10_000 if self.what == "slow" else 12
        return self.observe(), reward, False, self.steps >= end, {}


def plain(spec):
    return Env()


def once(spec):
    return Env("once")


def always(spec):
    return Env("always")


def nan(spec):
    return Env("nan")


def hangs(spec):
    return Env("hangs")


def slow(spec):
    return Env("slow")


def broken(spec):
    raise ValueError("cannot be made")
