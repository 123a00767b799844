"""Videos of new episodes at any size, and of what a world model makes of these episodes."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image
from tqdm import tqdm

from clion_tf.analysis.evaluation import play
from clion_tf.envs import EnvSpec
from clion_tf.learning import augmentation, reconstruction
from clion_tf.learning.noise import Noise
from clion_tf.models import Models
from clion_tf.pictures import picture_rows
from clion_tf.replay.episode_files import Episode
from clion_tf.replay.episode_player import Observation


class Film(NamedTuple):
    """One episode of T frames."""

    episode: Episode
    pictures: np.ndarray | None  # uint8 [T, H, W, 3] of `EnvSpec.picture_size`, where it has one.
    steps: np.ndarray  # int [T], environment steps done at each frame.

    def sequence(self) -> dict[str, np.ndarray]:
        """What a world model is told, observations and actions, [1, T, ...]."""
        rest = ("reward", "discount")
        return {key: value[None] for key, value in self.episode.items() if key not in rest}


def film_agent(trained, spec: EnvSpec, count: int) -> Iterator[Film]:
    """`play`s episodes of a `TrainedAgent`, with a bar on a terminal; errors as there."""
    pictures: list[np.ndarray] = []
    steps: list[int] = []

    def keep(observed: Observation, more: int) -> None:
        if not more:  # An episode begins, perhaps again because its environment failed.
            pictures.clear()
            steps.clear()
        steps.append(more)
        bar.update(len(steps) > 1)
        if "picture" in observed:
            pictures.append(observed["picture"])

    length = -(-spec.time_limit // spec.action_repeat)
    with tqdm(total=count * length, unit="step", desc="playing", disable=None) as bar:
        for _, episode in play(trained.policy, trained.config, spec, count, 1, on_observation=keep):
            yield Film(episode, np.stack(pictures) if pictures else None, np.cumsum(steps))


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


class Column(NamedTuple):
    """One episode in a video of the world model."""

    rows: np.ndarray  # uint8 [T, 3, 64, 64, 3]: truth, model, error.
    steps: np.ndarray  # As of a film.
    labels: Sequence[Sequence[str]]  # Of the rows, at each frame.


def open_loop(models: Models, film: Film, length: int, noise: Noise) -> Column:
    """Sequences of `length` frames, one after the other, predicted after CONTEXT frames each.

    Frames that fill no sequence at an episode's end are left out.
    """
    count = len(film.steps) // length
    data = {
        key: value[0, : count * length].reshape(count, length, *value.shape[2:])
        for key, value in film.sequence().items()
    }
    seen = {key: value[:, : reconstruction.CONTEXT] for key, value in data.items()}
    post = reconstruction.posterior(models, seen, noise)
    predicted = reconstruction.open_loop(models, post, data["action"], noise)
    context = min(reconstruction.CONTEXT, length - 1)
    model = ["reconstruction"] * context
    model += [f"prediction, {ahead} ahead" for ahead in range(1, length - context + 1)]
    labels = [("truth", what, "error") for what in model] * count
    return _column(data, predicted.numpy(), film, labels)


def memory(
    models: Models, film: Film, noise: Noise, sigma: float, units: str, resample: bool,
    sigma2: float,
) -> Column:  # fmt: skip
    """The whole episode, reconstructed from augmented memory; of `units` see `--sigma_units`."""
    data, state = film.sequence(), "(h', s')" if resample else "(h', s)"
    post = reconstruction.posterior(models, data, noise)
    sigma = sigma * float(augmentation.memory_unit(post["deter"], units))
    noisy = reconstruction.augmented_memory(post, noise, sigma, resample, sigma2)
    decoded = reconstruction.decode(models, noisy).numpy()
    labels = [("input", f"from {state}, sigma {sigma:g}", "error")] * len(film.steps)
    return _column(data, decoded, film, labels)


def _column(data: dict[str, np.ndarray], model: np.ndarray, film: Film, labels: list) -> Column:
    rows = picture_rows.comparison(reconstruction.true_images(data).numpy(), model)
    return Column(rows.reshape(-1, *rows.shape[2:]), film.steps[: len(labels)], labels)


def clips(
    columns: Sequence[Column], size: int, most: int, length: int = 50
) -> Iterator[np.ndarray]:
    """Columns side by side in pieces of at most `length` frames, uint8 [T, 3 * size, N * size, 3].

    A column that ends before the others keeps its last frame. After `most` frames it ends.
    """
    total = min(most, max(len(column.steps) for column in columns))
    for start in range(0, total, length):
        frames = range(start, min(start + length, total))
        yield np.stack([_frame(columns, frame, size) for frame in frames])


def _frame(columns: Sequence[Column], frame: int, size: int) -> np.ndarray:
    shown = [(one, min(frame, len(one.steps) - 1)) for one in columns]
    canvas = picture_rows.table(np.stack([one.rows[at] for one, at in shown], axis=1), size)
    longest = max(columns, key=lambda one: len(one.steps))
    for row, label in enumerate(longest.labels[frame]):
        picture_rows.write(canvas, label, 0, row * size, size)
    for number, (one, at) in enumerate(shown):
        text = f"step {one.steps[at]}"
        if len(columns) > 1:
            text = f"episode {number + 1}, {text}"
        picture_rows.write(canvas, f"\n{text}", number * size, 0, size)
    return np.asarray(canvas)
