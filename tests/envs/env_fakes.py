"""Environments without OpenGL, each a factory for `task='env_fakes:<name>'`."""

import os
import subprocess
import sys
import threading
import time
from typing import ClassVar

import gymnasium
import numpy as np

from clion_tf.envs.env_spec import EnvError


class CountingEnv(gymnasium.Env):
    """Counts its calls; the reward of control step n is n, and pictures are noise by the seed."""

    metadata: ClassVar = {"render_modes": ["rgb_array"]}
    render_mode = "rgb_array"

    def __init__(self, size=(8, 8), low=-1.0, high=1.0, length=1000, terminates=False):
        self.action_space = gymnasium.spaces.Box(
            np.asarray(np.broadcast_to(low, (2,)), np.float32),
            np.asarray(np.broadcast_to(high, (2,)), np.float32),
        )
        self.observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (1,), np.float64)
        self.size, self.length, self.terminates = size, length, terminates
        self.steps = self.renders = 0
        self.actions = []

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps = 0
        return np.zeros(1), {}

    def step(self, action):
        self.steps += 1
        self.actions.append(action)
        over = self.steps >= self.length
        observation = np.full(1, float(self.steps))
        return observation, self.steps, over and self.terminates, over and not self.terminates, {}

    def render(self):
        self.renders += 1
        return self.np_random.integers(0, 256, (*self.size, 3), np.uint8)


class ImageEnv(CountingEnv):
    """Gives its image in the observation, and cannot render."""

    render_mode = None

    def __init__(self, size=(8, 8), dtype=np.uint8):
        super().__init__(size)
        image = gymnasium.spaces.Box(0, 255, (*size, 3), dtype)
        self.observation_space = gymnasium.spaces.Dict({"image": image})

    def _picture(self):
        return {"image": self.np_random.integers(0, 256, (*self.size, 3), np.uint8)}

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self._picture(), {}

    def step(self, action):
        return self._picture(), *super().step(action)[1:]

    def render(self):
        raise AssertionError("the observation has an image already")


class PicturedEnv(ImageEnv):
    """Renders what its image does not show: 40 x 80, brighter with each control step."""

    render_mode = "rgb_array"

    def render(self):
        return np.full((40, 80, 3), min(255, 10 * self.steps), np.uint8)


class DiscreteEnv(CountingEnv):
    """Three actions; fails if it gets anything else than a Python integer."""

    def __init__(self, size=(8, 8)):
        super().__init__(size)
        self.action_space = gymnasium.spaces.Discrete(3)

    def step(self, action):
        assert type(action) is int and self.action_space.contains(action)
        return super().step(action)


class FailingEnv(CountingEnv):
    """Its first action's sign decides: negative raises, with two lines; positive dies."""

    def step(self, action):
        if action[0] < 0:
            raise ZeroDivisionError("the first line\nand the second")
        if action[0] > 0:
            os._exit(3)
        return super().step(action)


class HangingEnv(CountingEnv):
    def step(self, action):
        time.sleep(1000)


class StartingEnv(HangingEnv):
    """Starts programs in each way that a simulator may, writes their ids to a file, and hangs."""

    def __init__(self):
        super().__init__()
        sleep = "import os, sys, time; print(os.getpid(), flush=True); time.sleep(600)"
        program = [sys.executable, "-c", sleep]
        with open(os.environ["PROGRAMS"], "a") as file:
            subprocess.Popen(program, stdout=file)
            # A group and a session of its own; then one whose parent ends at once.
            subprocess.Popen(program, stdout=file, start_new_session=True)
            daemon = "import os, subprocess, sys; subprocess.Popen(sys.argv[1:]); os._exit(0)"
            call = [sys.executable, "-c", daemon, *program]
            subprocess.run(call, stdout=file, start_new_session=True, check=True)
        # Without exec, so that it holds the worker's socket too.
        if os.fork() == 0:
            os.setsid()
            with open(os.environ["PROGRAMS"], "a") as file:
                file.write(f"{os.getpid()}\n")
            time.sleep(600)
        threading.Thread(target=time.sleep, args=(600,)).start()


class AbsentEnv(FailingEnv):
    """Needs something that is away: so many constructions fail as the file ABSENT says."""

    def __init__(self, failure):
        super().__init__()
        left = int(open(os.environ["ABSENT"]).read() or 0)
        if left:
            with open(os.environ["ABSENT"], "w") as file:
                file.write(f"{left - 1}")
            raise failure


def absent(spec):
    return AbsentEnv(ConnectionError("the server does not answer"))


def unrendered(spec):
    return AbsentEnv(EnvError("cannot render"))


class Drawing(gymnasium.Wrapper):
    def render(self):
        return np.full((32, 32, 3), 77, np.uint8)


def drawn(spec):
    return Drawing(undrawn(spec))


def undrawn(spec):
    return gymnasium.wrappers.OrderEnforcing(boxed(spec))  # Its render() asks the task's.


def starting(spec):
    return StartingEnv()


def counting(spec):
    return CountingEnv(spec.size)


def image(spec):
    return ImageEnv(spec.size)


def pictured(spec):
    return PicturedEnv(spec.size)


def float_image(spec):
    return ImageEnv(spec.size, np.float32)


def discrete(spec):
    return DiscreteEnv(spec.size)


def failing(spec):
    return FailingEnv(spec.size)


def hanging(spec):
    return HangingEnv(spec.size)


def broken(spec):
    raise ValueError("cannot be made")


def importing(spec):
    import a_module_that_does_not_exist  # noqa: F401


def dying(spec):
    os._exit(3)


class OwnActions(gymnasium.Env):
    """Observes its parts by name; takes actions of any space."""

    def __init__(self, action_space):
        self.action_space = action_space
        parts = {"speed": gymnasium.spaces.Box(-1, 1, (2, 2), np.float64)}
        parts["gear"] = gymnasium.spaces.Discrete(3, start=1)
        self.observation_space = gymnasium.spaces.Dict(parts)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return {"speed": np.zeros((2, 2)), "gear": 1}, {}

    def step(self, action):
        return {"speed": np.zeros((2, 2)), "gear": 1}, 0.0, False, False, {}


def boxed(spec):
    low, high = np.array([[-2, 0], [-1, -np.inf]]), np.array([[3, 0.1], [1, np.inf]])
    return OwnActions(gymnasium.spaces.Box(low, high, dtype=np.float64))


def counted(spec):
    return OwnActions(gymnasium.spaces.Discrete(4, start=-1))
