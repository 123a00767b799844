"""Runs side by side: how well each world model decodes memory with noise, on the same frames."""

import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

from clion_tf.analysis.trained_agent import TrainedAgent
from clion_tf.analysis.videos.filming import Film
from clion_tf.analysis.videos.memory_figure import Block
from clion_tf.config import Config
from clion_tf.learning import noise, reconstruction

UNIT = "squared error summed over an image's 64 x 64 x 3 values in [-0.5, 0.5], mean over frames"
STATES = {False: "(h', s)", True: "(h', s')"}  # By whether s is drawn anew.

Runs = Mapping[str, TrainedAgent]


def measure(runs: Runs, films: Sequence[Film], sigmas: Sequence[float], resample: bool) -> dict:
    """Each run's mean error over all frames, by sigma; see `reconstruction.errors`.

    Args:
      runs: by logdir, all of one task.
      films: the episodes that all look at.
      sigmas: standard deviations of the noise on h.
      resample: draw s anew too.

    Returns:
      what JSON takes: the figures, and what they are.
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
                "label": label(run.config),
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
        reconstruction.errors(models, _data(film), _noise(number), sigmas, resample, sigma2)
        for number, film in enumerate(films)
    ]
    return np.average(each, axis=0, weights=[len(film.steps) for film in films]).tolist()


def blocks(
    runs: Runs, film: Film, columns: int, sigma: float, resample: bool
) -> tuple[list[Block], list[int]]:
    """Fig. 3's blocks for frames evenly spread over the first film, and their steps."""
    at = np.linspace(0, len(film.steps) - 1, min(columns, len(film.steps))).round().astype(int)
    data, found = _data(film), []
    truth = reconstruction.observed(data).numpy()[0, at]
    for logdir, run in runs.items():
        models, sigma2 = run.agent.models, run.config.sigma2
        decoded = reconstruction.images(models, data, _noise(0), sigma, resample, sigma2)
        found.append(Block(_title(logdir, run, sigma), truth, decoded[0, at]))
    return found, film.steps[at].tolist()


def label(config: Config) -> str:
    """Whether a run's memory was constrained (eq. 2)."""
    constrained = config.beta1 > 0 or config.beta2 > 0
    return "with constraints" if constrained else "without constraints"


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


def _title(logdir: str, run: TrainedAgent, sigma: float) -> str:
    scales = f"β1 = {run.config.beta1:g}, β2 = {run.config.beta2:g}"
    name, steps = pathlib.Path(logdir).absolute().name, run.counters.steps
    return f"{label(run.config)} ({scales}): {name}, {steps:,} steps, σ = {sigma:g}"


def _data(film: Film) -> dict[str, np.ndarray]:
    """The episode as one sequence [1, T, ...]."""
    return {key: film.episode[key][None] for key in film.seen}


def _noise(number: int) -> noise.SeededNoise:
    """For an episode; the same for every run, so that they can be compared."""
    return noise.SeededNoise(noise.key(0, "reconstruct", number))
