"""Where the learner runs and in which precision; why not on a GPU, and what to do.

TensorFlow says why only in warnings that are held back (`console.quiet_import`). The checks follow
TensorFlow 2.21: `cuInit` of the driver, which heeds CUDA_VISIBLE_DEVICES (xla/stream_executor/cuda/
cuda_platform.cc), then CUDA's libraries (core/common_runtime/gpu/gpu_device.cc).
"""

import contextlib
import logging
import os
from typing import Any

import tensorflow as tf

from clion_tf.agents.device_errors import cause
from clion_tf.config import Config, ConfigError
from clion_tf.envs import nvidia_gpus

INSTALL = "pip install '.[gpu]'"
NO_DEVICE = 100  # CUDA_ERROR_NO_DEVICE of cuda.h.

_log = logging.getLogger(__name__)


def prepare(config: Config, alone: bool = True) -> tuple[str, bool, str]:
    """Sets up the device, before anything is computed; says why a GPU is not used.

    Args:
      alone: whether this process is ours; else GPUs that are not used stay visible to others in it.

    Returns:
      precision (`32`, `bf16`, `16`), whether to compile by XLA, and a line that says what runs
      where.

    Raises:
      ConfigError: if a GPU is asked for and none can be used.
      RuntimeError: if the CPU is asked for and TensorFlow runs on a GPU already.
    """
    gpus: list[Any] = []
    why = ""
    if config.device == "cpu":
        tf.config.set_visible_devices([], "GPU")
    else:
        gpus, why = _usable(config, alone)
    if config.device == "gpu" and not gpus:
        why = why or f"TensorFlow sees none; on a machine with one, {INSTALL}"
        raise ConfigError(f"--device=gpu: no GPU can be used ({why}), or use --device=auto")
    if why:
        _log.warning("not on the GPU but on the CPU: %s", why)
    if config.deterministic:
        tf.config.experimental.enable_op_determinism()
    details = tf.config.experimental.get_device_details(gpus[0]) if gpus else {}
    precision = config.precision
    if precision == "auto" and gpus:
        precision = "bf16" if details.get("compute_capability", (0, 0)) >= (8, 0) else "16"
    elif precision == "auto":
        precision = "32"
    jit = bool(gpus) if config.jit == "auto" else config.jit == "on"
    where = f"{len(gpus)} GPU{_name(details)}" if gpus else "CPU"
    return precision, jit, f"{where}, precision {precision}, XLA {'on' if jit else 'off'}"


def _usable(config: Config, alone: bool) -> tuple[list, str]:
    """The GPUs that are used, made ready, and if there are none, why not although there is one."""
    try:
        gpus = tf.config.list_physical_devices("GPU")
    except (RuntimeError, tf.errors.OpError) as error:  # A driver that fails half-way.
        return [], _absence() or cause(error)
    if not gpus:
        return [], _absence()
    if not tf.config.get_visible_devices("GPU"):
        return [], ""  # Hidden by this very process.
    if why := _too_old(nvidia_gpus.driver()):
        return [], _given_up(why)
    one = config.strategy == "none"
    if one and len(gpus) > 1 and alone:
        _log.warning(
            "%d GPUs, of which the first is used: --strategy=mirrored splits each batch over all, "
            "CUDA_VISIBLE_DEVICES=1 takes the second",
            len(gpus),
        )
        gpus = gpus[:1]
        with contextlib.suppress(RuntimeError):  # TensorFlow runs already, and stays as it is.
            tf.config.set_visible_devices(gpus, "GPU")
    with contextlib.suppress(RuntimeError):
        for gpu in gpus:
            tf.config.experimental.set_memory_growth(gpu, True)
    try:
        # Strategies start the devices, and some must do so first.
        if not one or tf.config.list_logical_devices("GPU"):
            return gpus, ""
    # E.g. InternalError, "cudaSetDevice() on GPU:0 failed. Status: …" (gpu_device.cc).
    except (RuntimeError, tf.errors.OpError) as error:
        return [], _given_up(f"it does not start ({cause(error)}): see nvidia-smi")
    # "Ignoring visible gpu device … The minimum required Cuda capability is …" (gpu_device.cc).
    details = tf.config.experimental.get_device_details(gpus[0])
    return [], f"TensorFlow does not support it{_name(details)}"


def _given_up(why: str) -> str:
    """Hides the GPUs, so that TensorFlow does not try them again; returns the reason."""
    with contextlib.suppress(RuntimeError):
        tf.config.set_visible_devices([], "GPU")
    return why


def _name(details: dict) -> str:
    return f" ({details['device_name']})" if details.get("device_name") else ""


def _absence() -> str:
    """Why TensorFlow sees no GPU where there is an NVIDIA GPU; '' where there is none."""
    if not nvidia_gpus.count():
        return ""
    visible, driver = os.environ.get("CUDA_VISIBLE_DEVICES"), nvidia_gpus.driver()
    if visible is not None and visible.strip()[:1] in ("", "-", ","):
        return f"CUDA_VISIBLE_DEVICES={visible!r} hides the GPU: unset it"
    if needed_cuda() is None:
        return f"this TensorFlow is built without CUDA: {INSTALL} in a new environment"
    if not driver.loads:
        return (
            f"NVIDIA's driver is missing ({nvidia_gpus.LIBRARY}): install it, or start the "
            "container with its GPU (docker run --gpus=all)"
        )
    if why := _too_old(driver):
        return why
    if driver.error == NO_DEVICE and visible is not None:
        return f"CUDA_VISIBLE_DEVICES={visible!r} names no GPU of this machine: see nvidia-smi -L"
    if driver.error:
        return (
            f"NVIDIA's driver does not start (cuInit: error {driver.error}): see nvidia-smi; after "
            "an update of the driver, restart the machine"
        )
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


def updates_per_call(config: Config) -> int:
    """How many updates one call of the compiled function makes."""
    # Calls cost a CPU nothing beside an update, and in between a run can be stopped.
    return config.updates_per_call or (10 if on_gpu() else 1)


def on_gpu() -> bool:
    """Whether TensorFlow computes on a GPU; it must have been prepared, and starts its devices."""
    return bool(tf.config.list_logical_devices("GPU"))
