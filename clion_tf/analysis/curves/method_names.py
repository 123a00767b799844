"""What to call a run; runs of one method and one setup may be averaged, others not."""

import functools
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from clion_tf.config import FIELDS, Config, parse
from clion_tf.files import PRESETS

CLION, DREAMER, DOUBLED, DRQ = "CLION", "Dreamer", "Doubled-Dreamer", "DrQ"
CONSTRAINTS, EVALUATOR = "Only adding constraint", "Only adding EVA"
NO_EVALUATOR = "Augmentation w/o EVA"
# Fig. 7's legend in the paper's order, and the baseline of its text.
ABLATION = (CONSTRAINTS, EVALUATOR, NO_EVALUATOR, CLION, DOUBLED, DREAMER)

SWITCHES = ("beta1", "beta2", "augmentations", "evaluator")
# Of the switches: which are on.
NAMES = {
    (False, False, False, False): DREAMER,
    (True, True, False, False): CONSTRAINTS,
    (False, False, False, True): EVALUATOR,
    (True, True, True, False): NO_EVALUATOR,
    (True, True, True, True): CLION,
}
METHODS = (*NAMES.values(), DOUBLED, DRQ)  # All names of `describe`, without what is in brackets.
EVALUATOR_SIZES = ("evaluator_layers", "evaluator_units", "evaluator_lr")
# Options that matter only while a switch is on.
DEPENDENT = {
    "beta1": ("delta1", "constraint_degrees", "embedding_gradient"),
    "beta2": ("delta2", "sigma_h", "decoding_target"),
    "augmentations": ("sigma1", "sigma2", "overshoot_from"),
    "evaluator": (
        "evaluator_objective", "overshoot", "overshoot_from", "weighting", "weight_gradient",
        *EVALUATOR_SIZES,
    ),
    "predicts_discount": ("pcont_scale",),
}  # fmt: skip
# Other options without effect, and when.
IDLE = {
    "pcont": lambda c: replace(c, pcont="auto").predicts_discount == c.predicts_discount,
    "overshoot": lambda c: c.overshoot == c.horizon,
    "constraint_norm": lambda c: not (c.beta1 or c.beta2),
    "sigma_units": lambda c: not (c.beta2 or c.augmentations or c.sigma_inference),
    "test_blank_frames": lambda c: c.test_blank == c.blank_frames,
    "rotation_per": lambda c: not (c.rotation_degrees or c.test_rotation),
    # The embedding constraint rotates too.
    "rotation_fill": lambda c: (
        not (c.rotation_degrees or c.test_rotation or (c.beta1 and c.agent != "drq"))
    ),
}
METHOD_OPTIONS = (
    "from_start", "constraint_norm", "sigma_units", *SWITCHES, *DEPENDENT["beta1"],
    *DEPENDENT["beta2"], "sigma1", "sigma2", "sigma_inference", "evaluator_objective", "overshoot",
    "overshoot_from", "weighting", "weight_gradient", "stack_rotation",
)  # fmt: skip
# What a run may change on resume, yet changes its returns or what it is judged by.
JUDGING = ("eval_action", "eval_noise", "replay_capacity", "envs")
# Named elsewhere: by the task, the seed, and the panel that a curve is drawn in.
ELSEWHERE = ("task", "seed", "rotation_degrees", "test_rotation_degrees")

# By agent, presets that are names of sizes; "" is the paper's.
SIZES = {
    "clion": {"": (), "cpu": ("cpu",), "debug": ("debug",)},
    "drq": {"": ("drq",), "cpu": ("drq", "drq_cpu")},
}
# Of all agents' options those that it reads.
DRQ_READS = (
    "agent", "stack_rotation", "rotation_fill", "rotation_per", "blank_frames",
    "test_blank_frames", "observe", "action_repeat", "time_limit", "prefill", "batch_size",
    "discount", "expl_amount", "expl_decay", "expl_min", "eval_action", "eval_noise", "pretrain",
    "train_every", "train_steps", "overlap", "replay_capacity", "envs",
)  # fmt: skip


def describe(config: Config) -> tuple[str, str]:
    """(method, setup) of a run.

    The method is one of the paper's names, in brackets what else differs in CLION's own options:
    `CLION`, `Dreamer`, `CLION (sigma1=0)`. The setup is "" for the paper's sizes, else what
    differs from them: `cpu sizes`, `cpu sizes, horizon=10`. Dreamer with twice the batch of its
    sizes is Doubled-Dreamer. Options that change no return, or that are off, count for nothing.
    """
    own, differing = _effective(config), {}
    for sizes, files in SIZES[config.agent].items():
        preset = _preset(*files)
        differing[sizes] = {k: v for k, v in own.items() if v != getattr(preset, k)}
    sizes = min(differing, key=lambda name: len(differing[name]))
    rest = differing[sizes]
    method = {name: rest.pop(name) for name in METHOD_OPTIONS if name in rest}
    name = NAMES.get(tuple(getattr(config, switch) > 0 for switch in SWITCHES))
    if config.agent == "drq":
        name = DRQ
    elif name == DREAMER:
        if rest.get("batch_size") == 2 * _preset(*SIZES["clion"][sizes]).batch_size:
            name = DOUBLED
            del rest["batch_size"]
    if name:  # It says which switches are off; Dreamer's also says where trajectories begin.
        method = {k: v for k, v in method.items() if k not in SWITCHES or v}
    if name in (DREAMER, DOUBLED) and method.pop("from_start", True):
        method["from_start"] = True
    named = f"{name or CLION} ({_list(method)})" if method else name or CLION
    setup = ([f"{sizes} sizes"] if sizes else []) + ([_list(rest)] if rest else [])
    return named, ", ".join(setup)


def _effective(config: Config) -> dict[str, Any]:
    """Options with an effect on returns that nothing else tells; first those not at defaults."""
    left_out = {name for name, idle in IDLE.items() if idle(config)}.union(
        ELSEWHERE, *(names for switch, names in DEPENDENT.items() if not getattr(config, switch))
    )
    if config.agent == "drq":
        left_out |= {n for n in FIELDS if n not in DRQ_READS and not n.startswith("drq_")}
    left_out |= {n for n in FIELDS if FIELDS[n].metadata["resume"] and n not in JUDGING}
    values = {name: getattr(config, name) for name in FIELDS if name not in left_out}
    return dict(sorted(values.items(), key=lambda pair: pair[1] == FIELDS[pair[0]].default))


@functools.cache
def _preset(*files: str) -> Config:
    return parse([f"--flagfile={PRESETS / name}.flags" for name in files])


def _list(options: Mapping[str, Any]) -> str:
    texts = {k: f"{v:g}" if isinstance(v, float) else v for k, v in options.items()}
    return ", ".join(f"{name}={text}" for name, text in texts.items())
