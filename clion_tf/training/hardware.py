"""Where the learner runs, in which precision, and whether updates can be made there."""

import contextlib
import logging
import os
import time
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from clion_tf.agents.base import Learner
from clion_tf.agents.device_errors import DeviceError, cause
from clion_tf.config import Config, ConfigError
from clion_tf.envs import nvidia_gpus
from clion_tf.replay.episode_files import DTYPES

INSTALL = "pip install '.[gpu]'"

# B * L * cnn_depth above which a CPU runs one operation at a time, on all cores: two at a time need
# a third more memory and save 1 to 2 % of the time (below, in the `cpu` preset, they save 5 %).
LARGE = 2**15

_ERRORS = (RuntimeError, tf.errors.OpError)  # Of a driver that fails half-way.
_log = logging.getLogger(__name__)


def prepare(config: Config, alone: bool = True) -> tuple[str, bool, str]:
    """Sets up the device, before anything is computed; says why a GPU is not used.

    Returns precision (`32`, `bf16`, `16`), whether to compile by XLA, and what runs where in words.
    With `alone` False (inside a user's program) settings stay, except: all GPUs are hidden if
    unusable or not wanted (`--device=cpu`), and GPU memory grows on demand. Raises ConfigError if
    `--device=gpu` finds no usable GPU, RuntimeError for `--device=cpu` if a GPU runs already.
    """
    gpus, why = _usable(config, alone)
    if why:
        with contextlib.suppress(*_ERRORS):  # So that TensorFlow does not try them again.
            tf.config.set_visible_devices([], "GPU")
    if config.device == "gpu" and not gpus:
        why = why or f"TensorFlow sees none; on a machine with one, {INSTALL}"
        raise ConfigError(f"--device=gpu: no GPU can be used ({why}), or use --device=auto")
    if why:
        _log.warning("not on the GPU but on the CPU: %s", why)
    size = config.batch_size * config.batch_length * config.cnn_depth
    large = config.agent == "clion" and size > LARGE and "TF_NUM_INTEROP_THREADS" not in os.environ
    if large and alone and not gpus and config.strategy == "none":
        with contextlib.suppress(RuntimeError):  # TensorFlow runs already.
            tf.config.threading.set_inter_op_parallelism_threads(1)
    if config.deterministic and alone:  # It changes what the whole process may do.
        tf.config.experimental.enable_op_determinism()
    if alone:  # Else GPUs round the factors of float32 products to 10 bits.
        tf.config.experimental.enable_tensor_float_32_execution(False)
    details = tf.config.experimental.get_device_details(gpus[0]) if gpus else {}
    precision, new = config.precision, details.get("compute_capability", (0, 0)) >= (8, 0)
    if precision == "auto":
        precision = ("bf16" if new else "16") if gpus else "32"
    jit = bool(gpus) if config.jit == "auto" else config.jit == "on"
    where = f"{len(gpus)} GPU{_name(details)}" if gpus else "CPU"
    return precision, jit, f"{where}, precision {precision}, XLA {'on' if jit else 'off'}"


def _usable(config: Config, alone: bool) -> tuple[list, str]:
    """(GPUs to use, ''), or ([], why not): '' if there is no GPU, or if none is wanted."""
    if config.device == "cpu":
        tf.config.set_visible_devices([], "GPU")
        return [], ""
    try:
        gpus = tf.config.list_physical_devices("GPU")
    except _ERRORS as error:
        return [], _absence() or cause(error)
    if not gpus:
        return [], _absence()
    if not tf.config.get_visible_devices("GPU"):
        return [], ""  # Hidden by this very process.
    if why := _too_old(nvidia_gpus.driver()):
        return [], why
    one = config.strategy == "none"
    if one and len(gpus) > 1 and alone:
        how = "--strategy=mirrored splits batches over all, CUDA_VISIBLE_DEVICES=1 takes the second"
        _log.warning("%d GPUs, of which the first is used: %s", len(gpus), how)
        gpus = gpus[:1]
    with contextlib.suppress(RuntimeError):  # TensorFlow runs already, and stays as it is.
        if one and alone:
            tf.config.set_visible_devices(gpus, "GPU")
        for gpu in gpus:
            tf.config.experimental.set_memory_growth(gpu, True)
    try:
        # Strategies start the devices, and some must do so first.
        if not one or tf.config.list_logical_devices("GPU"):
            return gpus, ""
    except _ERRORS as error:  # E.g. "cudaSetDevice() on GPU:0 failed. Status: …".
        return [], f"it does not start ({cause(error)}): see nvidia-smi"
    # "Ignoring visible gpu device … The minimum required Cuda capability is …"
    details = tf.config.experimental.get_device_details(gpus[0])
    return [], f"TensorFlow does not support it{_name(details)}"


def _name(details: dict) -> str:
    return f" ({details['device_name']})" if details.get("device_name") else ""


def _absence() -> str:
    """Why TensorFlow sees no GPU where there is an NVIDIA GPU; '' where there is none."""
    # As TensorFlow 2.21 looks for one: `cuInit` (cuda_platform.cc), then libraries (gpu_device.cc).
    if not nvidia_gpus.count():
        return ""
    visible, driver = os.environ.get("CUDA_VISIBLE_DEVICES"), nvidia_gpus.driver()
    if visible is not None and visible.strip()[:1] in ("", "-", ","):
        return f"CUDA_VISIBLE_DEVICES={visible!r} hides the GPU: unset it"
    if needed_cuda() is None:
        return f"this TensorFlow is built without CUDA: {INSTALL} in a new environment"
    if not driver.loads:
        install = "install it, or start the container with its GPU (docker run --gpus=all)"
        return f"NVIDIA's driver is missing ({nvidia_gpus.LIBRARY}): {install}"
    if why := _too_old(driver):
        return why
    if driver.error == 100 and visible is not None:  # CUDA_ERROR_NO_DEVICE of cuda.h.
        return f"CUDA_VISIBLE_DEVICES={visible!r} names no GPU of this machine: see nvidia-smi -L"
    if driver.error:
        restart = "see nvidia-smi; after an update of the driver, restart the machine"
        return f"NVIDIA's driver does not start (cuInit: error {driver.error}): {restart}"
    return f"TensorFlow does not find CUDA's libraries: {INSTALL}"


def needed_cuda() -> int | None:
    """The major version of CUDA that this TensorFlow is built with, None if with none."""
    build = tf.sysconfig.get_build_info()
    version = build.get("cuda_version", "") if build.get("is_cuda_build") else ""
    return int(version.partition(".")[0]) if version else None


def _too_old(driver: nvidia_gpus.Driver) -> str:
    """That the driver serves only older major versions of CUDA, '' if it does not."""
    needed = needed_cuda()
    if needed is None or driver.cuda is None or driver.cuda[0] >= needed:
        return ""
    has = ".".join(map(str, driver.cuda))
    return f"NVIDIA's driver is too old: it serves CUDA {has}, TensorFlow needs {needed}: update it"


def on_gpu() -> bool:
    """Whether TensorFlow computes on a GPU; it must have been prepared, and starts its devices."""
    return bool(tf.config.list_logical_devices("GPU"))


def rehearse(agent: Learner, config: Config, each: int, say: Callable[[str], None]) -> None:
    """Makes the first updates on blank batches, `each` in a call, and takes them back.

    Compiling takes minutes on a GPU; failures show now, and not after the seed episodes. If XLA
    fails, training continues without it, unless `--jit=on`. Raises MemoryError if the device has
    too little memory, ConfigError for other failures.
    """
    if not agent.jit and not on_gpu():
        return
    start = time.perf_counter()
    if agent.jit:
        say("compiling the update by XLA; this takes a minute or more")
    failure = _first_failure(agent, config, each)
    advice = _advice(failure)
    if failure and agent.jit and config.jit == "auto":
        say(f"XLA does not compile the update ({failure}); continuing without it, slower{advice}")
        agent.compile_update(jit=False)
        failure = _first_failure(agent, config, each)
    if isinstance(failure, MemoryError):
        raise failure
    if failure and agent.jit:
        raise ConfigError(f"--jit=on: XLA fails ({failure}); --jit=off needs none{advice}")
    if failure:
        raise ConfigError(f"no update can be made ({failure}); --device=cpu needs no GPU")
    if agent.jit:
        say(f"compiled in {time.perf_counter() - start:.0f} s")


def _first_failure(agent: Learner, config: Config, each: int) -> Exception | None:
    """What the calls raise: those of several updates, and of one where some may be left over."""
    over = any(count % each for count in (config.pretrain, config.train_steps))
    state = {name: variable.numpy() for name, variable in agent.named_state().items()}
    shapes = {**agent.observed, "action": (agent.action_size,), "reward": (), "discount": ()}
    rows = config.batch_size, agent.sequence_length
    batch = {key: np.zeros((*rows, *shape), DTYPES[key]) for key, shape in shapes.items()}
    try:
        if each > 1:  # Several phases may be due at once.
            agent.train_several([batch] * each, range(each))
        if each == 1 or over:
            agent.train(batch, 0)
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


def _advice(failure: Exception | None) -> str:
    """What helps XLA, as the end of a sentence, if anything is known to."""
    if isinstance(failure, MemoryError):
        return "; a smaller --batch_size needs less memory"
    if any(tool in str(failure) for tool in ("ptxas", "PTX", "libdevice", "nvlink")):
        folder = "XLA_FLAGS=--xla_gpu_cuda_data_dir=/usr/local/cuda"
        return f"; {INSTALL} brings ptxas and libdevice, or name CUDA's folder: {folder}"
    return ""
