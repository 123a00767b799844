"""The first updates before training begins: what fails on this device fails now, in a line.

On a GPU an update is compiled for minutes at its first call, which comes after the seed episodes;
XLA needs tools beside TensorFlow for that (ptxas, libdevice), and cards differ in memory.
"""

import time
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from clion_tf.agents.base import Learner
from clion_tf.agents.device_errors import DeviceError, cause
from clion_tf.config import Config, ConfigError
from clion_tf.replay.episode_files import DTYPES
from clion_tf.training.hardware import INSTALL, on_gpu


def rehearse(agent: Learner, config: Config, each: int, say: Callable[[str], None]) -> None:
    """Makes the updates' first calls on blank batches; nothing is left but what they compiled.

    Where XLA fails it is left out, unless it was asked for (`--jit=on`). Does nothing for plain
    graphs on a CPU, where a call compiles nothing. `each`: updates in a call; `say` takes a line
    for the user. Raises MemoryError if the device has too little, ConfigError for other failures.
    """
    if not agent.jit and not on_gpu():
        return
    start = time.perf_counter()
    if agent.jit:
        say("compiling the update by XLA; this takes a minute or more")
    failure = _try_out(agent, config, each)
    if failure is not None and agent.jit and config.jit == "auto":
        say(
            f"XLA does not compile the update ({failure}); "
            f"going on without it, slower{_advice(failure)}"
        )
        agent.compile_update(jit=False)
        failure = _try_out(agent, config, each)
    if isinstance(failure, MemoryError):
        raise failure
    if failure is not None and agent.jit:
        advice = _advice(failure)
        raise ConfigError(f"--jit=on: XLA fails ({failure}); --jit=off needs none{advice}")
    if failure is not None:
        raise ConfigError(f"no update can be made ({failure}); --device=cpu needs no GPU")
    if agent.jit:
        say(f"compiled in {time.perf_counter() - start:.0f} s")


def _try_out(agent: Learner, config: Config, each: int) -> Exception | None:
    """What the calls raise: those of whole phases, and of what is left over in them."""
    phases = [count for count in (config.pretrain, config.train_steps) if count]
    state = {name: variable.numpy() for name, variable in agent.named_state().items()}
    shapes = {**agent.observed, "action": (agent.action_size,), "reward": (), "discount": ()}
    batch = {
        key: np.zeros((config.batch_size, agent.sequence, *shape), DTYPES[key])
        for key, shape in shapes.items()
    }
    try:
        if each > 1 and any(count >= each for count in phases):
            agent.train_several([batch] * each, range(each)).numpy()
        if each == 1 or any(count % each for count in phases):
            agent.train(batch, 0).numpy()
    except (MemoryError, DeviceError) as error:
        return error
    except tf.errors.OpError as error:
        if not agent.jit:  # A mistake of the program, not of the device.
            raise
        return DeviceError(f"{type(error).__name__}: {cause(error)}")
    finally:
        for name, variable in agent.named_state().items():
            variable.assign(state[name])
    return None


def _advice(failure: Exception) -> str:
    """What helps XLA, as the end of a sentence, if anything is known to."""
    if isinstance(failure, MemoryError):
        return "; a smaller --batch_size needs less memory"
    if any(tool in str(failure) for tool in ("ptxas", "PTX", "libdevice", "nvlink")):
        return (
            f"; {INSTALL} brings ptxas and libdevice, or name CUDA's folder: "
            "XLA_FLAGS=--xla_gpu_cuda_data_dir=/usr/local/cuda"
        )
    return ""
