"""A trained agent's evaluation policy as a TensorFlow SavedModel that needs no clion_tf.

    state = model.initial(B)
    state = model.act(image, seed, **state)     state["action"] is what to do
    state = model.act(image, seed, **state)     and so on, a frame at a time

States are float32: `stoch` [B, S], `deter` [B, D] and `action` [B, A]; images uint8
[B, 64, 64, 3]; a seed is int32 [2] and names all noise of a step. An agent that sees a vector
[B, n], float32, takes `vector` instead of the image, or after it.

Importing this loads no TensorFlow, so that a folder can be refused at once.
"""

import contextlib
import json
import pathlib
import shutil
import textwrap
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from clion_tf.observations import DTYPES

if TYPE_CHECKING:
    import tensorflow as tf

    from clion_tf.agent import Agent
    from clion_tf.loading import TrainedAgent

ABOUT = "policy.json"  # Says what was exported, and that a folder is an export.
KIND = "clion_tf policy"


class ExportError(ValueError):
    """A folder that must not be written; the message is one line."""


def check_folder(folder: pathlib.Path) -> None:
    """Refuses a folder that holds something else than an earlier export.

    Raises:
      ExportError: then, or if there is no folder to make it in.
    """
    if not folder.absolute().parent.is_dir():
        raise ExportError(f"{folder}: no such folder as {folder.absolute().parent}")
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
        module = policy_module(trained.agent, trained.config.eval_noise)
        signatures = {
            "initial": module.initial.get_concrete_function(),
            "act": module.act.get_concrete_function(),
        }
        tf.saved_model.save(module, str(temporary), signatures)
        about = describe(trained)
        (temporary / ABOUT).write_text(json.dumps(about, indent=2) + "\n")
        (temporary / "README.md").write_text(readme(about))


def policy_module(agent: "Agent", amount: float) -> "tf.Module":
    """`initial` and `act` for any number B of environments, and the variables that they read.

    Args:
      agent: the networks.
      amount: of exploration noise.
    """
    import tensorflow as tf

    sizes, models = agent.sizes, agent.models
    shapes = {"stoch": sizes.stoch_size, "deter": sizes.deter_size, "action": sizes.action_size}
    state = [tf.TensorSpec([None, size], tf.float32, key) for key, size in shapes.items()]
    batch = tf.TensorSpec([], tf.int32, "batch")
    seen = [tf.TensorSpec([None, *shape], DTYPES[k], k) for k, shape in agent.observed.items()]
    seed = tf.TensorSpec([2], tf.int32, "seed")

    def initial(batch: tf.Tensor) -> dict[str, tf.Tensor]:
        return {key: tf.zeros([batch, size]) for key, size in shapes.items()}

    module = tf.Module()
    # A tf.Module sees no variable of Keras 3, only what is inside of it.
    networks = (models.encoder, models.rssm, models.actor)
    module.weights = [v.value for network in networks for v in network.trainable_variables]
    module.initial = tf.function(initial, [batch], autograph=False)
    module.act = tf.function(_act(agent, shapes, amount), [*seen, seed, *state], autograph=False)
    return module


def _act(agent: "Agent", shapes: dict[str, int], amount: float) -> Callable:
    """(what is seen, seed, stoch, deter, action) -> the next three, by name."""
    import tensorflow as tf

    from clion_tf.noise import SeededNoise

    def step(seen, seed, stoch, deter, action) -> dict[str, tf.Tensor]:
        # The memory came out in the compute type, so the way back through it loses nothing.
        deter = tf.cast(deter, agent.models.rssm.compute_dtype)
        state = {"stoch": stoch, "deter": deter, "action": action}
        _, state = agent.policy_step(seen, state, SeededNoise(seed), False, amount)
        return {key: tf.cast(state[key], tf.float32) for key in shapes}

    # Written out, because a SavedModel's arguments have the names of the function's.
    def of_image(image, seed, stoch, deter, action):
        return step({"image": image}, seed, stoch, deter, action)

    def of_vector(vector, seed, stoch, deter, action):
        return step({"vector": vector}, seed, stoch, deter, action)

    def of_both(image, vector, seed, stoch, deter, action):
        return step({"image": image, "vector": vector}, seed, stoch, deter, action)

    kinds = {("image",): of_image, ("vector",): of_vector, ("image", "vector"): of_both}
    return kinds[tuple(agent.observed)]


def describe(trained: "TrainedAgent") -> dict:
    """What is exported, for `policy.json`; `noise` begins the words of each step's seed."""
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
        "noise": [config.seed, zlib.crc32(b"test")],
    }


def readme(about: dict) -> str:
    """How to use an export, in Markdown."""
    kind = "one-hot" if about["discrete"] else "in [-1, 1]"
    seen = " and ".join(
        f"`{key}` {DTYPES[key]} {['B', *shape]}".replace("'", "")
        for key, shape in about["observed"].items()
    )
    shown = textwrap.indent(code(about["observed"]), "    ")
    return README.format(**about, action_kind=kind, seen=seen, code=shown)


def code(observed: Iterable[str]) -> str:
    """How to act with an export that takes these observations, in Python."""
    return CODE.replace("SEEN", ", ".join(f"{key}[None]" for key in observed))


README = """\
# Policy for {task}
A TensorFlow SavedModel, trained for {environment_steps:,} environment steps; policy `{policy}`.

{code}
`act` takes {seen}, a seed int32 [2] and the state, and gives the next state,
float32; its `action` [B, {action_size}], {action_kind}, is what to do next, held for
{action_repeat} control steps of the simulator. `initial` gives the state before an episode. Seeds
made as above give the actions of the agent in its own evaluations; any others will do, if they
differ from step to step. The same functions are there as the signatures `initial` and `act`.
"""

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
    state = model.act(SEEN, seed, **state)  # With what your environment shows.
    action = state["action"][0].numpy()
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
