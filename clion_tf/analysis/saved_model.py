"""A trained agent's evaluation policy as a TensorFlow SavedModel that needs no clion_tf.

What it takes and gives: docs/export.md. Importing this loads no TensorFlow, so that a folder can be
refused at once.
"""

import contextlib
import importlib.resources
import inspect
import json
import pathlib
import shutil
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import jinja2

from clion_tf.logdir.run_folder import RunFolder
from clion_tf.replay.observation_shapes import DTYPES

if TYPE_CHECKING:
    import tensorflow as tf

    from clion_tf.agents.base import Learner
    from clion_tf.analysis.trained_agent import TrainedAgent

ABOUT = "policy.json"  # Says what was exported, and that a folder is an export.
KIND = "clion_tf policy"


class ExportError(ValueError):
    """A folder that must not be written; the message is one line."""


def check_folder(folder: pathlib.Path) -> None:
    """Raises ExportError if it holds something else than an export, or cannot be made."""
    parent = folder.resolve().parent  # Of what a link leads to.
    if not parent.is_dir():
        raise ExportError(f"{folder}: no such folder as {parent}")
    if folder.exists() and not folder.is_dir():
        raise ExportError(f"{folder}: is a file")
    if folder.is_dir() and any(folder.iterdir()) and not _is_export(folder):
        raise ExportError(f"{folder}: holds something else than an export; use another folder")


def _is_export(folder: pathlib.Path) -> bool:
    try:
        return json.loads((folder / ABOUT).read_text())["kind"] == KIND
    except (OSError, ValueError, KeyError, TypeError):
        return False


def save(trained: "TrainedAgent", folder: pathlib.Path) -> None:
    """Writes the SavedModel, `policy.json` and a README; replaces an earlier export as a whole.

    Errors as `check_folder`'s, and OSError if it cannot be written.
    """
    import tensorflow as tf

    check_folder(folder)
    with _whole(folder.resolve()) as temporary:
        about = describe(trained)
        taken = about["environment"].get("action")
        module = policy_module(trained.agent, trained.config.eval_noise, taken)
        names = ("initial", "act")
        signatures = {name: getattr(module, name).get_concrete_function() for name in names}
        try:
            tf.saved_model.save(module, str(temporary), signatures)
        except tf.errors.OpError as error:  # A full disk.
            raise OSError(f"cannot write {folder}: {error.message}") from error
        (temporary / ABOUT).write_text(json.dumps(about, indent=2) + "\n")
        (temporary / "README.md").write_text(_readme(about))


@contextlib.contextmanager
def _whole(folder: pathlib.Path) -> Iterator[pathlib.Path]:
    """An empty folder beside `folder`, which takes its place unless there is an error."""
    temporary = folder.with_name(f".{folder.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)  # Of an export that was killed.
    temporary.mkdir()
    try:
        yield temporary
        if folder.exists():
            shutil.rmtree(folder)
        temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def policy_module(
    agent: "Learner", amount: float, taken: Mapping[str, Any] | None = None
) -> "tf.Module":
    """`initial`, `act` and `to_environment` for any number B of environments, and their variables.

    Args:
      amount: of exploration noise.
      taken: the task's `action`, see `envs.task_description`; None: as the agent's, or an index.
    """
    import tensorflow as tf

    size = agent.action_size
    begun = agent.initial(1)
    before, state = {key: begun[key] for key in agent.remembered}, {}
    for key, value in before.items():
        dtype = tf.float32 if value.dtype.is_floating else value.dtype
        state[key] = tf.TensorSpec([None, *value.shape[1:]], dtype, key)
    state["action"] = tf.TensorSpec([None, size], tf.float32, "action")
    seen = [tf.TensorSpec([None, *shape], DTYPES[k], k) for k, shape in agent.observed.items()]
    seed = tf.TensorSpec([2], tf.int32, "seed")

    def initial(batch: tf.Tensor) -> dict[str, tf.Tensor]:
        begun = {"action": tf.zeros([batch, size]), **agent.initial(batch)}
        return {key: tf.cast(begun[key], spec.dtype) for key, spec in state.items()}

    module = tf.Module()
    # A tf.Module sees no variable of Keras 3, only what is inside of it.
    acting = ("encoder", "vector_encoder", "rssm", "actor")
    networks = filter(None, (getattr(agent.models, name, None) for name in acting))
    module.weights = [v.value for network in networks for v in network.trainable_variables]
    module.initial = _function(initial, [tf.TensorSpec([], tf.int32, "batch")])
    module.act = _function(_act(agent, before, state, amount), [*seen, seed, *state.values()])
    module.to_environment = _function(_to_environment(agent.discrete, taken), [state["action"]])
    return module


def _function(function: Callable, specs: Sequence["tf.TensorSpec"]):
    """Compiled; its arguments have the names of the specs, in a SavedModel too."""
    import tensorflow as tf

    def renamed(*arguments):
        return function(*arguments)

    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    parameters = [inspect.Parameter(spec.name, kind) for spec in specs]
    renamed.__signature__ = inspect.Signature(parameters)
    return tf.function(renamed, specs, autograph=False)


def _act(agent: "Learner", before: Mapping, specs: Mapping, amount: float) -> Callable:
    """(what is seen, seed, the state's parts) -> the next state, by name."""
    import tensorflow as tf

    from clion_tf.learning.noise import SeededNoise

    def act(*arguments) -> dict[str, tf.Tensor]:
        given = dict(zip([*agent.observed, "seed", *specs], arguments, strict=True))
        seen = {key: given[key] for key in agent.observed}
        # What came out in the compute type loses nothing on its way back.
        state = {key: tf.cast(given[key], value.dtype) for key, value in before.items()}
        noise = SeededNoise(given["seed"])
        action, state = agent.policy_step(seen, state, noise, False, amount)
        found = {**state, "action": action}
        return {key: tf.cast(found[key], spec.dtype) for key, spec in specs.items()}

    return act


def _to_environment(discrete: bool, taken: Mapping[str, Any] | None) -> Callable:
    """The agent's actions [B, A] -> the task's own, as `clion_tf.envs` makes them."""
    import tensorflow as tf

    if discrete:
        start = taken["start"] if taken else 0
        return lambda action: tf.argmax(action, -1) + start
    if not taken:
        return tf.identity
    low, high = (tf.constant(taken[end], tf.float64) for end in ("low", "high"))

    def spread(action: tf.Tensor) -> tf.Tensor:
        wide = (tf.cast(action, tf.float64) + 1.0) / 2.0 * (high - low) + low
        # What is not spread stays as it is, to the last digit.
        wide = tf.where((low == -1.0) & (high == 1.0), tf.cast(action, tf.float64), wide)
        return tf.cast(tf.reshape(wide, [-1, *taken["shape"]]), taken["dtype"])

    return spread


def describe(trained: "TrainedAgent") -> dict:
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
        "environment": RunFolder(config.logdir).task(),  # See `envs.task_description`.
        "noise": [config.seed, zlib.crc32(b"test")],  # Begins the words of each step's seed.
    }


def _readme(about: dict) -> str:
    """How to use an export, in Markdown."""
    source = importlib.resources.files(__package__).joinpath("policy_readme.md.jinja")
    template = jinja2.Environment(trim_blocks=True).from_string(source.read_text("utf-8"))
    return template.render(**about, code=code(about["observed"]), dtypes=DTYPES).rstrip() + "\n"


def code(observed: Iterable[str]) -> str:
    """How to act with an export that takes these observations, in Python."""
    return CODE.replace("SEEN", ", ".join(f"{key}[None]" for key in observed))


CODE = """\
import json
import numpy as np
import tensorflow as tf

model = tf.saved_model.load("FOLDER")
noise = json.load(open("FOLDER/policy.json"))["noise"]
state = model.initial(1)
for step in range(500):
    words = np.random.SeedSequence([*noise, 0, step])  # Of episode 0.
    seed = words.generate_state(2).view(np.int32)
    state = model.act(SEEN, seed, **state)  # What it sees.
    action = model.to_environment(state["action"])[0].numpy()  # For its step().
"""
