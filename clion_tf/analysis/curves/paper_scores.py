"""Scores as printed in "Robust Memory Augmentation by Constrained Latent Imagination" (2020).

Mean and standard deviation of the return, by method, task and environment steps. The paper does
not say which standard deviation it takes, nor how many evaluations make a score.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from clion_tf.analysis.curves.method_names import CLION, DREAMER, DRQ


class Experiment(NamedTuple):
    """A table of the paper."""

    title: str
    rotation: float  # Of observations in training and in testing, degrees.
    methods: tuple[str, ...]
    steps: tuple[int, ...]  # Environment steps.
    methods_first: bool  # A method's columns stand together, else those of a step.
    scores: Mapping[str, tuple[tuple[float, float], ...]]  # By task (mean, std) of each column.

    def columns(self, steps: Sequence[int] | None = None) -> list[tuple[str, int]]:
        """(method, environment steps) of the paper's columns, or of such with other steps."""
        steps = steps or self.steps
        if self.methods_first:
            return [(method, step) for method in self.methods for step in steps]
        return [(method, step) for step in steps for method in self.methods]


TABLE1 = Experiment(
    "Table 1: observations rotated by up to 5 degrees",
    5.0, (CLION, DREAMER), (105_000, 505_000), True,
    {
        # Dreamer's 19 may lack a digit in the PDF's text.
        "walker_walk": ((527.1, 166), (914.9, 61), (372.5, 19), (876.3, 48)),
        "walker_run": ((214.6, 72), (529.3, 107), (116.1, 11), (464.2, 65)),
        "hopper_stand": ((92.3, 166), (752.7, 150), (85.6, 52), (389.7, 162)),
        "cartpole_swingup": ((384.5, 58), (736.0, 35), (303.3, 43), (423.2, 66)),
        "cheetah_run": ((165.3, 24), (631.5, 42), (245.9, 132), (526.3, 241)),
        "finger_spin": ((522.5, 133), (685.7, 61), (283.5, 138), (374.9, 178)),
    },
)  # fmt: skip
TABLE2 = Experiment(
    "Table 2: no rotation",
    0.0, (DRQ, CLION, DREAMER), (500_000, 100_000), False,
    {
        "walker_walk": ((921, 45), (959, 22), (897, 49), (612, 164), (630, 113), (277, 12)),
        "walker_run": ((459, 139), (536, 25), (482, 68), (185, 148), (211, 162), (161, 112)),
        "walker_stand": ((942, 22), (979, 28), (966, 35), (843, 251), (728, 46), (494, 128)),
        "pendulum_swingup": ((548, 287), (724, 104), (682, 203), (86, 83), (182, 128), (43, 34)),
        "cheetah_run": ((660, 96), (631, 103), (570, 253), (344, 67), (328, 48), (235, 137)),
    },
)  # fmt: skip
EXPERIMENTS = {"table1": TABLE1, "table2": TABLE2}
# (mean, std) by (task, rotation in training, in testing, method, environment steps).
SCORES = {
    (task, experiment.rotation, experiment.rotation, *column): score
    for experiment in EXPERIMENTS.values()
    for task, scores in experiment.scores.items()
    for column, score in zip(experiment.columns(), scores, strict=True)
}
