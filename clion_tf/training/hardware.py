"""Where the learner runs and in which precision."""

import logging
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from clion_tf.agents.device_errors import cause
from clion_tf.config import Config, ConfigError
from clion_tf.envs import nvidia_gpus
from clion_tf.training import gpu_absence

_log = logging.getLogger(__name__)


def prepare(config: Config, alone: bool = True) -> tuple[str, bool, str]:
    """Sets up the device; call before anything is computed.

    What a user with a GPU may not expect is logged, a line each: that it is not used and why, that
    others are not.

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
        why = why or f"TensorFlow sees none; on a machine with one, {gpu_absence.INSTALL}"
        raise ConfigError(f"--device=gpu: no GPU can be used ({why}), or use --device=auto")
    if why:
        _log.warning("not on the GPU but on the CPU: %s", why)
    if config.deterministic:
        tf.config.experimental.enable_op_determinism()
    precision = _precision(config, gpus)
    jit = bool(gpus) if config.jit == "auto" else config.jit == "on"
    where = f"{len(gpus)} GPU{_named(gpus[0])}" if gpus else "CPU"
    return precision, jit, f"{where}, precision {precision}, XLA {'on' if jit else 'off'}"


def _usable(config: Config, alone: bool) -> tuple[list, str]:
    """The GPUs that are used, made ready, and if there are none, why not although there is one."""
    try:
        gpus = tf.config.list_physical_devices("GPU")
    except (RuntimeError, tf.errors.OpError) as error:  # A driver that fails half-way.
        return [], gpu_absence.reason() or _told(error)
    if not gpus:
        return [], gpu_absence.reason()
    if not tf.config.get_visible_devices("GPU"):
        return [], ""  # Hidden by this very process.
    if why := gpu_absence.too_old(gpu_absence.needed_cuda(), nvidia_gpus.driver()):
        return [], _give_up(why)
    if config.strategy == "none" and len(gpus) > 1 and alone:
        _log.warning(
            "%d GPUs, of which the first is used: --strategy=mirrored splits each batch over all, "
            "CUDA_VISIBLE_DEVICES=1 takes the second",
            len(gpus),
        )
        gpus = gpus[:1]
        _set(tf.config.set_visible_devices, gpus, "GPU")
    for gpu in gpus:
        _set(tf.config.experimental.set_memory_growth, gpu, True)
    if config.strategy != "none":
        return gpus, ""  # Strategies start the devices, and some must do so first.
    try:
        if tf.config.list_logical_devices("GPU"):
            return gpus, ""
    # E.g. InternalError, "cudaSetDevice() on GPU:0 failed. Status: …" (gpu_device.cc).
    except (RuntimeError, tf.errors.OpError) as error:
        return [], _give_up(f"it does not start ({_told(error)}): see nvidia-smi")
    # "Ignoring visible gpu device … The minimum required Cuda capability is …" (gpu_device.cc).
    return [], f"TensorFlow does not support it{_named(gpus[0])}"


def _give_up(why: str) -> str:
    """Hides the GPUs, so that TensorFlow does not try them again; returns the reason."""
    _set(tf.config.set_visible_devices, [], "GPU")
    return why


def _told(error: Exception) -> str:
    if isinstance(error, tf.errors.OpError):
        return cause(error)
    return " ".join(str(error).split())


def _set(function: Callable[..., None], *arguments: Any) -> None:
    """Sets something about devices, which stays as it is where TensorFlow runs already."""
    try:
        function(*arguments)
    except RuntimeError:  # "… cannot be modified after being initialized".
        _log.debug("TensorFlow runs already: %s stays", function.__name__)


def _named(gpu: Any) -> str:
    name = tf.config.experimental.get_device_details(gpu).get("device_name", "")
    return f" ({name})" if name else ""


def _precision(config: Config, gpus: list) -> str:
    if config.precision != "auto":
        return config.precision
    if not gpus:
        return "32"
    capability = tf.config.experimental.get_device_details(gpus[0]).get("compute_capability")
    return "bf16" if capability is not None and capability >= (8, 0) else "16"


def updates_per_call(config: Config) -> int:
    """How many updates one call of the compiled function makes."""
    if config.updates_per_call:
        return config.updates_per_call
    # Calls cost a CPU nothing beside an update, and in between a run can be stopped.
    return 10 if on_gpu() else 1


def on_gpu() -> bool:
    """Whether TensorFlow computes on a GPU; it must have been prepared, and starts its devices."""
    return bool(tf.config.list_logical_devices("GPU"))
