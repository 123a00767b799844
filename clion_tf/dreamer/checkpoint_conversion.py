"""The original Dreamer's `variables.pkl` as a checkpoint of ours.

The original pickles `tf.Module.variables` of its agent: a tuple without names. It holds

    the environment steps (an integer);
    actor, decoder, RSSM (first the GRU), encoder: kernel and bias of each layer by name;
    the metrics since its last line of log (numbers);
    reward, discount head if there is one, value;

and no state of the optimisers, which are no part of a tf.Module. Kernels have our shapes.
"""

import os
import pathlib
import pickle
import re
import tempfile
from collections.abc import Sequence
from typing import Any

import numpy as np

from clion_tf.agents.clion import Agent
from clion_tf.config import Config
from clion_tf.files import user_path
from clion_tf.logdir.checkpoints import CheckpointError, Checkpoints, Counters, restore
from clion_tf.logdir.run_folder import LogdirError, RunFolder
from clion_tf.models import Models
from clion_tf.replay.episode_files import DAMAGE, load_episode, save_episode
from clion_tf.replay.observation_shapes import PIXELS
from clion_tf.training import hardware

PARTS = ("actor", "decoder", "rssm", "encoder", "reward", "pcont", "value")
WEIGHTS = ("kernel", "recurrent_kernel", "bias")
_CODE = re.compile(r"[biuf][1248]")  # Booleans, integers and floats; no objects, no text.
# What nonsense in a pickle can raise.
_DAMAGE = (pickle.UnpicklingError, EOFError, AttributeError, LookupError, TypeError, ValueError)
_DAMAGE += (OverflowError, MemoryError, RecursionError)


def convert(
    config: Config, path: pathlib.Path, episodes: pathlib.Path | None = None
) -> tuple[pathlib.Path, Counters, int]:
    """Makes the logdir `config.logdir`, from which a run of the same options resumes.

    `path` is the original's `variables.pkl`, of the sizes of `config`; `episodes` its folder of
    episodes, which are copied. Returns (the checkpoint, its counters, the number of actions).
    Raises CheckpointError, naming the first misfit, LogdirError if the logdir exists, and OSError
    if it cannot be written; nothing is left then.
    """
    logdir = user_path(config.logdir).absolute()
    if logdir.exists() and not (logdir.is_dir() and not any(logdir.iterdir())):
        raise LogdirError(f"{logdir}: exists; use another --logdir")
    try:
        step, state, action_size = _agent_state(config, read_arrays(path))
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error
    logdir.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{logdir.name}.", dir=logdir.parent) as work:
        folder = RunFolder(pathlib.Path(work, logdir.name))
        frames = _copy_episodes(episodes, folder.episodes, action_size) if episodes else []
        replay_steps = sum(n - 1 for n in frames) * config.action_repeat
        counters = Counters(steps=max(step, replay_steps), episodes=len(frames))
        counters.begun_at = counters.steps - replay_steps
        counters.logged_at = counters.steps
        if replay_steps >= config.prefill:
            # One phase of updates is due at once, as when the original resumes.
            counters.last_train = counters.steps - config.train_every
        saved = Checkpoints(folder.checkpoints).save(state, counters)
        folder.save_options(config)
        os.replace(folder, logdir)
    return logdir / saved.relative_to(folder), counters, action_size


def order(pcont: bool = False) -> list[str]:
    """Our names of the original's weights, in the order in which it saves them."""

    def place(name: str) -> tuple:
        part, layer, weight = name.split("/")
        return PARTS.index(part), layer != "gru", layer, WEIGHTS.index(weight)

    one = dict.fromkeys(("deter_size", "stoch_size", "hidden_size", "num_units", "cnn_depth"), 1)
    config = Config(pcont=str(pcont), evaluator=False, **one)
    return sorted(Models(config, 1, False, PIXELS).named_weights(), key=place)


def _agent_state(config: Config, arrays: Sequence[np.ndarray]) -> tuple[int, dict, int]:
    """(environment steps, our agent's state, actions); its optimisers' state is as at the start."""
    if not arrays or arrays[0].shape != () or arrays[0].dtype.kind != "i" or arrays[0] < 0:
        raise CheckpointError("not of a Dreamer agent: it does not begin with a count of steps")
    # The only other scalars are its metrics.
    weights = [array for array in arrays[1:] if array.shape != ()]
    names = order(config.predicts_discount)
    named = dict(zip(names, weights, strict=False))
    for name, array in named.items():
        if array.dtype.kind != "f" or not np.isfinite(array).all():
            raise CheckpointError(f"{name} has entries that are no finite numbers")
    # Of continuous actions: img1 reads [s, a]. At least 1, so that it is said what is odd.
    action_size = max(1, len(named.get("rssm/img1/kernel", ())) - config.stoch_size)
    precision, jit, _ = hardware.prepare(config)
    agent = Agent(config, action_size, precision=precision, jit=jit)
    restore(agent.models.named_weights(), named)
    if more := len(weights) - len(names):
        hint = "; with a discount head, say --pcont=True" if more == 8 else ""  # Of four layers.
        raise CheckpointError(f"has {more} arrays more than an agent of these options{hint}")
    state = {name: variable.numpy() for name, variable in agent.named_state().items()}
    return int(arrays[0]), state, action_size


def _copy_episodes(source: pathlib.Path, target: pathlib.Path, action_size: int) -> list[int]:
    """Writes them as ours, uncompressed, in the order of their names; the frames of each."""
    frames = []
    for index, path in enumerate(sorted(source.glob("*.npz"))):
        try:
            episode = load_episode(path)
        except DAMAGE as error:
            raise CheckpointError(f"{path}: no whole episode ({error})") from error
        size = episode["action"].shape[1]
        if size != action_size:
            raise CheckpointError(f"{path}: has {size} actions, the agent {action_size}")
        save_episode(target, index, episode)
        frames.append(len(episode["reward"]))
    if not frames:
        raise CheckpointError(f"{source}: no episodes there")
    return frames


def read_arrays(path: str | pathlib.Path) -> list[np.ndarray]:
    """The arrays of a pickled list or tuple, in its order; scalars have shape ().

    A pickle is a program that may call whatever it names. Here it finds the five names by which
    NumPy (1 and 2) writes arrays, and behind each a few lines of this file in place of NumPy's own.
    Raises CheckpointError if it wants anything else, without doing it, or is damaged.
    """
    with open(path, "rb") as file:
        try:
            found = _Unpickler(file).load()
        except _DAMAGE as error:
            raise CheckpointError(f"no pickle, or a damaged one ({error!r})") from error
    if not isinstance(found, list | tuple):
        raise CheckpointError(f"holds a {type(found).__name__}, not a list of arrays")
    for item in found:
        if not isinstance(item, _Array) or item.value is None:
            raise CheckpointError(f"holds a {type(item).__name__} among its arrays")
    return [item.value for item in found]


class _Dtype:
    """In place of numpy.dtype: called with its code, then told its byte order."""

    def __init__(self, code: str, align: bool = False, copy: bool = False):
        if not (isinstance(code, str) and _CODE.fullmatch(code)):
            raise CheckpointError(f"it has arrays of {code!r}; only numbers are read")
        self.dtype = np.dtype(code)

    def __setstate__(self, state: tuple) -> None:
        self.dtype = self.dtype.newbyteorder(state[1])


class _Array:
    """In place of numpy.ndarray: with its contents, or empty and then told them."""

    def __init__(self, data: Any, dtype: Any, shape: Any, order: str = "C"):
        self.value = None
        if isinstance(dtype, _Dtype):  # Else these are arguments of `_reconstruct`.
            self.value = np.frombuffer(data, dtype.dtype).reshape(shape, order=order)

    def __setstate__(self, state: tuple) -> None:
        _, shape, dtype, fortran, data = state
        self.__init__(data, dtype, shape, "F" if fortran else "C")


_KNOWN: dict[tuple[str, str], Any] = {("numpy", "dtype"): _Dtype, ("numpy", "ndarray"): "ndarray"}
for _core in ("numpy.core", "numpy._core"):  # Of NumPy 1 and 2.
    _KNOWN[f"{_core}.multiarray", "_reconstruct"] = _Array
    _KNOWN[f"{_core}.multiarray", "scalar"] = lambda dtype, data: _Array(data, dtype, ())
    _KNOWN[f"{_core}.numeric", "_frombuffer"] = _Array


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _KNOWN:
            raise CheckpointError(f"it wants {f'{module}.{name}'!r}; only NumPy arrays are read")
        return _KNOWN[module, name]
