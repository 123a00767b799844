"""Fig. 3 of the paper and its table: how well world models decode noisy memory of equal frames."""

import pathlib
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from clion_tf.analysis.trained_agent import TrainedAgent
from clion_tf.analysis.videos.filming import Film
from clion_tf.config import Config
from clion_tf.learning import noise, reconstruction
from clion_tf.pictures.picture_rows import comparison

UNIT = "squared error summed over an image's 64 x 64 x 3 values in [-0.5, 0.5], mean over frames"
STATES = {False: "(h', s)", True: "(h', s')"}  # By whether s is drawn again.

Runs = Mapping[str, TrainedAgent]  # By logdir, all of one task.


def measure(runs: Runs, films: Sequence[Film], sigmas: Sequence[float], resample: bool) -> dict:
    """Each run's mean error over all frames, by the noise's sigma on h, ready for JSON.

    See `reconstruction.errors`; `resample` draws s again, too.
    """
    frames = [len(film.steps) for film in films]

    def errors(run: TrainedAgent) -> list[float]:
        models, how = run.agent.models, (sigmas, resample, run.config.sigma2)
        each = [
            reconstruction.errors(models, film.sequence(), _noise(number), *how)
            for number, film in enumerate(films)
        ]
        return np.average(each, axis=0, weights=frames).tolist()

    return {
        "task": next(iter(runs.values())).config.task,
        "state": STATES[resample],
        "unit": UNIT,
        "episodes": len(films),
        "frames": sum(frames),
        "returns": [float(film.episode["reward"].sum()) for film in films],
        "sigmas": list(sigmas),
        "runs": [
            {
                "logdir": logdir,
                "label": _label(run.config),
                "steps": run.counters.steps,
                "beta1": run.config.beta1,
                "beta2": run.config.beta2,
                "errors": errors(run),
            }
            for logdir, run in runs.items()
        ],
    }


def lines(result: dict) -> list[str]:
    """What `measure` found, as a table to read."""
    rows = [("sigma", [f"{sigma:g}" for sigma in result["sigmas"]])]
    for run in result["runs"]:
        name = f"{run['logdir']}, {run['steps']} steps, {run['label']}"
        rows.append((name, [f"{error:.1f}" for error in run["errors"]]))
    width = max(len(name) for name, _ in rows)
    many = f"{result['episodes']} episode{'s' * (result['episodes'] != 1)}"
    return [
        f"{result['task']}, {result['frames']} frames of {many}, decoded from {result['state']}:",
        result["unit"],
        *(f"{name:{width}}" + "".join(f"{cell:>9}" for cell in cells) for name, cells in rows),
    ]


def draw(runs: Runs, film: Film, columns: int, sigma: float, resample: bool) -> Figure:
    """A block for each run: rows input, reconstruction and error (grey: none) of its memory.

    Columns are frames evenly spread over the film.
    """
    at = np.linspace(0, len(film.steps) - 1, min(columns, len(film.steps))).round().astype(int)
    data, count = film.sequence(), len(at)
    truth = reconstruction.true_images(data).numpy()[0, at]
    # Inches of the pictures, 1 each; what stands beside them is added when it is saved.
    figure = Figure((count, 3.5 * len(runs) - 0.5))
    grid = figure.add_gridspec(len(runs), hspace=0.5 / 3, left=0, right=1, bottom=0, top=1)
    labels = ("input", f"reconstruction\nfrom ${STATES[resample]}$", "error")
    for place, (logdir, run) in zip(grid, runs.items(), strict=True):
        models, sigma2 = run.agent.models, run.config.sigma2
        decoded = reconstruction.images(models, data, _noise(0), sigma, resample, sigma2)
        pictures = comparison(truth, decoded[0, at]).swapaxes(0, 1)
        scales = f"β1 = {run.config.beta1:g}, β2 = {run.config.beta2:g}"
        of = f"{pathlib.Path(logdir).absolute().name}, {run.counters.steps:,} steps"
        rows = place.subgridspec(3, 1, hspace=0).subplots()
        title = f"{_label(run.config)} ({scales}): {of}, σ = {sigma:g}"
        rows[0].set_title(title, size=11, loc="left")
        for axes, row, label in zip(rows, pictures, labels, strict=True):
            joined = np.concatenate(list(row), axis=1)
            axes.imshow(joined, extent=(0, count, 0, 1), interpolation="nearest")
            axes.vlines(range(1, count), 0, 1, color="white", linewidth=1.5)
            axes.set_ylabel(label, rotation=0, ha="right", va="center", size=10)
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set(color="white", linewidth=1.5)
    axes.set_xticks(np.arange(count) + 0.5, map(str, film.steps[at]), size=9)
    axes.tick_params(length=0)
    axes.text(-0.07, -0.05, "step", size=9, ha="right", va="top")
    return figure


def _label(config: Config) -> str:
    """Whether a run's memory was constrained (eq. 2)."""
    constrained = config.beta1 > 0 or config.beta2 > 0
    return "with constraints" if constrained else "without constraints"


def _noise(number: int) -> noise.SeededNoise:
    """For an episode; the same for every run, so that they can be compared."""
    return noise.SeededNoise(noise.key(0, "reconstruct", number))
