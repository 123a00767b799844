"""Rendering on the GPU that trains, where a machine has several.

`MUJOCO_EGL_DEVICE_ID` is EGL's own number of a device, of which NVIDIA's EGL tells CUDA's (the
extension EGL_NV_device_cuda). Whether that counts all GPUs or those that the process sees is not
specified, and both have been reported of its drivers: where nothing tells which it is, dm_control
chooses as always, the first device that works.
"""

import contextlib
import ctypes
import os
from collections.abc import Callable, Sequence
from typing import Any

from clion_tf.envs import nvidia_gpus

DEVICE = "MUJOCO_EGL_DEVICE_ID"


def follow_cuda() -> None:
    """Sets MUJOCO_EGL_DEVICE_ID to the device of CUDA's first GPU, unless the user has set it.

    Where there are two GPUs, and the device can be told and starts. Comes before dm_control.
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

    numbers: of each EGL device CUDA's, None where it has none. visible: CUDA_VISIBLE_DEVICES.
    """
    known = [number for number in numbers if number is not None]
    words = ["0"] if visible is None else [word.strip() for word in visible.split(",")]
    if not words[0].isdecimal():  # CUDA sees none, or it is a name.
        return None
    if words[0] == "0":
        wanted = 0  # In both ways of counting.
    elif len(known) > len(words):
        wanted = int(words[0])  # Hidden ones are counted.
    elif any(word.isdecimal() and int(word) >= len(words) for word in words):
        wanted = 0  # Some are hidden, and EGL knows no more than the others: it counts these.
    else:
        return None
    # Drivers have given several devices one number.
    return numbers.index(wanted) if known.count(wanted) == 1 else None


def cuda_numbers() -> list[int | None]:
    """CUDA's number of each of EGL's devices, in the order of MUJOCO_EGL_DEVICE_ID."""
    egl, devices = _devices()
    from OpenGL.raw.EGL.NV.device_cuda import EGL_CUDA_DEVICE_NV

    number = ctypes.c_ssize_t
    types = egl.EGLBoolean, egl.EGLDeviceEXT, egl.EGLint, ctypes.POINTER(number)
    query = _function(egl, "eglQueryDeviceAttribEXT", *types)
    found: list[int | None] = []
    for device in devices:
        value = number(-1)
        known = query(device, EGL_CUDA_DEVICE_NV, ctypes.byref(value)) == egl.EGL_TRUE
        found.append(value.value if known and value.value >= 0 else None)
    return found


def starts(index: int) -> bool:
    """Whether a display can be opened on this device of EGL's."""
    egl, devices = _devices()
    from OpenGL.raw.EGL.EXT.platform_device import EGL_PLATFORM_DEVICE_EXT

    types = egl.EGLDisplay, egl.EGLenum, egl.EGLDeviceEXT, ctypes.POINTER(egl.EGLint)
    open_display = _function(egl, "eglGetPlatformDisplayEXT", *types)
    display = open_display(EGL_PLATFORM_DEVICE_EXT, devices[index], None)
    # It stays open: dm_control gets the same one.
    return bool(display) and bool(egl.eglInitialize(display, None, None))


def _devices() -> tuple[Any, Any]:
    """PyOpenGL's EGL, and all devices: at most the ten that dm_control looks at."""
    from OpenGL.platform import ctypesloader

    with contextlib.suppress(OSError):  # First of all, as dm_control does for NVIDIA's driver.
        ctypesloader.loadLibrary(ctypes.cdll, "OpenGL", mode=ctypes.RTLD_GLOBAL)
    from OpenGL import EGL as egl

    pointers = ctypes.POINTER(egl.EGLDeviceEXT), ctypes.POINTER(egl.EGLint)
    query = _function(egl, "eglQueryDevicesEXT", egl.EGLBoolean, egl.EGLint, *pointers)
    devices, found = (egl.EGLDeviceEXT * 10)(), egl.EGLint()
    if query(len(devices), devices, ctypes.byref(found)) != egl.EGL_TRUE:
        return egl, []
    return egl, list(devices[: found.value])


def _function(egl: Any, name: str, *types: Any) -> Callable[..., Any]:
    """A function of an extension, by the types of its result and of its arguments."""
    return ctypes.CFUNCTYPE(*types)(egl.eglGetProcAddress(name))
