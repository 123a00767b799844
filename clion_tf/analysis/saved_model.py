"""A trained agent's policy as a TensorFlow SavedModel that needs no clion_tf; see docs/export.md.

Importing this loads no TensorFlow, so that a folder can be refused at once.
"""

import importlib.resources
import inspect
import json
import math
import pathlib
import shutil
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import jinja2

from clion_tf.analysis.trained_agent import TrainedAgent
from clion_tf.command import UsageError
from clion_tf.logdir.run_folder import RunFolder
from clion_tf.replay.observation_shapes import DTYPES

ABOUT = "policy.json"  # Says what was exported, and that a folder is an export.
KIND = "clion_tf policy"


def check_folder(folder: pathlib.Path) -> None:
    """Raises UsageError if it holds something else than an export, or cannot be made."""
    parent = folder.resolve().parent  # Of what a link leads to.
    if not parent.is_dir():
        raise UsageError(f"--out={folder}: no such folder as {parent}")
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"--out={folder}: is a file")
    if folder.exists() and any(folder.iterdir()):
        try:
            kind = json.loads((folder / ABOUT).read_text())["kind"]
        except (OSError, ValueError, KeyError, TypeError):
            kind = None
        if kind != KIND:
            text = "holds something else than an export; use another folder"
            raise UsageError(f"--out={folder}: {text}")


def save(trained: TrainedAgent, folder: pathlib.Path) -> None:
    """Writes the SavedModel, `policy.json` and a README; replaces an earlier export as a whole.

    Errors as `check_folder`'s, and OSError if it cannot be written.
    """
    import tensorflow as tf

    check_folder(folder)
    about, target = _about(trained), folder.resolve()
    taken = about["environment"].get("action")
    kind = (taken or {}).get("dtype", "float32")
    if not hasattr(tf.dtypes, kind):
        raise UsageError(f"the task's actions are {kind}, which TensorFlow has not")
    module = policy_module(trained.agent, trained.config.eval_noise, taken)
    signatures = {n: getattr(module, n).get_concrete_function() for n in ("initial", "act")}
    temporary = target.with_name(f".{target.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)  # Of an export that was killed.
    temporary.mkdir()
    try:
        tf.saved_model.save(module, str(temporary), signatures)
        (temporary / ABOUT).write_text(json.dumps(about, indent=2) + "\n")
        length = math.ceil(trained.config.time_limit / trained.config.action_repeat)
        source = importlib.resources.files(__package__).joinpath("policy_readme.md.jinja")
        template = jinja2.Environment(trim_blocks=True).from_string(source.read_text("utf-8"))
        text = template.render(**about, code=code(about["observed"], length), dtypes=DTYPES)
        (temporary / "README.md").write_text(text.rstrip() + "\n")
        before = target.with_name(f".{target.name}.before")
        if replaced := target.exists():
            shutil.rmtree(before, ignore_errors=True)
            target.rename(before)  # Raises, and loses nothing, for a mounted folder.
        try:
            temporary.rename(target)
        except OSError:
            if replaced:
                before.rename(target)
            raise
        shutil.rmtree(before, ignore_errors=True)
    except tf.errors.OpError as error:  # A full disk.
        raise OSError(f"cannot write {folder}: {error.message}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def policy_module(agent: Any, amount: float, taken: Mapping[str, Any] | None = None):
    """A tf.Module with `initial`, `act` and `to_environment`, compiled, and their variables.

    Of a `Learner`, with this amount of exploration noise; `taken` is the task's `action` of
    `envs.make_env.describe`, without which actions stay the agent's, or become an index.
    """
    import tensorflow as tf

    from clion_tf.learning.noise import SeededNoise

    begun, size = agent.initial(1), agent.action_size
    before = {key: begun[key] for key in agent.state_keys}
    state = {}
    for key, value in before.items():
        dtype = tf.float32 if value.dtype.is_floating else value.dtype
        state[key] = tf.TensorSpec([None, *value.shape[1:]], dtype, key)
    state["action"] = tf.TensorSpec([None, size], tf.float32, "action")
    seen = [tf.TensorSpec([None, *shape], DTYPES[k], k) for k, shape in agent.observed.items()]

    def stored(found: Mapping) -> dict[str, tf.Tensor]:
        return {key: tf.cast(found[key], spec.dtype) for key, spec in state.items()}

    def initial(given: Mapping) -> dict[str, tf.Tensor]:
        batch = given["batch"]
        return stored({"action": tf.zeros([batch, size]), **agent.initial(batch)})

    def act(given: Mapping) -> dict[str, tf.Tensor]:
        # What came out in the compute type loses nothing on its way back.
        past = {key: tf.cast(given[key], value.dtype) for key, value in before.items()}
        noise = SeededNoise(given["seed"])
        action, past = agent.policy_step(given, past, noise, False, amount, agent.models)
        return stored({**past, "action": action})

    def to_environment(given: Mapping) -> tf.Tensor:
        return _native(given["action"], agent.discrete, taken)

    module = tf.Module()
    # A tf.Module sees no variable of Keras 3, only what is inside of it.
    acting = ("encoder", "vector_encoder", "rssm", "actor")
    networks = filter(None, (getattr(agent.models, name, None) for name in acting))
    module.weights = [v.value for network in networks for v in network.trainable_variables]
    module.initial = _function(initial, [tf.TensorSpec([], tf.int32, "batch")])
    seed = tf.TensorSpec([2], tf.int32, "seed")
    module.act = _function(act, [*seen, seed, *state.values()])
    module.to_environment = _function(to_environment, [state["action"]])
    return module


def _function(function: Callable[[Mapping], Any], specs: Sequence):
    """Compiled; takes its mapping as arguments of the specs' names, in a SavedModel too."""
    import tensorflow as tf

    names = [spec.name for spec in specs]

    def positional(*arguments):
        return function(dict(zip(names, arguments, strict=True)))

    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    positional.__signature__ = inspect.Signature([inspect.Parameter(n, kind) for n in names])
    return tf.function(positional, specs, autograph=False)


def _native(action, discrete: bool, taken: Mapping[str, Any] | None):
    """The agent's actions [B, A] -> the task's own, as `clion_tf.envs` makes them."""
    import tensorflow as tf

    if discrete:
        return tf.argmax(action, -1) + (taken["start"] if taken else 0)
    if not taken:
        return tf.identity(action)
    low, high = (tf.constant(taken[end], tf.float64) for end in ("low", "high"))
    exact = tf.cast(action, tf.float64)
    # Rounding could put an action outside of its range.
    wide = tf.clip_by_value((exact + 1.0) / 2.0 * (high - low) + low, low, high)
    # Where the range is [-1, 1] already, keep the exact number.
    wide = tf.where((low == -1.0) & (high == 1.0), exact, wide)
    return tf.cast(tf.reshape(wide, [-1, *taken["shape"]]), taken["dtype"])


def _about(trained: TrainedAgent) -> dict:
    """What is exported, for `policy.json`."""
    config, agent = trained.config, trained.agent
    return {
        "kind": KIND,
        "task": config.task,
        "checkpoint": trained.path.name,
        "environment_steps": trained.counters.steps,
        "policy": config.eval_action,
        "exploration_noise": config.eval_noise,
        "action_repeat": config.action_repeat,
        "observed": {key: list(shape) for key, shape in agent.observed.items()},
        "action_size": agent.action_size,
        "discrete": agent.discrete,
        "environment": RunFolder(config.logdir).task(),  # See `envs.make_env.describe`.
        "noise": [config.seed, zlib.crc32(b"test")],  # Begins the words of each step's seed.
    }


def code(observed: Iterable[str], steps: int = 500) -> str:
    """How to act for so many agent steps with an export that takes these observations."""
    # As tensors, for an array of another type would be cast without a word.
    seen = ", ".join(f"tf.constant({key}[None])" for key in observed)
    return CODE.replace("SEEN", seen).replace("STEPS", str(steps))


CODE = """\
import json
import numpy as np
import tensorflow as tf

model = tf.saved_model.load("FOLDER")
noise = json.load(open("FOLDER/policy.json"))["noise"]
state = model.initial(1)
for step in range(STEPS):
    words = np.random.SeedSequence([*noise, 0, step])  # Of episode 0.
    seed = words.generate_state(2).view(np.int32)
    state = model.act(SEEN, seed, **state)  # What it sees.
    action = model.to_environment(state["action"])[0].numpy()  # For its step().
"""
