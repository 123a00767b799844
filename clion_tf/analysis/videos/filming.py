"""Episodes filmed at any size while the agent sees its 64x64 images. Knows no network."""

import functools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from PIL import Image
from tqdm import tqdm

from clion_tf.envs import EnvSpec, RemoteEnv, SupervisedEnvs
from clion_tf.pictures import picture_rows
from clion_tf.replay.episode_files import Episode
from clion_tf.replay.episode_player import Policy, run_episode
from clion_tf.replay.observation_shapes import DTYPES

# Called with the episode's number and the agent steps done in it.
OnStep = Callable[[int, int], None]


class Film(NamedTuple):
    """One episode of T frames.

    pictures: uint8 [T, H, W, 3] of `EnvSpec.picture_size`, None where the spec has none.
    steps: int [T], environment steps done at each frame.
    """

    episode: Episode
    pictures: np.ndarray | None
    steps: np.ndarray

    @property
    def seen(self) -> tuple[str, ...]:
        """Keys of what a world model is told of the episode: observations and actions."""
        return (*(key for key in DTYPES if key in self.episode), "action")


class _Filmed:
    """An environment whose pictures and step counts are kept as an episode runs."""

    def __init__(self, env: RemoteEnv):
        self._env, self.action_space = env, env.action_space
        self.send_reset, self.send_step = env.send_reset, env.send_step
        self.pictures: list[np.ndarray] = []
        self.steps: list[int] = []

    def receive_reset(self) -> dict[str, np.ndarray]:
        observation = self._env.receive_reset()
        self._keep(observation, 0)
        return observation

    def receive_step(self) -> Any:
        result = self._env.receive_step()
        self._keep(result[0], self.steps[-1] + result[4]["steps"])
        return result

    def _keep(self, observation: dict[str, np.ndarray], steps: int) -> None:
        self.steps.append(steps)
        if "picture" in observation:
            self.pictures.append(observation["picture"])


def film_episode(env: RemoteEnv, policy: Policy, number: int, on_step: OnStep) -> Film:
    """Plays and films the episode of that number."""
    filmed = _Filmed(env)
    episode = run_episode(filmed, policy, number, functools.partial(on_step, number))
    shown = np.stack(filmed.pictures) if filmed.pictures else None
    return Film(episode, shown, np.array(filmed.steps))


def film_episodes(
    policy: Policy,
    spec: EnvSpec,
    count: int,
    on_step: OnStep,
    timeout: float = 120.0,
    restarts: int = 10,
) -> Iterator[Film]:
    """Films episodes 0 ... count - 1, one after the other.

    Args:
      timeout, restarts: see RemoteEnv and SupervisedEnvs.

    Raises:
      EnvError: when the environment cannot be made or fails too often.
    """
    with SupervisedEnvs(lambda: RemoteEnv(spec, timeout), restarts) as envs:
        envs.wait_ready()  # One that cannot be made at all is not tried again.
        for number in range(count):
            one = functools.partial(film_episode, policy=policy, number=number, on_step=on_step)
            yield envs.attempt(lambda each, one=one: one(each[0]), lambda: None)


def film_agent(trained, spec: EnvSpec, count: int) -> Iterator[Film]:
    """Films the evaluation policy of a `loading.TrainedAgent`, with a bar on a terminal."""
    config = trained.config
    length = -(-spec.time_limit // spec.action_repeat)
    with tqdm(total=count * length, unit="step", desc="playing", disable=None) as bar:

        def on_step(number: int, step: int) -> None:
            bar.update(number * length + step - bar.n)

        yield from film_episodes(
            trained.policy(), spec, count, on_step, config.worker_timeout, config.env_restarts
        )


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
