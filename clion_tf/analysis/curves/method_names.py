"""What to call a run: the method, told by the switches of CLION, and the sizes it has.

Runs of one name and one setup may be averaged, others not.
"""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from clion_tf.config import FIELDS, Config, different, parse
from clion_tf.files import PRESETS

CLION, DREAMER, DOUBLED, DRQ = "CLION", "Dreamer", "Doubled-Dreamer", "DrQ"
CONSTRAINTS, EVALUATOR = "Only adding constraint", "Only adding EVA"
NO_EVALUATOR = "Augmentation w/o EVA"
# Fig. 7's legend in the paper's order, and the baseline of its text.
ABLATION = (CONSTRAINTS, EVALUATOR, NO_EVALUATOR, CLION, DOUBLED, DREAMER)

# (constraints, augmentation, evaluator): what is on.
NAMES = {
    (False, False, False): DREAMER,
    (True, False, False): CONSTRAINTS,
    (False, False, True): EVALUATOR,
    (True, True, False): NO_EVALUATOR,
    (True, True, True): CLION,
}
SWITCHES = ("beta1", "beta2", "augmentations", "evaluator")
# Options that matter only while a switch is on.
DEPENDENT = {
    "beta1": ("delta1", "constraint_degrees", "embedding_gradient"),
    "beta2": ("delta2", "sigma_h", "decoding_target"),
    "augmentations": ("sigma1", "sigma2"),
    "evaluator": (
        "evaluator_objective", "overshoot", "overshoot_from", "weighting", "weight_gradient",
        "evaluator_layers", "evaluator_units", "evaluator_lr",
    ),
    "predicts_discount": ("pcont_scale",),
}  # fmt: skip
METHOD_OPTIONS = (
    *("from_start", "constraint_norm", "sigma_units", *SWITCHES),
    *(
        name
        for switch in SWITCHES
        for name in DEPENDENT[switch]
        if name not in ("evaluator_layers", "evaluator_units", "evaluator_lr")
    ),
)
# What a run may change on resume, yet changes its returns or what it is judged by.
JUDGING = ("eval_action", "eval_noise", "replay_capacity", "envs")
# Named elsewhere: by the task, the seed, and the panel that a curve is drawn in.
ELSEWHERE = ("task", "seed", "rotation_degrees", "test_rotation_degrees")

# Presets that are names of sizes, of CLION's and of DrQ's; "" is the paper's.
SIZES = {"": (), "cpu": ("cpu",), "debug": ("debug",)}
DRQ_SIZES = {"": ("drq",), "cpu": ("drq", "drq_cpu")}
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
    differs = _relevant(config)
    if config.agent == "drq":
        return _of_drq(config, differs)
    sizes, rest = _nearest_sizes(SIZES, config, differs)
    method = {name: rest.pop(name) for name in METHOD_OPTIONS if name in rest}
    constrained = {config.beta1 > 0, config.beta2 > 0}
    key = (config.beta1 > 0, config.augmentations > 0, config.evaluator)
    name = NAMES.get(key) if len(constrained) == 1 else None
    if name is None:
        return _bracket(CLION, method), _join(sizes, rest)
    if name == DREAMER and rest.get("batch_size") == 2 * _batch_size(sizes):
        name = DOUBLED
        del rest["batch_size"]
    # What the name says already: the switches that are off, and where trajectories begin.
    method = {k: v for k, v in method.items() if k not in SWITCHES or v}
    if name in (DREAMER, DOUBLED) and method.pop("from_start", True):
        method["from_start"] = True
    return _bracket(name, method), _join(sizes, rest)


def _of_drq(config: Config, differs: Mapping[str, Any]) -> tuple[str, str]:
    """The same for DrQ, which reads fewer options."""
    differs = {k: v for k, v in differs.items() if k in DRQ_READS or k.startswith("drq_")}
    sizes, rest = _nearest_sizes(DRQ_SIZES, config, differs)
    method = {"stack_rotation": rest.pop("stack_rotation")} if "stack_rotation" in rest else {}
    return _bracket(DRQ, method), _join(sizes, rest)


def _relevant(config: Config) -> dict[str, Any]:
    """Options that differ from the defaults and have an effect."""
    off = {
        name for switch, names in DEPENDENT.items() if not getattr(config, switch) for name in names
    }
    if replace(config, pcont="auto").predicts_discount == config.predicts_discount:
        off.add("pcont")
    if config.overshoot == config.horizon:
        off.add("overshoot")
    if not (config.beta1 or config.beta2):
        off.add("constraint_norm")
    if not (config.beta2 or config.augmentations):
        off.add("sigma_units")
    if not config.augmentations:
        off.add("overshoot_from")
    if config.test_blank == config.blank_frames:
        off.add("test_blank_frames")
    if not (config.rotation_degrees or config.test_rotation):
        off.add("rotation_per")
        if not config.beta1 or config.agent == "drq":  # The embedding constraint rotates too.
            off.add("rotation_fill")
    return {
        name: value
        for name, (_, value) in different(Config(), config).items()
        if (not FIELDS[name].metadata["resume"] or name in JUDGING)
        and name not in (*ELSEWHERE, *off)
    }


def _nearest_sizes(
    named: Mapping[str, Sequence[str]], config: Config, differs: Mapping[str, Any]
) -> tuple[str, dict[str, Any]]:
    """The named sizes that leave the fewest options to name, and those."""
    options = {}
    for name, files in named.items():
        sizes = _options_of(*files)
        rest = {k: v for k, v in differs.items() if sizes.get(k) != v}
        rest |= {
            k: getattr(config, k)
            for k, v in sizes.items()
            if getattr(config, k) != v and not (k.startswith("evaluator") and not config.evaluator)
        }
        options[name] = rest
    best = min(options, key=lambda name: len(options[name]))
    return best, options[best]


@functools.cache
def _options_of(*files: str) -> dict[str, Any]:
    """What presets set that has an effect."""
    return _relevant(parse([f"--flagfile={PRESETS / name}.flags" for name in files]))


def _batch_size(sizes: str) -> int:
    return _options_of(*SIZES[sizes]).get("batch_size", Config().batch_size)


def _bracket(name: str, options: Mapping[str, Any]) -> str:
    return f"{name} ({_list(options)})" if options else name


def _join(sizes: str, options: Mapping[str, Any]) -> str:
    return ", ".join(text for text in (sizes and f"{sizes} sizes", _list(options)) if text)


def _list(options: Mapping[str, Any]) -> str:
    return ", ".join(f"{k}={v:g}" if _real(v) else f"{k}={v}" for k, v in options.items())


def _real(value: Any) -> bool:
    return isinstance(value, float)
