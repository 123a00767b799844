"""Fig. 3 of the paper and its table: how well world models decode memory with noise.

Runs look at the same frames.
"""

import pathlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from clion_tf.analysis.trained_agent import TrainedAgent
from clion_tf.analysis.videos.filming import Film
from clion_tf.config import Config
from clion_tf.files import atomic_write
from clion_tf.learning import noise, reconstruction
from clion_tf.pictures.picture_rows import comparison

UNIT = "squared error summed over an image's 64 x 64 x 3 values in [-0.5, 0.5], mean over frames"
STATES = {False: "(h', s)", True: "(h', s')"}  # By whether s is drawn anew.

Runs = Mapping[str, TrainedAgent]  # By logdir, all of one task.


class Block(NamedTuple):
    """One agent's part of the figure: float [columns, 64, 64, 3] twice, in [-0.5, 0.5]."""

    title: str
    truth: np.ndarray
    decoded: np.ndarray


def measure(runs: Runs, films: Sequence[Film], sigmas: Sequence[float], resample: bool) -> dict:
    """Each run's mean error over all frames, by the noise's sigma on h, ready for JSON.

    See `reconstruction.errors`; `resample` draws s anew too.
    """
    return {
        "task": next(iter(runs.values())).config.task,
        "state": STATES[resample],
        "unit": UNIT,
        "episodes": len(films),
        "frames": sum(len(film.steps) for film in films),
        "returns": [float(film.episode["reward"].sum()) for film in films],
        "sigmas": list(sigmas),
        "runs": [
            {
                "logdir": logdir,
                "label": _label(run.config),
                "steps": run.counters.steps,
                "beta1": run.config.beta1,
                "beta2": run.config.beta2,
                "errors": _errors(run, films, sigmas, resample),
            }
            for logdir, run in runs.items()
        ],
    }


def _errors(run: TrainedAgent, films, sigmas, resample) -> list[float]:
    models, sigma2 = run.agent.models, run.config.sigma2
    each = [
        reconstruction.errors(models, film.sequence(), _noise(number), sigmas, resample, sigma2)
        for number, film in enumerate(films)
    ]
    return np.average(each, axis=0, weights=[len(film.steps) for film in films]).tolist()


def lines(result: dict) -> list[str]:
    """What `measure` found, as a table to read."""
    rows = [["sigma", *(f"{sigma:g}" for sigma in result["sigmas"])]]
    for run in result["runs"]:
        name = f"{run['logdir']}, {run['steps']} steps, {run['label']}"
        rows.append([name, *(f"{error:.1f}" for error in run["errors"])])
    width = max(len(row[0]) for row in rows)
    many = "1 episode" if result["episodes"] == 1 else f"{result['episodes']} episodes"
    return [
        f"{result['task']}, {result['frames']} frames of {many}, decoded from {result['state']}:",
        result["unit"],
        *(f"{row[0]:{width}}" + "".join(f"{cell:>9}" for cell in row[1:]) for row in rows),
    ]


def blocks(
    runs: Runs, film: Film, columns: int, sigma: float, resample: bool
) -> tuple[list[Block], list[int]]:
    """Fig. 3's blocks for frames evenly spread over the first film, and their steps."""
    at = np.linspace(0, len(film.steps) - 1, min(columns, len(film.steps))).round().astype(int)
    data, found = film.sequence(), []
    truth = reconstruction.observed(data).numpy()[0, at]
    for logdir, run in runs.items():
        models, config = run.agent.models, run.config
        decoded = reconstruction.images(models, data, _noise(0), sigma, resample, config.sigma2)
        scales = f"β1 = {config.beta1:g}, β2 = {config.beta2:g}"
        of = f"{pathlib.Path(logdir).absolute().name}, {run.counters.steps:,} steps"
        title = f"{_label(config)} ({scales}): {of}, σ = {sigma:g}"
        found.append(Block(title, truth, decoded[0, at]))
    return found, film.steps[at].tolist()


def draw(blocks: Sequence[Block], steps: Sequence[int], state: str) -> Figure:
    """Rows input, reconstruction from `state` and error (grey: none); a column for each step."""
    columns = len(steps)
    # Inches of the pictures, 1 each; what stands beside them is added when it is saved.
    figure = Figure((columns, 3.5 * len(blocks) - 0.5), dpi=128)
    grid = figure.add_gridspec(len(blocks), hspace=0.5 / 3, left=0, right=1, bottom=0, top=1)
    for place, block in zip(grid, blocks, strict=True):
        rows = place.subgridspec(3, 1, hspace=0).subplots()
        rows[0].set_title(block.title, size=11, loc="left")
        pictures = comparison(block.truth, block.decoded).swapaxes(0, 1)
        labels = ("input", f"reconstruction\nfrom ${state}$", "error")
        for axes, row, label in zip(rows, pictures, labels, strict=True):
            joined = np.concatenate(list(row), axis=1)
            axes.imshow(joined, extent=(0, columns, 0, 1), interpolation="nearest")
            axes.vlines(range(1, columns), 0, 1, color="white", linewidth=1.5)
            axes.set_ylabel(label, rotation=0, ha="right", va="center", size=10)
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set(color="white", linewidth=1.5)
    axes.set_xticks(np.arange(columns) + 0.5, map(str, steps), size=9)
    axes.tick_params(length=0)
    axes.text(-0.07, -0.05, "step", size=9, ha="right", va="top")
    return figure


def save(figure: Figure, path: pathlib.Path) -> None:
    """Writes a .png, .pdf or .svg, whole or not at all."""
    with atomic_write(path) as file:
        figure.savefig(file, format=path.suffix[1:].lower(), bbox_inches="tight", pad_inches=0.1)


def _label(config: Config) -> str:
    """Whether a run's memory was constrained (eq. 2)."""
    constrained = config.beta1 > 0 or config.beta2 > 0
    return "with constraints" if constrained else "without constraints"


def _noise(number: int) -> noise.SeededNoise:
    """For an episode; the same for every run, so that they can be compared."""
    return noise.SeededNoise(noise.key(0, "reconstruct", number))
