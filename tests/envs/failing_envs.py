"""Environments that raise, each somewhere else: `task='failing_envs:<place>'`."""

import failing_helper
from env_fakes import CountingEnv


class Mute(Exception):
    def __str__(self):
        raise RuntimeError("no words")


def raise_(error):
    raise error  # here: plain


class Failing(CountingEnv):
    """Calls a function in one of its methods."""

    def __init__(self, method, action):
        super().__init__()
        self._method, self._action = method, action
        self._maybe("construction")

    def _maybe(self, method):
        if method == self._method:
            self._action()

    def reset(self, *, seed=None, options=None):
        self._maybe("reset")
        return super().reset(seed=seed)

    def step(self, action):
        self._maybe("step")
        return super().step(action)

    def render(self):
        self._maybe("render")
        return super().render()

    def close(self):
        self._maybe("close")


ENVIRONMENTS = {
    "helper": ("step", failing_helper.divide),
    "library": ("reset", failing_helper.in_library),
    "numpy": ("step", failing_helper.in_numpy),
    "plain": ("construction", lambda: raise_(KeyError("x"))),
    "render": ("render", failing_helper.divide),
    "close": ("close", failing_helper.divide),
    "close_os": ("close", lambda: raise_(OSError("device busy"))),
    "exit": ("step", lambda: raise_(SystemExit(7))),
    "mute": ("step", lambda: raise_(Mute())),
    "long": ("step", lambda: raise_(ValueError("x" * 9999))),
}


def __getattr__(name):
    if name not in ENVIRONMENTS:
        raise AttributeError(name)
    return lambda spec: Failing(*ENVIRONMENTS[name])
