"""Rendering on the GPU that trains, where a machine has several.

EGL numbers devices in an order of its own, and `MUJOCO_EGL_DEVICE_ID` is such a number, while
`CUDA_VISIBLE_DEVICES` has CUDA's. NVIDIA's EGL tells CUDA's number of a device (the extension
EGL_NV_device_cuda). Whether that number counts all GPUs or those that the process sees is not
specified, and both have been reported of its drivers: where the two readings differ and nothing
tells which it is, dm_control chooses as always, the first device that works.
"""

import contextlib
import ctypes
import os
from collections.abc import Sequence
from typing import Any

from clion_tf.envs import nvidia_gpus

DEVICE = "MUJOCO_EGL_DEVICE_ID"


def follow_cuda() -> None:
    """Sets MUJOCO_EGL_DEVICE_ID to the device of CUDA's first GPU, unless the user has set it.

    Does nothing on a machine with fewer than two NVIDIA GPUs, nor where the device cannot be told
    or does not start. Must come before dm_control is imported; loads EGL, but no TensorFlow.
    """
    if os.environ.get("MUJOCO_GL") != "egl" or DEVICE in os.environ or nvidia_gpus.count() < 2:
        return
    # As dm_control sets it; if it is something else, it says so itself.
    if os.environ.setdefault("PYOPENGL_PLATFORM", "egl") != "egl":
        return
    # A library that is missing or too old surfaces as nearly every type; then all stays as it was.
    with contextlib.suppress(Exception):
        chosen = choose(cuda_numbers(), os.environ.get("CUDA_VISIBLE_DEVICES"))
        if chosen is not None and starts(chosen):
            os.environ[DEVICE] = str(chosen)


def choose(numbers: Sequence[int | None], visible: str | None) -> int | None:
    """The index of the EGL device that is CUDA's first GPU, None if that cannot be told.

    Args:
      numbers: of each EGL device CUDA's number, None where it has none.
      visible: CUDA_VISIBLE_DEVICES, None if it is not set.
    """
    known = [number for number in numbers if number is not None]
    wanted = _first(known, visible)
    # Drivers have given several devices one number.
    return numbers.index(wanted) if wanted is not None and known.count(wanted) == 1 else None


def _first(known: Sequence[int], visible: str | None) -> int | None:
    """What EGL calls CUDA's first GPU."""
    if visible is None:
        return 0
    words = [word.strip() for word in visible.split(",")]
    if not words[0] or words[0].startswith("-"):
        return None  # CUDA sees none.
    if words[0] == "0":
        return 0  # In both ways of counting.
    if len(known) > len(words):  # Hidden ones are counted.
        return int(words[0]) if words[0].isdecimal() else None
    # Where some are hidden, and EGL knows no more than the others, it counts these.
    hidden = any(word.isdecimal() and int(word) >= len(words) for word in words)
    return 0 if hidden else None


def cuda_numbers() -> list[int | None]:
    """CUDA's number of each of EGL's devices, in the order of MUJOCO_EGL_DEVICE_ID."""
    egl, devices = _devices()
    from OpenGL.raw.EGL.NV.device_cuda import EGL_CUDA_DEVICE_NV

    query = ctypes.CFUNCTYPE(
        egl.EGLBoolean, egl.EGLDeviceEXT, egl.EGLint, ctypes.POINTER(ctypes.c_ssize_t)
    )(egl.eglGetProcAddress("eglQueryDeviceAttribEXT"))
    found = []
    for device in devices:
        value = ctypes.c_ssize_t(-1)
        known = query(device, EGL_CUDA_DEVICE_NV, ctypes.byref(value)) == egl.EGL_TRUE
        found.append(value.value if known and value.value >= 0 else None)
    return found


def starts(index: int) -> bool:
    """Whether a display can be opened on this device of EGL's."""
    egl, devices = _devices()
    from OpenGL.raw.EGL.EXT.platform_device import EGL_PLATFORM_DEVICE_EXT

    open_display = ctypes.CFUNCTYPE(
        egl.EGLDisplay, egl.EGLenum, egl.EGLDeviceEXT, ctypes.POINTER(egl.EGLint)
    )(egl.eglGetProcAddress("eglGetPlatformDisplayEXT"))
    display = open_display(EGL_PLATFORM_DEVICE_EXT, devices[index], None)
    # It stays open: dm_control gets the same one.
    return bool(display) and bool(egl.eglInitialize(display, None, None))


def _devices() -> tuple[Any, Any]:
    """PyOpenGL's EGL, and all devices: at most the ten that dm_control looks at."""
    from OpenGL.platform import ctypesloader

    with contextlib.suppress(OSError):  # First of all, as dm_control does for NVIDIA's driver.
        ctypesloader.loadLibrary(ctypes.cdll, "OpenGL", mode=ctypes.RTLD_GLOBAL)
    from OpenGL import EGL as egl

    query = ctypes.CFUNCTYPE(
        egl.EGLBoolean,
        egl.EGLint,
        ctypes.POINTER(egl.EGLDeviceEXT),
        ctypes.POINTER(egl.EGLint),
    )(egl.eglGetProcAddress("eglQueryDevicesEXT"))
    devices, found = (egl.EGLDeviceEXT * 10)(), egl.EGLint()
    if query(len(devices), devices, ctypes.byref(found)) != egl.EGL_TRUE:
        return egl, []
    return egl, list(devices[: found.value])
