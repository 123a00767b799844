"""The original Dreamer's `variables.pkl` as a checkpoint of ours.

The original pickles `tf.Module.variables` of its agent: a tuple without names, in an order that
follows from the names of its attributes. It holds, in this order,

    the environment steps (an integer);
    actor, decoder, RSSM (first the GRU), encoder: kernel and bias of each layer by name;
    the metrics since its last line of log (numbers: they come between the networks);
    reward, discount head if there is one, value;

and neither the optimisers' moments nor their loss scales, which are no part of a tf.Module. Kernels
have the shapes that ours have.
"""

import os
import pathlib
import tempfile
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from clion_tf.agents.clion import Agent
from clion_tf.config import Config
from clion_tf.dreamer.array_pickles import read_arrays
from clion_tf.files import user_path
from clion_tf.logdir.checkpoints import CheckpointError, Checkpoints, Counters, restore
from clion_tf.logdir.run_folder import LogdirError, RunFolder
from clion_tf.models import Models
from clion_tf.replay.episode_files import DAMAGE, load_episode, save_episode
from clion_tf.replay.observation_shapes import PIXELS
from clion_tf.training import hardware

PARTS = ("actor", "decoder", "rssm", "encoder", "reward", "pcont", "value")
WEIGHTS = ("kernel", "recurrent_kernel", "bias")
PCONT_ARRAYS = 8  # Four dense layers.


class Converted(NamedTuple):
    """What a conversion made."""

    checkpoint: pathlib.Path
    counters: Counters
    action_size: int
    replay_steps: int  # Of the episodes.


def convert(config: Config, path: pathlib.Path, episodes: pathlib.Path | None = None) -> Converted:
    """Makes the logdir `config.logdir`, which a run of the same options goes on from.

    Args:
      config: options of the run; sizes are to be those of the original agent.
      path: the original's `variables.pkl`.
      episodes: its folder of episodes, which are copied into the logdir.

    Raises:
      CheckpointError: naming the first misfit of the pickle or an episode.
      LogdirError: if the logdir exists. OSError: if it cannot be written. Nothing is left then.
    """
    logdir = user_path(config.logdir).absolute()
    if logdir.exists() and not (logdir.is_dir() and not any(logdir.iterdir())):
        raise LogdirError(f"{logdir}: exists; use another --logdir")
    arrays = read_arrays(path)
    try:
        step, state, action_size = _agent_state(config, arrays)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error
    logdir.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{logdir.name}.", dir=logdir.parent) as work:
        folder = RunFolder(pathlib.Path(work, logdir.name))
        frames = _copy_episodes(episodes, folder.episodes, action_size) if episodes else []
        replay_steps = sum(n - 1 for n in frames) * config.action_repeat
        counters = Counters(steps=max(step, replay_steps), episodes=len(frames))
        counters.begun_at = counters.steps - replay_steps
        if replay_steps >= config.prefill:
            # One phase of updates is due at once, as when the original goes on.
            counters.last_train = counters.steps - config.train_every
        saved = Checkpoints(folder.checkpoints).save(state, counters)
        folder.save_options(config)
        os.replace(folder, logdir)
    return Converted(logdir / saved.relative_to(folder), counters, action_size, replay_steps)


def order(pcont: bool = False) -> list[str]:
    """Our names of the original's weights, in the order in which it saves them."""
    one = dict.fromkeys(("deter_size", "stoch_size", "hidden_size", "num_units", "cnn_depth"), 1)
    config = Config(pcont=str(pcont), evaluator=False, **one)
    return sorted(Models(config, 1, False, PIXELS).named_weights(), key=_place)


def _place(name: str) -> tuple:
    part, layer, weight = name.split("/")
    return PARTS.index(part), layer != "gru", layer, WEIGHTS.index(weight)


def _agent_state(
    config: Config, arrays: Sequence[np.ndarray]
) -> tuple[int, dict[str, np.ndarray], int]:
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
    reads = len(named.get("rssm/img1/kernel", ()))
    action_size = max(1, reads - config.stoch_size)
    precision, jit, _ = hardware.prepare(config)
    agent = Agent(config, action_size, False, precision, jit)
    restore(agent.models.named_weights(), named)
    if more := len(weights) - len(names):
        hint = "; with a discount head, say --pcont=True" if more == PCONT_ARRAYS else ""
        raise CheckpointError(f"has {more} arrays more than an agent of these options{hint}")
    state = {name: variable.numpy() for name, variable in agent.named_state().items()}
    return int(arrays[0]), state, action_size


def _copy_episodes(source: pathlib.Path, target: pathlib.Path, action_size: int) -> list[int]:
    """Writes them as ours, uncompressed, in the order of their names; the frames of each."""
    paths = sorted(source.glob("*.npz"))
    if not paths:
        raise CheckpointError(f"{source}: no episodes there")
    frames = []
    for index, path in enumerate(paths):
        try:
            episode = load_episode(path)
        except DAMAGE as error:
            raise CheckpointError(f"{path}: no whole episode ({error})") from error
        size = episode["action"].shape[1]
        if size != action_size:
            raise CheckpointError(f"{path}: has {size} actions, the agent {action_size}")
        save_episode(target, index, episode)
        frames.append(len(episode["reward"]))
    return frames
