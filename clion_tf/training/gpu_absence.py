"""Why TensorFlow uses no GPU on a machine that has one, and what to do.

TensorFlow itself says so, if at all, in warnings that are held back (`console.quiet_import`), and
of most causes only that "GPU will not be used". The checks follow the way that TensorFlow 2.21
takes: `cuInit` of the driver, which heeds CUDA_VISIBLE_DEVICES (xla/stream_executor/cuda/
cuda_platform.cc: "failed call to cuInit"), then CUDA's libraries (core/common_runtime/gpu/
gpu_device.cc: "Cannot dlopen some GPU libraries… Skipping registering GPU devices").
"""

import os

import tensorflow as tf

from clion_tf.envs import nvidia_gpus
from clion_tf.envs.nvidia_gpus import Driver

INSTALL = "pip install '.[gpu]'"
NO_DEVICE = 100  # CUDA_ERROR_NO_DEVICE of cuda.h.


def reason() -> str:
    """One line, '' on a machine without an NVIDIA GPU."""
    if not nvidia_gpus.count():
        return ""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    return explain(visible, needed_cuda(), nvidia_gpus.driver())


def needed_cuda() -> int | None:
    """The major version of CUDA that this TensorFlow is built with, None if with none."""
    build = tf.sysconfig.get_build_info()
    version = build.get("cuda_version", "") if build.get("is_cuda_build") else ""
    return int(version.partition(".")[0]) if version else None


def explain(visible: str | None, needed: int | None, driver: Driver) -> str:
    """Why a TensorFlow that sees no GPU does not, where there is one.

    Args:
      visible: CUDA_VISIBLE_DEVICES, None if it is not set.
      needed: see `needed_cuda`.
    """
    first = None if visible is None else visible.split(",")[0].strip()
    if first is not None and (not first or first.startswith("-")):
        return f"CUDA_VISIBLE_DEVICES={visible!r} hides the GPU: unset it"
    if needed is None:
        return f"this TensorFlow is built without CUDA: {INSTALL} in a new environment"
    if not driver.loads:
        return (
            f"NVIDIA's driver is missing ({nvidia_gpus.LIBRARY}): install it, or start the "
            "container with its GPU (docker run --gpus=all)"
        )
    if old := too_old(needed, driver):
        return old
    if driver.error == NO_DEVICE and visible is not None:
        return f"CUDA_VISIBLE_DEVICES={visible!r} names no GPU of this machine: see nvidia-smi -L"
    if driver.error:
        return (
            f"NVIDIA's driver does not start (cuInit: error {driver.error}): see nvidia-smi; after "
            "an update of the driver, restart the machine"
        )
    return f"TensorFlow does not find CUDA's libraries: {INSTALL}"


def too_old(needed: int | None, driver: Driver) -> str:
    """That the driver serves only older CUDA versions, '' if it does not.

    Minor versions are compatible (NVIDIA's "CUDA Compatibility"), major ones are not.
    """
    if needed is None or driver.cuda is None or driver.cuda[0] >= needed:
        return ""
    has = ".".join(map(str, driver.cuda))
    return f"NVIDIA's driver is too old: it serves CUDA {has}, TensorFlow needs {needed}: update it"
