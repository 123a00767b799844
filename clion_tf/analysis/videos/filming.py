"""Episodes filmed at any size while the agent sees its 64x64 images. Knows no network."""

import functools
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from PIL import Image
from tqdm import tqdm

from clion_tf.envs import EnvSpec, RemoteEnv, SupervisedEnvs
from clion_tf.pictures import picture_rows
from clion_tf.replay.episode_files import Episode
from clion_tf.replay.episode_player import run_episode
from clion_tf.replay.observation_shapes import DTYPES


class Film(NamedTuple):
    """One episode of T frames."""

    episode: Episode
    pictures: np.ndarray | None  # uint8 [T, H, W, 3] of `EnvSpec.picture_size`, where it has one.
    steps: np.ndarray  # int [T], environment steps done at each frame.

    def sequence(self) -> dict[str, np.ndarray]:
        """What a world model is told, observations and actions, [1, T, ...]."""
        seen = (*(key for key in DTYPES if key in self.episode), "action")
        return {key: self.episode[key][None] for key in seen}


class _Filmed:
    """An environment whose pictures and step counts are kept as an episode runs."""

    def __init__(self, env: RemoteEnv):
        self._env, self.action_space = env, env.action_space
        self.send = env.send
        self.pictures: list[np.ndarray] = []
        self.steps: list[int] = []

    def receive(self) -> Any:
        answer = self._env.receive()
        observation = answer[0] if self.steps else answer  # The first is of `reset`.
        self.steps.append(self.steps[-1] + answer[4]["steps"] if self.steps else 0)
        if "picture" in observation:
            self.pictures.append(observation["picture"])
        return answer


def film_agent(trained, spec: EnvSpec, count: int) -> Iterator[Film]:
    """Films a `TrainedAgent` in episodes 0 ... count - 1, with a bar on a terminal.

    Raises:
      EnvError: when the environment cannot be made or fails too often.
    """
    config, policy = trained.config, trained.policy()
    length = -(-spec.time_limit // spec.action_repeat)

    def start() -> RemoteEnv:
        return RemoteEnv(spec, config.worker_timeout)

    def film(number: int, each: list[RemoteEnv]) -> Film:
        def on_step(step: int) -> None:
            bar.update(number * length + step - bar.n)

        filmed = _Filmed(each[0])
        episode = run_episode(filmed, policy, number, on_step)
        shown = np.stack(filmed.pictures) if filmed.pictures else None
        return Film(episode, shown, np.array(filmed.steps))

    with (
        tqdm(total=count * length, unit="step", desc="playing", disable=None) as bar,
        SupervisedEnvs(start, config.env_restarts) as envs,
    ):
        envs.wait_ready()  # One that cannot be made at all is not tried again.
        for number in range(count):
            yield envs.attempt(functools.partial(film, number), lambda: None)


def captioned(film: Film, title: str = "") -> np.ndarray:
    """The pictures with the return so far and the environment step, and a title, drawn in."""
    returns = np.cumsum(film.episode["reward"], dtype=np.float64)
    frames = []
    for picture, so_far, step in zip(film.pictures, returns, film.steps, strict=True):
        canvas = Image.fromarray(picture)
        text = f"return {so_far:.1f}\nstep {step}\n{title}".rstrip()
        picture_rows.write(canvas, text, 0, 0, min(canvas.size))
        frames.append(np.asarray(canvas))
    return np.stack(frames)
