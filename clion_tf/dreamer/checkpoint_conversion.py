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

import contextlib
import dataclasses
import os
import pathlib
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from clion_tf.agents.clion import Agent
from clion_tf.config import Config
from clion_tf.dreamer.array_pickles import PickleError, read_arrays
from clion_tf.files import user_path
from clion_tf.logdir.checkpoints import CheckpointError, Checkpoints, Counters
from clion_tf.logdir.run_folder import LogdirError, RunFolder
from clion_tf.models import Models, Sizes
from clion_tf.replay.episode_files import DAMAGE, Episode, load_episode, save_episode
from clion_tf.training import hardware

PARTS = ("actor", "decoder", "rssm", "encoder", "reward", "pcont", "value")
WEIGHTS = ("kernel", "recurrent_kernel", "bias")
PCONT_ARRAYS = 8  # Four dense layers.


@dataclasses.dataclass(frozen=True)
class Converted:
    """What a conversion made: the checkpoint, where it stands, sizes of actions and replay."""

    checkpoint: pathlib.Path
    counters: Counters
    action_size: int
    replay_steps: int


def convert(
    config: Config,
    path: pathlib.Path,
    episodes: pathlib.Path | None = None,
    tell: Callable[[str], None] = lambda line: None,
) -> Converted:
    """Makes the logdir `config.logdir`, which a run of the same options goes on from.

    Args:
      config: options of the run; sizes are to be those of the original agent.
      path: the original's `variables.pkl`.
      episodes: its folder of episodes, which are copied into the logdir.
      tell: takes a line at times, for who waits.

    Raises:
      CheckpointError: if the pickle or an episode is not what it should be, one line that names
        the first misfit. LogdirError: if the logdir exists. OSError: if it cannot be written.
      Nothing is left behind then.
    """
    logdir = user_path(config.logdir).absolute()
    require_new(logdir)
    try:
        step, state, action_size = agent_state(config, read_arrays(path))
    except PickleError as error:
        raise CheckpointError(str(error)) from error
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error
    with _appearing(logdir) as work:
        folder = RunFolder(work)
        frames = copy_episodes(episodes, folder.episodes, action_size, tell) if episodes else []
        replay_steps = sum(n - 1 for n in frames) * config.action_repeat
        counters = Counters(steps=max(step, replay_steps), episodes=len(frames))
        counters.begun_at = counters.steps - replay_steps
        if replay_steps >= config.prefill:
            # One phase of updates is due at once, as when the original goes on.
            counters.last_train = counters.steps - config.train_every
        saved = Checkpoints(folder.checkpoints).save(state, counters)
        folder.save_options(config)
    return Converted(logdir / saved.relative_to(work), counters, action_size, replay_steps)


@contextlib.contextmanager
def _appearing(folder: pathlib.Path) -> Iterator[pathlib.Path]:
    """`with _appearing(folder) as work`: what is put into `work` becomes the folder, or nothing."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    work = pathlib.Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        yield work
        work.chmod(0o755)
        os.replace(work, folder)
    except BaseException:
        shutil.rmtree(work, ignore_errors=True)
        raise


def require_new(logdir: pathlib.Path) -> None:
    """Raises LogdirError if there is something of that name, other than an empty folder."""
    empty = logdir.is_dir() and not any(logdir.iterdir())
    if logdir.exists() and not empty:
        raise LogdirError(f"{logdir}: exists; use another --logdir")


def order(pcont: bool = False) -> list[str]:
    """Our names of the original's weights, in the order in which it saves them."""
    one = dict.fromkeys(("deter_size", "stoch_size", "hidden_size", "num_units", "cnn_depth"), 1)
    names = Models(Sizes(1, pcont=pcont, **one)).named_weights()
    return sorted(names, key=_place)


def _place(name: str) -> tuple:
    part, layer, weight = name.split("/")
    return PARTS.index(part), layer != "gru", layer, WEIGHTS.index(weight)


def agent_state(
    config: Config, arrays: Sequence[np.ndarray]
) -> tuple[int, dict[str, np.ndarray], int]:
    """(environment steps, state of our agent by name, number of its actions).

    Args:
      arrays: those of a variables.pkl. What it lacks, the optimisers' state, is as at the start.

    Raises:
      CheckpointError: for what is not of an agent of these options.
    """
    if not arrays or arrays[0].shape != () or arrays[0].dtype.kind != "i" or arrays[0] < 0:
        raise CheckpointError("not of a Dreamer agent: it does not begin with a count of steps")
    # The only other scalars are its metrics.
    weights = [array for array in arrays[1:] if array.shape != ()]
    names = order(config.predicts_discount)
    action_size = _action_size(names, weights, config.stoch_size)
    precision, jit, _ = hardware.prepare(config)
    agent = Agent(config, action_size, False, precision, jit)
    found = named(names, weights, agent.models.named_weights())
    state = {name: variable.numpy() for name, variable in agent.named_state().items()}
    state |= {f"weights/{name}": array for name, array in found.items()}
    return int(arrays[0]), state, action_size


def named(
    names: Sequence[str], weights: Sequence[np.ndarray], expected: Mapping[str, "object"]
) -> dict[str, np.ndarray]:
    """{name: float32 array}, each compared with the shape of our variable.

    Raises:
      CheckpointError: naming the first that does not fit.
    """
    if missing := sorted(expected.keys() - set(names)):
        raise CheckpointError(f"the original has no {missing[0]}; --noevaluator, as Dreamer")
    for name, array in zip(names, weights, strict=False):
        ours = tuple(expected[name].shape)
        if array.shape != ours:
            raise CheckpointError(
                f"{name} is {array.shape}, not {ours} as an agent of these options has"
            )
        if array.dtype.kind != "f" or not np.isfinite(array).all():
            raise CheckpointError(f"{name} has entries that are no finite numbers")
    if len(weights) < len(names):
        raise CheckpointError(f"ends before {names[len(weights)]}")
    if len(weights) > len(names):
        more = len(weights) - len(names)
        hint = "; with a discount head, say --pcont=True" if more == PCONT_ARRAYS else ""
        raise CheckpointError(f"has {more} arrays more than an agent of these options{hint}")
    return {n: np.asarray(a, np.float32) for n, a in zip(names, weights, strict=True)}


def _action_size(names: Sequence[str], weights: Sequence[np.ndarray], stoch: int) -> int:
    """Of continuous actions: img1 reads [s, a]. At least 1, so that `named` can say what is odd."""
    place = names.index("rssm/img1/kernel")
    if place >= len(weights) or weights[place].ndim != 2:
        return 1
    return max(1, weights[place].shape[0] - stoch)


def copy_episodes(
    source: pathlib.Path, target: pathlib.Path, action_size: int, tell: Callable[[str], None]
) -> list[int]:
    """Writes the original's episodes as ours, in the order of their names, which begin with times.

    Uncompressed and float32, as `clion_tf.replay.replay_buffer` reads fastest.

    Returns:
      the number of frames of each.

    Raises:
      CheckpointError: if there are none, or one cannot be read or has other actions.
    """
    paths = sorted(source.glob("*.npz"))
    if not paths:
        raise CheckpointError(f"{source}: no episodes there")
    frames = []
    for index, path in enumerate(paths):
        episode = _read(path)
        size = episode["action"].shape[1]
        if size != action_size:
            raise CheckpointError(f"{path}: has {size} actions, the agent {action_size}")
        save_episode(target, index, episode)
        frames.append(len(episode["reward"]))
        if (index + 1) % 10 == 0:
            tell(f"{index + 1} of {len(paths)} episodes")
    return frames


def _read(path: pathlib.Path) -> Episode:
    try:
        return load_episode(path)
    except DAMAGE as error:
        raise CheckpointError(f"{path}: no whole episode ({error})") from error
