"""Where the learner runs and in which precision."""

import tensorflow as tf

from clion_tf.config import Config, ConfigError


def prepare(config: Config) -> tuple[str, bool, str]:
    """Sets up the device; call before anything is computed.

    Returns:
      precision (`32`, `bf16`, `16`), whether to compile by XLA, and a line that says what runs
      where.

    Raises:
      ConfigError: if a GPU is asked for where there is none.
    """
    gpus = tf.config.list_physical_devices("GPU")
    if config.device == "gpu" and not gpus:
        raise ConfigError(
            "--device=gpu: TensorFlow sees no GPU (install the extra: pip install 'clion_tf[gpu]', "
            "check nvidia-smi), or use --device=auto"
        )
    if config.device == "cpu":
        tf.config.set_visible_devices([], "GPU")
        gpus = []
    if config.deterministic:
        tf.config.experimental.enable_op_determinism()
    for gpu in gpus:
        tf.config.experimental.set_memory_growth(gpu, True)
    precision = _precision(config, gpus)
    jit = bool(gpus) if config.jit == "auto" else config.jit == "on"
    where = f"{len(gpus)} GPU" if gpus else "CPU"
    return precision, jit, f"{where}, precision {precision}, XLA {'on' if jit else 'off'}"


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
    return 10 if tf.config.get_visible_devices("GPU") else 1
