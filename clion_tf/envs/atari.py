"""Atari games as the original Dreamer plays them: `atari_pong` or `atari:Pong`; needs ale-py."""

import re

import gymnasium
import numpy as np

from clion_tf.envs.env_spec import EnvError, EnvSpec, UnknownTaskError, did_you_mean

NOOPS = 30  # At most so many frames of doing nothing begin an episode.
_NOOP = 0
_STICKY = 0.25  # Probability that the emulator repeats the action before instead, per frame.
PREFIX = re.compile("atari[_:]")


def load(spec: EnvSpec) -> gymnasium.Env:
    """The game of a task; raises UnknownTaskError, EnvError if ale-py is missing."""
    try:
        from ale_py import roms
    except ModuleNotFoundError as error:
        raise EnvError(f"{spec.task} needs ale-py: pip install ale-py") from error
    # 'space_invaders' and 'SpaceInvaders' are the same.
    games = {game.replace("_", ""): game for game in roms.get_all_rom_ids()}
    word = PREFIX.sub("", spec.task, count=1).replace("_", "").lower()
    if word not in games:
        hint = did_you_mean(f"atari_{word}", [f"atari_{game}" for game in games.values()])
        raise UnknownTaskError(f"no Atari game for task {spec.task!r}{hint}")
    # Where every frame is an agent's step, no two belong together.
    return Atari(games[word], flickers=spec.action_repeat > 1)


class Atari(gymnasium.Env):
    """One game; a step is one frame. An episode is a new game, until a life is lost or it ends.

    As danijar/dreamer's wrapper, except for what docs/environments.md says. Observations are uint8
    [210, 160, 3]; with `flickers` the maximum of the last two frames, except an episode's first.
    """

    render_mode = "rgb_array"

    def __init__(self, game: str, flickers: bool):
        import ale_py

        ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)  # Else it greets on stderr.
        self._env = ale_py.AtariEnv(game, frameskip=1, repeat_action_probability=_STICKY)
        self._flickers, self.metadata = flickers, {"render_modes": ["rgb_array"]}
        self.action_space = self._env.action_space
        self.observation_space = self._env.observation_space

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple:
        super().reset(seed=seed)
        screen, info = self._env.reset(seed=seed)
        for _ in range(self.np_random.integers(1, NOOPS + 1)):
            screen, _, terminated, truncated, info = self._env.step(_NOOP)
            if terminated or truncated:
                screen, info = self._env.reset()
        self._lives = info["lives"]
        self._screens = [np.zeros_like(screen), screen]
        return self.render(), {}

    def step(self, action: int) -> tuple:
        screen, reward, terminated, truncated, info = self._env.step(action)
        terminated = terminated or info["lives"] < self._lives
        self._lives = info["lives"]
        self._screens = [self._screens[1], screen]
        return self.render(), float(reward), terminated, truncated, {}

    def render(self) -> np.ndarray:
        """The present observation, uint8 [210, 160, 3]."""
        return np.maximum(*self._screens) if self._flickers else self._screens[1]

    def close(self) -> None:
        self._env.close()
