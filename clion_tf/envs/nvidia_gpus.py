"""The NVIDIA GPUs of this machine and their driver, without TensorFlow and without CUDA's runtime.

The kernel module lists GPUs, PCI does without it (in a container), Windows' Linux has one for all.
"""

import ctypes
import pathlib
from typing import NamedTuple

KERNEL_MODULE = pathlib.Path("/proc/driver/nvidia/gpus")
PCI = pathlib.Path("/sys/bus/pci/devices")
WINDOWS = pathlib.Path("/usr/lib/wsl/lib/libcuda.so.1")
LIBRARY = "libcuda.so.1"
_NVIDIA, _DISPLAY = "0x10de", "0x03"  # PCI's numbers of the vendor and of what drives displays.
# Mesa's renderers on the processor, as GL_RENDERER names them.
_SOFTWARE = ("llvmpipe", "softpipe", "swrast", "software rasterizer")


class Driver(NamedTuple):
    """What the driver's library says."""

    loads: bool  # whether there is one
    error: int = 0  # of `cuInit`, 0 if it is well; a `CUresult` of cuda.h
    cuda: tuple[int, int] | None = None  # the newest that it serves, if it says


def count() -> int:
    """How many NVIDIA GPUs this machine has, whether or not this process may use them."""
    listed = len(list(KERNEL_MODULE.glob("*")))
    return listed or sum(map(_is_gpu, PCI.glob("*"))) or int(WINDOWS.exists())


def _is_gpu(device: pathlib.Path) -> bool:
    try:
        vendor, kind = (device / "vendor").read_text(), (device / "class").read_text()
    except OSError:
        return False
    return vendor.strip() == _NVIDIA and kind.startswith(_DISPLAY)


def driver() -> Driver:
    """Asks the driver; only where CUDA may start in this process."""
    try:
        library = ctypes.CDLL(LIBRARY)
    except OSError:
        return Driver(False)
    version = ctypes.c_int()
    # Needs no initialisation, and gives 1000 * major + 10 * minor.
    known = library.cuDriverGetVersion(ctypes.byref(version)) == 0 and version.value > 0
    cuda = (version.value // 1000, version.value % 1000 // 10) if known else None
    return Driver(True, library.cuInit(0), cuda)


def software_rendering_advice(renderer: str) -> str:
    """What to do about a renderer (GL_RENDERER) on the processor where there is a GPU; else ''."""
    if not any(name in renderer.lower() for name in _SOFTWARE) or not count():
        return ""
    return (
        "rendering on the processor, 40 to 400 times slower than on this machine's GPU: set "
        "MUJOCO_GL=egl and install the driver's OpenGL (libnvidia-gl; in a container "
        "NVIDIA_DRIVER_CAPABILITIES=all); python -m clion_tf.envs.opengl tells what renders"
    )
