"""Environments registered with gymnasium, for `task='gym:gym_fakes:<Id>'`."""

from typing import ClassVar

import gymnasium
from env_fakes import CountingEnv


class Unseen(CountingEnv):
    """Declares no rgb_array."""

    metadata: ClassVar = {"render_modes": ["human"]}

    def __init__(self, render_mode=None):
        super().__init__()


class Undrawn(CountingEnv):
    """Its renderer's package is missing."""

    def __init__(self, render_mode=None):
        super().__init__()

    def render(self):
        raise gymnasium.error.DependencyNotInstalled("painter is not installed, run `pip`")


class Unrendered(Undrawn):
    """Forgets to render."""

    def render(self):
        return None


class Needy(gymnasium.Env):
    def __init__(self, render_mode=None):
        import a_package_that_does_not_exist  # noqa: F401


for kind in (Unseen, Undrawn, Unrendered, Needy):
    gymnasium.register(f"{kind.__name__}-v0", kind)
