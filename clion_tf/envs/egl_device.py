"""Rendering on the GPU that trains, where a machine has several.

`MUJOCO_EGL_DEVICE_ID` is EGL's own number of a device, of which NVIDIA's EGL tells CUDA's (the
extension EGL_NV_device_cuda). Whether that counts all GPUs or those that the process sees is not
specified, and both have been reported of its drivers: where nothing tells which it is, dm_control
chooses as always, the first device that works.
"""

import contextlib
import ctypes
import os
from collections.abc import Sequence

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
    from mujoco.egl import egl_ext as egl
    from OpenGL.raw.EGL.NV.device_cuda import EGL_CUDA_DEVICE_NV

    number = ctypes.c_ssize_t
    types = egl.EGLBoolean, egl.EGLDeviceEXT, egl.EGLint, ctypes.POINTER(number)
    query = ctypes.CFUNCTYPE(*types)(egl.eglGetProcAddress("eglQueryDeviceAttribEXT"))
    found: list[int | None] = []
    for device in egl.eglQueryDevicesEXT():
        value = number(-1)
        known = query(device, EGL_CUDA_DEVICE_NV, ctypes.byref(value)) == egl.EGL_TRUE
        found.append(value.value if known and value.value >= 0 else None)
    return found


def starts(index: int) -> bool:
    """Whether a display can be opened on this device of EGL's; it stays open for dm_control."""
    from mujoco.egl import egl_ext as egl

    device = egl.eglQueryDevicesEXT()[index]
    display = egl.eglGetPlatformDisplayEXT(egl.EGL_PLATFORM_DEVICE_EXT, device, None)
    return bool(display) and bool(egl.eglInitialize(display, None, None))
