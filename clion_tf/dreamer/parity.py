"""Are our numbers the original Dreamer's, and CLION's as computed elsewhere?

A golden file (`.npz`) has sizes, weights, a batch and the noise, which an agent of ours gets, and
the `output/`, `grad/` and `after_model_step/` arrays of another implementation.
"""

import json
import pathlib
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from clion_tf.agents.base import Tensors
from clion_tf.agents.clion import Agent, Losses
from clion_tf.command import UsageError
from clion_tf.config import DREAMER, EARLIER, FIELDS, Config, ConfigError
from clion_tf.learning.evaluator import evaluator_bce
from clion_tf.learning.noise import GivenNoise
from clion_tf.logdir.checkpoints import DAMAGE, CheckpointError, restore

Arrays = dict[str, np.ndarray]

# The largest difference allowed, relative to the reference's largest absolute value; for
# `after_model_step` relative to the learning rate.
TOLERANCES = {"output": 1e-4, "grad": 1e-3, "after_model_step": 0.02}
# Names of sizes in golden files, where they are not the options' own.
OPTIONS = {
    "batch": "batch_size", "length": "batch_length", "deter": "deter_size", "stoch": "stoch_size",
    "hidden": "hidden_size", "units": "num_units", "lambda_": "disclam",
    "init_std": "action_init_std", "mean_scale": "action_mean_scale", "min_std": "action_min_std",
}  # fmt: skip


class Comparison(NamedTuple):
    """One array's largest relative difference."""

    name: str
    difference: float
    tolerance: float

    @property
    def holds(self) -> bool:
        return self.difference <= self.tolerance  # False for nan.


def load(path: str | pathlib.Path) -> tuple[dict, Arrays]:
    """(meta, arrays) of a golden file; UsageError if there is none, or it is something else."""
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = dict(file)
        meta = json.loads(str(arrays.pop("meta")))
        missing = {"input/image", "input/action", "input/reward"} - arrays.keys()
        if missing or "actions" not in meta:
            raise ValueError(f"it lacks {', '.join(sorted(missing)) or 'meta: actions'}")
        return meta, arrays
    except (*DAMAGE, OSError, TypeError) as error:
        raise UsageError(f"{path}: not a golden file ({error})") from error


def compare(path: str | pathlib.Path) -> Iterator[Comparison]:
    """Compares every array of a golden file, in its order; UsageError if the weights do not fit."""
    meta, arrays = load(path)
    try:
        agent = build(meta)
        restore(agent.models.named_weights(), _part(arrays, "weights"))
    except (ConfigError, TypeError, CheckpointError) as error:
        raise UsageError(f"{path}: {error}") from error
    computed = _compute(agent, arrays)
    for name, expected in arrays.items():
        kind, _, part = name.partition("/")
        ours, scale = computed.get(name), None
        if kind == "after_model_step":
            scale = meta["model_lr"]
            gradient = np.abs(arrays.get(f"grad/{part}", np.nan))
            # Adam's first step is the rate times the gradient's sign; that of 0 says nothing.
            if ours is not None and ours.shape == expected.shape == gradient.shape:
                expected = np.where(gradient > 1e-4 * np.max(gradient), expected, ours)
        if kind in TOLERANCES:
            yield Comparison(name, relative_difference(ours, expected, scale), TOLERANCES[kind])


def _part(arrays: Arrays, kind: str) -> Arrays:
    """Those of a kind, by the rest of their names."""
    return {n.removeprefix(f"{kind}/"): a for n, a in arrays.items() if n.startswith(f"{kind}/")}


def build(meta: dict) -> Agent:
    """The agent that a golden file's sizes and constants describe."""
    options = {**EARLIER, **({} if meta.get("kind") == "clion" else DREAMER)}
    named = {OPTIONS.get(name, name): value for name, value in meta.items()}
    options |= {name: value for name, value in named.items() if name in FIELDS}
    options["pcont"] = str(meta.get("pcont", Config().pcont))
    return Agent(Config(**options), meta["actions"], discrete=meta.get("action_dist") == "onehot")


def _compute(agent: Agent, arrays: Arrays) -> Arrays:
    """Everything that ours says, by the file's names; the model's optimiser takes one step."""

    @tf.function(autograph=False)
    def run(data: Tensors, noise: Tensors):
        grads, losses = agent.gradients(data, GivenNoise(noise))
        out = {**outputs(losses), **_actor_outputs(agent, losses.world.feat)}
        norms = {name: tf.linalg.global_norm(values) for name, values in grads.items()}
        out |= {f"{name}_grad_norm": norm for name, norm in norms.items()}
        return grads, out

    inputs = (_part(arrays, kind) for kind in ("input", "noise"))
    grads, out = run(*({name: tf.constant(a) for name, a in given.items()} for given in inputs))
    agent.optimizers["model"].apply(grads["model"], out["model_grad_norm"])
    variables = agent.models.named_weights()
    names = {id(variable): f"grad/{name}" for name, variable in variables.items()}
    found = {f"output/{name}": value for name, value in out.items()}
    found |= {f"after_model_step/{name}": variable for name, variable in variables.items()}
    for loss, values in grads.items():
        trained = map(id, agent.optimizers[loss].variables)
        found |= {names[key]: value for key, value in zip(trained, values, strict=True)}
    return {name: value.numpy() for name, value in found.items()}


def outputs(losses: Losses) -> Tensors:
    """An update's quantities by the names that golden files use."""
    world, imagined, judged = losses.world, losses.imagined, losses.evaluator
    found = {f"{name}_loss": loss for name, loss in losses.minimised().items()}
    found |= {"embed": world.image_embed, "feat": world.feat, "reward_mean": world.reward.mode()}
    found |= {f"post_{key}": value for key, value in world.post.items()}
    found |= {f"prior_{key}": world.prior[key] for key in ("mean", "std")}
    found |= {"kl": world.clipped_kl, "kl_before_free_nats": world.kl}
    found |= {f"{key}_mean": dist.mode() for key, dist in world.decoded.items()}
    found |= {f"log_prob_{key}": -world.terms[key] for key in (*world.decoded, "reward")}
    if world.pcont is not None:
        found |= {"pcont_mean": world.pcont.mean(), "scaled_log_prob_pcont": -world.terms["pcont"]}
    for name, constraint in (("embedding", world.embedding), ("decoding", world.decoding)):
        if constraint is not None:
            found[f"{name}_constraint"] = constraint.loss
            found[f"{name}_constraint_each"] = constraint.distance
    if world.embedding is not None:
        found["embed_transformed"] = world.embedding.augmented
    if world.decoding is not None and "image" in world.decoded:
        found["image_from_noisy_memory"] = world.decoding.augmented["image"].mode()
    found |= {f"start_{key}": imagined.start[key] for key in ("stoch", "deter")}
    for name in ("feat", "action", "reward", "value"):
        found[f"imagined_{name}"] = getattr(imagined, name)
    found |= {"lambda_return": imagined.returns, "discount": imagined.discount}
    found |= {"weight": imagined.weight}
    if judged is not None:
        real, fake = judged.real_logit, judged.fake_logit
        found |= {"evaluator_logit": imagined.logit, "real_logit": real, "fake_logit": fake}
        found["evaluator_bce"] = evaluator_bce(real, fake)
    return found


def _actor_outputs(agent: Agent, feat: tf.Tensor) -> Tensors:
    """The action model on the posterior's features, [B, L, ...]."""
    policy = agent.models.actor(tf.reshape(feat, [-1, feat.shape[-1]]))
    if agent.discrete:
        outputs = {"actor_probs": policy.probs_parameter()}
    else:
        mean = policy.distribution.mean()  # Before tanh.
        outputs = {"actor_mean": mean, "actor_std": policy.distribution.stddev()}
        outputs["actor_log_prob_of_half"] = policy.log_prob(0.5 * tf.ones_like(mean))
    return {k: tf.reshape(v, [*feat.shape[:2], *v.shape[1:]]) for k, v in outputs.items()}


def relative_difference(
    ours: np.ndarray | None, expected: np.ndarray, scale: float | None = None
) -> float:
    """Largest absolute difference over `scale`, by default the reference's largest absolute value.

    0 against 0 is 0. Infinite for an array that is missing or of another shape; nan for a nan.
    """
    if ours is None or ours.shape != expected.shape:
        return np.inf
    difference = np.max(np.abs(np.asarray(ours, np.float64) - expected), initial=0.0)
    scale = scale or np.max(np.abs(expected), initial=0.0)
    if scale == 0.0:
        return np.inf if difference else 0.0
    return float(difference / scale)
