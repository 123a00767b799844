"""Are our numbers the original Dreamer's, and CLION's as computed elsewhere?

A golden file (`.npz`) holds sizes, weights, a batch, the noise, and what came out of another
implementation. The agent is built from its sizes, given its weights, batch and noise, and every
`output/`, `grad/` and `after_model_step/` array is compared.
"""

import dataclasses
import json
import pathlib
import zipfile
from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from clion_tf.agents.base import Tensors
from clion_tf.agents.clion import Agent, Losses
from clion_tf.config import DREAMER, EARLIER, Config, ConfigError
from clion_tf.learning.noise import GivenNoise

OUTPUT_TOLERANCE = 1e-4  # Largest difference over the reference's largest absolute value.
GRADIENT_TOLERANCE = 1e-3
STEP_TOLERANCE = 0.02  # Of the learning rate; see `_step_error`.

# Names of sizes in golden files, where they are not the options' own.
OPTIONS = {
    "batch": "batch_size",
    "length": "batch_length",
    "deter": "deter_size",
    "stoch": "stoch_size",
    "hidden": "hidden_size",
    "units": "num_units",
    "lambda_": "disclam",
    "init_std": "action_init_std",
    "mean_scale": "action_mean_scale",
    "min_std": "action_min_std",
}


class GoldenError(ValueError):
    """A file that is not a golden file; the message is one line."""


@dataclasses.dataclass(frozen=True)
class Comparison:
    """One array: its largest relative difference and whether that is within the tolerance."""

    name: str
    difference: float
    tolerance: float

    @property
    def holds(self) -> bool:
        return self.difference <= self.tolerance  # False for nan.


def load(path: str | pathlib.Path) -> tuple[dict, dict[str, np.ndarray]]:
    """(meta, arrays) of a golden file.

    Raises:
      GoldenError: if there is none, or it is something else.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        meta = json.loads(str(arrays.pop("meta")))
        missing = {"input/image", "input/action", "input/reward"} - arrays.keys()
        if missing or "actions" not in meta:
            raise ValueError(f"it lacks {', '.join(sorted(missing)) or 'meta: actions'}")
        return meta, arrays
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise GoldenError(f"{path}: not a golden file ({error})") from error


def compare(path: str | pathlib.Path) -> Iterator[Comparison]:
    """Compares every array of a golden file, in the file's order.

    Raises:
      GoldenError: if it is none, or its weights do not fit its sizes.
    """
    meta, arrays = load(path)
    try:
        agent = build(meta)
        assign_weights(agent, arrays)
    except (ConfigError, TypeError, GoldenError) as error:
        raise GoldenError(f"{path}: {error}") from error
    before = {name: v.numpy() for name, v in agent.models.named_weights().items()}
    computed = _compute(agent, arrays)
    for name, expected in arrays.items():
        kind = name.split("/")[0]
        if kind in ("output", "grad"):
            tolerance = GRADIENT_TOLERANCE if kind == "grad" else OUTPUT_TOLERANCE
            yield Comparison(name, relative_difference(computed.get(name), expected), tolerance)
        elif kind == "after_model_step":
            part = name.removeprefix("after_model_step/")
            gradient = arrays.get(f"grad/{part}")
            error = _step_error(before, computed.get(name), expected, part, gradient)
            yield Comparison(name, error / meta["model_lr"], STEP_TOLERANCE)


def build(meta: dict) -> Agent:
    """The agent that a golden file's sizes and constants describe."""
    options = {**EARLIER, **(DREAMER if meta.get("kind") != "clion" else {})}
    fields = {field.name for field in dataclasses.fields(Config)}
    for name, value in meta.items():
        option = OPTIONS.get(name, name)
        if option in fields and name != "seed":
            options[option] = str(value) if option == "pcont" else value
    if isinstance(meta.get("state_std"), (int, float)):
        options["sigma2"] = float(meta["state_std"])
    config = Config(**options)
    return Agent(config, meta["actions"], discrete=meta.get("action_dist") == "onehot")


def assign_weights(agent: Agent, arrays: dict[str, np.ndarray]) -> None:
    """Gives the agent the file's weights.

    Raises:
      GoldenError: if any weight is missing, left over, or of another shape.
    """
    given = {n.removeprefix("weights/"): a for n, a in arrays.items() if n.startswith("weights/")}
    ours = agent.models.named_weights()
    if given.keys() != ours.keys():
        raise GoldenError(f"weights differ in name: {sorted(given.keys() ^ ours.keys())[:4]}")
    for name, variable in ours.items():
        if tuple(variable.shape) != given[name].shape:
            raise GoldenError(f"{name}: shape {given[name].shape}, ours {tuple(variable.shape)}")
        variable.assign(given[name])


def _compute(agent: Agent, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Everything that ours says, by the file's names; the model's optimiser takes one step."""
    data = {n.removeprefix("input/"): a for n, a in arrays.items() if n.startswith("input/")}
    noise = {n.removeprefix("noise/"): a for n, a in arrays.items() if n.startswith("noise/")}
    data, noise = ({k: tf.constant(v) for k, v in x.items()} for x in (data, noise))

    @tf.function(autograph=False)
    def run(data: Tensors, noise: Tensors):
        grads, losses = agent.gradients(data, GivenNoise(noise))
        out = {**outputs(losses), **_actor_outputs(agent, losses.world.feat)}
        norms = {name: tf.linalg.global_norm(values) for name, values in grads.items()}
        out |= {f"{name}_grad_norm": norm for name, norm in norms.items()}
        agent.optimizers["model"].apply(grads["model"], norms["model"])
        return grads, out

    grads, out = run(data, noise)
    result = {f"output/{name}": value.numpy() for name, value in out.items()}
    names = {id(variable): name for name, variable in agent.models.named_weights().items()}
    for loss, values in grads.items():
        for variable, value in zip(agent.optimizers[loss].variables, values, strict=True):
            result[f"grad/{names[id(variable)]}"] = value.numpy()
    for name, variable in agent.models.named_weights().items():
        result[f"after_model_step/{name}"] = variable.numpy()
    return result


def outputs(losses: Losses) -> Tensors:
    """An update's quantities by the names that golden files use."""
    world, imagined, judged = losses.world, losses.imagined, losses.judged
    found = {f"{name}_loss": loss for name, loss in losses.minimised().items()}
    found |= {"embed": world.embed, "feat": world.feat, "reward_mean": world.reward.mode()}
    found |= {f"post_{key}": value for key, value in world.post.items()}
    found |= {f"prior_{key}": world.prior[key] for key in ("mean", "std")}
    found |= {"kl": world.clipped_kl, "kl_before_free_nats": world.kl}
    found |= {f"{key}_mean": dist.mode() for key, dist in world.decoded.items()}
    found |= {f"log_prob_{key}": -world.terms[key] for key in (*world.decoded, "reward")}
    if world.pcont is not None:
        found |= {"pcont_mean": world.pcont.mean()}
        found |= {"scaled_log_prob_pcont": -world.terms["pcont"]}
    for name, constraint in (("embedding", world.embedding), ("decoding", world.decoding)):
        if constraint is not None:
            found[f"{name}_constraint"] = constraint.loss
            found[f"{name}_constraint_each"] = constraint.distance
    if world.embedding is not None:
        found["embed_transformed"] = world.embedding.augmented
    if world.decoding is not None and "image" in world.decoded:
        found["image_from_noisy_memory"] = world.decoding.augmented["image"].mode()
    found |= {f"start_{key}": imagined.start[key] for key in ("stoch", "deter")}
    names = ("feat", "action", "reward", "value")
    found |= {f"imagined_{name}": getattr(imagined, name) for name in names}
    found |= {"lambda_return": imagined.returns, "discount": imagined.discount}
    found |= {"weight": imagined.weight, "action_entropy": imagined.entropy}
    if judged is not None:
        found |= {"evaluator_logit": imagined.logit}
        found |= {"evaluator_bce": judged.bce, "evaluator_difference": judged.difference}
        found |= {"real_logit": judged.real_logit, "fake_logit": judged.fake_logit}
    return found


def _actor_outputs(agent: Agent, feat: tf.Tensor) -> Tensors:
    """The action model on the posterior's features, [B, L, ...]."""
    policy = agent.models.actor(tf.reshape(feat, [-1, feat.shape[-1]]))
    if agent.sizes.discrete:
        outputs = {"actor_probs": policy.probs_parameter()}
    else:
        mean = policy.distribution.mean()  # Before tanh.
        outputs = {
            "actor_mean": mean,
            "actor_std": policy.distribution.stddev(),
            "actor_log_prob_of_half": policy.log_prob(0.5 * tf.ones_like(mean)),
        }
    return {k: tf.reshape(v, [*feat.shape[:2], *v.shape[1:]]) for k, v in outputs.items()}


def relative_difference(ours: np.ndarray | None, expected: np.ndarray) -> float:
    """Largest absolute difference over the reference's largest absolute value; 0 against 0 is 0.

    Infinite for an array that is missing or of another shape, nan if either has a nan.
    """
    if ours is None or ours.shape != expected.shape:
        return float("inf")
    difference = float(np.max(np.abs(np.asarray(ours, np.float64) - expected), initial=0.0))
    scale = float(np.max(np.abs(expected), initial=0.0))
    if difference == 0.0:
        return 0.0
    return difference / scale if scale > 0 else float("inf")


def _step_error(before, ours, expected, part, gradient) -> float:
    """Largest difference of the optimiser's step, where the gradient is not negligible.

    Adam's first step is the learning rate times the gradient's sign, so where the gradient is
    all but zero the step says nothing.
    """
    if ours is None or part not in before or ours.shape != expected.shape:
        return float("inf")
    if gradient is None:
        return float("inf")
    matters = np.abs(gradient) > 1e-4 * np.max(np.abs(gradient))
    error = np.abs((ours - before[part]) - (expected - before[part]))
    return float(np.max(error[matters], initial=0.0))
