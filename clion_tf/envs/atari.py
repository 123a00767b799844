"""Atari games as the original Dreamer plays them: `atari_pong` or `atari:Pong`; needs ale-py."""

import difflib
import re
from typing import Any

import gymnasium
import numpy as np

from clion_tf.envs.env_spec import EnvError, EnvSpec, UnknownTaskError

_NOOP = 0
_STICKY = 0.25  # Probability that the emulator repeats the action before instead, per frame.
_PREFIX = re.compile("atari[_:]")


def is_atari_task(task: str) -> bool:
    """Whether a task's name is one of these."""
    return _PREFIX.match(task) is not None


def load(spec: EnvSpec) -> gymnasium.Env:
    """The game of a task; raises UnknownTaskError, EnvError if ale-py is missing."""
    try:
        from ale_py import roms
    except ModuleNotFoundError as error:
        raise EnvError(f"{spec.task} needs ale-py: pip install ale-py") from error
    # 'space_invaders' and 'SpaceInvaders' are the same.
    games = {game.replace("_", ""): game for game in roms.get_all_rom_ids()}
    word = _PREFIX.sub("", spec.task, count=1).replace("_", "").lower()
    if word not in games:
        nearest = difflib.get_close_matches(word, games, n=3, cutoff=0.4)
        shown = ", ".join(f"atari_{games[name]}" for name in nearest)
        hint = f"; did you mean {shown}?" if nearest else ""
        raise UnknownTaskError(f"no Atari game for task {spec.task!r}{hint}")
    return Atari(games[word], spec.action_repeat)


class Atari(gymnasium.Env):
    """One game, an episode a life; actions are held, so that a step is an agent's step.

    An episode is a new game that begins with 1 to `noops` frames of doing nothing. It terminates
    with the game or, by `life_done`, with the loss of a life. Observations are uint8
    [210, 160, 3], the larger value of the last two frames (games flicker); the first one is a
    frame alone. info has 'steps', the frames played, and 'discount', 0.0 if terminated.

    As danijar/dreamer's wrapper, except that all randomness comes from `reset`'s seed, and that
    the last observation of an episode shows its last two frames (there: older ones).

    repeat: frames for which an action is held. sticky: see _STICKY.
    """

    render_mode = "rgb_array"

    def __init__(
        self, game: str, repeat: int, noops: int = 30, life_done: bool = True, sticky: bool = True
    ):
        import ale_py

        ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)  # Else it greets on stderr.
        self.metadata = {"render_modes": ["rgb_array"]}
        self._env = ale_py.AtariEnv(
            game, frameskip=1, repeat_action_probability=_STICKY if sticky else 0.0
        )
        self._repeat, self._noops, self._life_done = repeat, noops, life_done
        self.action_space = self._env.action_space
        self.observation_space = self._env.observation_space
        blank: np.ndarray = np.zeros(self.observation_space.shape or (), np.uint8)
        self._screens = [blank, blank]

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Begin a game; with a seed it depends on nothing that happened before."""
        super().reset(seed=seed, options=options)
        screen, info = self._env.reset(seed=seed)
        for _ in range(self.np_random.integers(1, self._noops + 1)):
            screen, _, terminated, truncated, info = self._env.step(_NOOP)
            if terminated or truncated:
                screen, info = self._env.reset()
        self._lives = info["lives"]
        self._screens = [np.zeros_like(screen), screen]
        return self.render(), {}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Hold an action; action: index into the game's own actions."""
        total, steps, over = 0.0, 0, False
        while steps < self._repeat and not over:
            screen, reward, terminated, truncated, info = self._env.step(action)
            total += float(reward)
            steps += 1
            terminated = terminated or (self._life_done and info["lives"] < self._lives)
            self._lives = info["lives"]
            self._screens = [self._screens[1], screen]
            over = terminated or truncated
        found = {"discount": 0.0 if terminated else 1.0, "steps": steps}
        return self.render(), total, terminated, truncated, found

    def render(self) -> np.ndarray:
        """The present observation, uint8 [210, 160, 3]."""
        # With every frame a step there is no pair of frames that belong together.
        return np.maximum(*self._screens) if self._repeat > 1 else self._screens[1]

    def close(self) -> None:
        self._env.close()
