"""A trained agent's evaluation policy as a TensorFlow SavedModel that needs no clion_tf.

    state = model.initial(B)
    state = model.act(image, seed, **state)
    action = model.to_environment(state["action"])     what to do
    state = model.act(image, seed, **state)            and so on, a frame at a time

Images are uint8 [B, H, W, 3]; an agent that sees a vector, float32 [B, n], takes `vector` instead
of the image, or after it. A seed is int32 [2] and names all noise of a step. A state is all that
the policy remembers, by name, and the agent's last `action`, float32 [B, A] in [-1, 1] or one-hot;
`to_environment` makes of it what the task itself takes: of its bounds and shape, or an index.

Importing this loads no TensorFlow, so that a folder can be refused at once.
"""

import contextlib
import importlib.resources
import inspect
import json
import pathlib
import shutil
import textwrap
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
    """Refuses a folder that holds something else than an earlier export.

    Raises:
      ExportError: then, or if there is no folder to make it in.
    """
    parent = folder.resolve().parent  # Of what a link leads to.
    if not parent.is_dir():
        raise ExportError(f"{folder}: no such folder as {parent}")
    if folder.exists() and not folder.is_dir():
        raise ExportError(f"{folder}: is a file")
    if folder.is_dir() and any(folder.iterdir()) and not is_export(folder):
        raise ExportError(f"{folder}: holds something else than an export; use another folder")


def is_export(folder: pathlib.Path) -> bool:
    """Whether `save` wrote it."""
    try:
        return json.loads((folder / ABOUT).read_text())["kind"] == KIND
    except (OSError, ValueError, KeyError, TypeError):
        return False


def save(trained: "TrainedAgent", folder: pathlib.Path) -> None:
    """Writes the SavedModel, `policy.json` and a README; replaces an earlier export as a whole.

    Raises:
      ExportError: see `check_folder`.
    """
    import tensorflow as tf

    check_folder(folder)
    with _whole(folder) as temporary:
        about = describe(trained)
        module = policy_module(
            trained.agent, trained.config.eval_noise, about["environment"].get("action")
        )
        signatures = {
            "initial": module.initial.get_concrete_function(),
            "act": module.act.get_concrete_function(),
        }
        try:
            tf.saved_model.save(module, str(temporary), signatures)
        except tf.errors.OpError as error:  # A full disk, as everywhere else: an OSError.
            raise OSError(f"cannot write {folder}: {error.message}") from error
        (temporary / ABOUT).write_text(json.dumps(about, indent=2) + "\n")
        (temporary / "README.md").write_text(readme(about))


def policy_module(
    agent: "Learner", amount: float, taken: Mapping[str, Any] | None = None
) -> "tf.Module":
    """`initial`, `act` and `to_environment` for any number B of environments, and their variables.

    Args:
      agent: the networks.
      amount: of exploration noise.
      taken: the task's `action`, see `envs.task_description`; None: as the agent's, or an index.
    """
    import tensorflow as tf

    size = agent.sizes.action_size
    before = {key: value for key, value in agent.initial(1).items() if key in agent.remembered}
    state = {key: _open(before[key], key) for key in agent.remembered}
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
    module.act = _function(_act(agent, before, list(state), amount), [*seen, seed, *state.values()])
    module.to_environment = _function(_to_environment(agent.sizes, taken), [state["action"]])
    return module


def _open(value: "tf.Tensor", name: str) -> "tf.TensorSpec":
    """Of a part of the state for any number of environments; float32 if it is of a float type."""
    import tensorflow as tf

    dtype = tf.float32 if value.dtype.is_floating else value.dtype
    return tf.TensorSpec([None, *value.shape[1:]], dtype, name)


def _function(function: Callable, specs: Sequence["tf.TensorSpec"]):
    """Compiled; its arguments have the names of the specs, in a SavedModel too."""
    import tensorflow as tf

    def renamed(*arguments):
        return function(*arguments)

    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    parameters = [inspect.Parameter(spec.name, kind) for spec in specs]
    renamed.__signature__ = inspect.Signature(parameters)
    return tf.function(renamed, specs, autograph=False)


def _act(agent: "Learner", before: Mapping, names: Sequence[str], amount: float) -> Callable:
    """(what is seen, seed, the state's parts) -> the next state, by name."""
    import tensorflow as tf

    from clion_tf.learning.noise import SeededNoise

    def act(*arguments) -> dict[str, tf.Tensor]:
        words = [*agent.observed, "seed", *names]
        given = dict(zip(words, arguments, strict=True))
        seen = {key: given[key] for key in agent.observed}
        # What came out in the compute type loses nothing on its way back.
        state = {key: tf.cast(given[key], value.dtype) for key, value in before.items()}
        noise = SeededNoise(given["seed"])
        action, state = agent.policy_step(seen, state, noise, False, amount)
        found = {**state, "action": action}
        return {
            key: tf.cast(found[key], tf.float32) if found[key].dtype.is_floating else found[key]
            for key in names
        }

    return act


def _to_environment(sizes, taken: Mapping[str, Any] | None) -> Callable:
    """The agent's actions [B, A] -> the task's own, as `clion_tf.envs` makes them."""
    import tensorflow as tf

    if sizes.discrete:
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
    """What is exported, for `policy.json`; `noise` begins the words of each step's seed.

    `environment` is what the task takes and shows (`clion_tf.envs.task_description`).
    """
    config, sizes = trained.config, trained.agent.sizes
    return {
        "kind": KIND,
        "task": config.task,
        "checkpoint": trained.path.name,
        "environment_steps": trained.counters.steps,
        "policy": config.eval_action,
        "exploration_noise": config.eval_noise,
        "action_repeat": config.action_repeat,
        "observed": {key: list(shape) for key, shape in trained.agent.observed.items()},
        "action_size": sizes.action_size,
        "discrete": sizes.discrete,
        "environment": RunFolder(config.logdir).task(),
        "noise": [config.seed, zlib.crc32(b"test")],
    }


def readme(about: dict) -> str:
    """How to use an export, in Markdown."""
    source = importlib.resources.files(__package__).joinpath("policy_readme.md.jinja")
    template = jinja2.Environment(trim_blocks=True).from_string(source.read_text("utf-8"))
    text = template.render(**about, code=code(about["observed"]), dtypes=DTYPES)
    return "\n".join(map(_wrapped, text.rstrip().split("\n"))) + "\n"


def _wrapped(line: str) -> str:
    """A line of text; code and tables as they are."""
    if line.startswith(("    ", "  |")):
        return line
    later = "  " if line.startswith("- ") else ""
    whole = {"break_long_words": False, "break_on_hyphens": False}
    return textwrap.fill(line, 100, subsequent_indent=later, **whole)


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


@contextlib.contextmanager
def _whole(folder: pathlib.Path) -> Iterator[pathlib.Path]:
    """An empty folder beside `folder`, which takes its place unless there is an error."""
    folder = folder.resolve()
    temporary, old = (folder.with_name(f".{folder.name}.{word}") for word in ("tmp", "old"))
    for left in (temporary, old):  # By an export that was killed.
        shutil.rmtree(left, ignore_errors=True)
    temporary.mkdir()
    try:
        yield temporary
        if folder.exists():
            folder.rename(old)
        temporary.rename(folder)
    finally:
        if old.exists() and not folder.exists():
            old.rename(folder)
        for left in (temporary, old):
            shutil.rmtree(left, ignore_errors=True)
