"""Headless rendering that explains itself, on the GPU that trains where a machine has several.

`python -m clion_tf.envs.opengl` renders one frame and names the renderer. 'llvmpipe' in the name
means software rendering, which is many times slower than a GPU.
"""

import contextlib
import ctypes
import os
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from clion_tf.envs import nvidia_gpus
from clion_tf.envs.env_spec import EnvError

DEVICE = "MUJOCO_EGL_DEVICE_ID"
_EGL, _OSMESA = "libegl1 libgl1 libopengl0 libgl1-mesa-dri", "libosmesa6"
_ADVICE = {
    "egl": f"on Debian or Ubuntu run apt-get install -y {_EGL}, "
    f"or set MUJOCO_GL=osmesa (needs {_OSMESA})",
    "osmesa": f"on Debian or Ubuntu run apt-get install -y {_OSMESA}, "
    f"or set MUJOCO_GL=egl (needs {_EGL})",
    "glfw": "it needs a display (DISPLAY); without one set MUJOCO_GL=egl",
}
_OFF = ("0", "off", "false", "disable", "disabled")  # As dm_control has them.
_LINUX = sys.platform.startswith("linux")


def prepare() -> None:
    """Choose backends that need no display, unless the user has; before they are imported."""
    # The names of backends may be in capitals, and an empty variable is none.
    for name in ("MUJOCO_GL", "PYOPENGL_PLATFORM", DEVICE):
        if value := os.environ.pop(name, "").strip().lower():
            os.environ[name] = value
    # Pygame, with which gymnasium draws, draws into memory, but looks for a screen and for
    # loudspeakers when it starts, and greets on stdout.
    for name in ("SDL_VIDEODRIVER", "SDL_AUDIODRIVER"):
        if not os.environ.get(name):
            os.environ[name] = "dummy"
    os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
    # Left to itself, dm_control takes glfw first, which fails at the first frame on a machine
    # without a display. Elsewhere than on Linux there is no EGL, and its own choice is right.
    if _LINUX:
        os.environ.setdefault("MUJOCO_GL", "egl")


def load_suite() -> Any:
    """`dm_control.suite`; raises EnvError if OpenGL's libraries are missing."""
    prepare()
    display = os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY") or not _LINUX
    if os.environ.get("MUJOCO_GL") == "glfw" and not display:
        # Else its libraries say so at length on stderr, tracebacks included.
        raise EnvError(f"cannot render with MUJOCO_GL=glfw; {_ADVICE['glfw']}")
    follow_cuda()
    with rendering_errors():
        from dm_control import suite
    return suite


def renderer(physics: Any) -> str:
    """GL_RENDERER of a dm_control Physics, whose context is made if there is none yet."""
    with rendering_errors():
        from OpenGL import GL

        with physics.contexts.gl.make_current() as context:
            name = context.call(GL.glGetString, GL.GL_RENDERER)
    return name.decode() if name else "unknown"


@contextlib.contextmanager
def rendering_errors() -> Iterator[None]:
    """Turn whatever goes wrong while a renderer is set up into an EnvError."""
    try:
        yield
    except EnvError:
        raise
    # Missing libraries surface as nearly every type, AttributeError on None among them.
    except Exception as error:
        backend = os.environ.get("MUJOCO_GL", "")
        cause = " ".join(f"{type(error).__name__}: {error}".split())
        text = f"cannot render with MUJOCO_GL={backend} ({cause}); {_advice(backend, cause)}"
        raise EnvError(text) from error


def _advice(backend: str, cause: str) -> str:
    """What to do, by what is set: libraries are only missing where nothing else explains it."""
    if backend and backend not in _ADVICE:
        hint = "; --observe=vector needs no rendering" if backend in _OFF else ""
        return f"set MUJOCO_GL to egl, osmesa or glfw{hint}"
    platform = os.environ.get("PYOPENGL_PLATFORM", backend)
    if backend in ("egl", "osmesa") and platform != backend:
        return f"unset PYOPENGL_PLATFORM, which is {platform}, or set it to {backend}"
    device = os.environ.get(DEVICE)
    if backend == "egl" and device is not None:
        if not device.isdecimal() or DEVICE in cause or "display" in cause:
            return f"unset {DEVICE}, which is {device}, or set it to a device's number"
    return _ADVICE.get(backend, _ADVICE["glfw"])


def follow_cuda() -> None:
    """Sets MUJOCO_EGL_DEVICE_ID to CUDA's first GPU of several, unless the user has set it."""
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

    numbers: the CUDA number of each EGL device, None without one. visible: CUDA_VISIBLE_DEVICES.
    Some drivers number all GPUs of the machine, others only those that the process may see.
    """
    known = [number for number in numbers if number is not None]
    words = ["0"] if visible is None else [word.strip() for word in visible.split(",")]
    if not words[0].isdecimal():  # CUDA sees none, or it is a name.
        return None
    wanted = int(words[0])
    if len(known) <= len(words) and wanted:  # Else EGL numbers all GPUs, or 0 is right either way.
        if not any(word.isdecimal() and int(word) >= len(words) for word in words):
            return None
        wanted = 0  # Some GPUs are hidden, and EGL numbers the visible ones only.
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


def main() -> int:
    """Render one frame; 0 and the renderer on stdout, or 1 and the reason on stderr."""
    try:
        physics = load_suite().load("cartpole", "swingup").physics
        with rendering_errors():
            height, width, _ = physics.render(64, 64, camera_id=0).shape
        name = renderer(physics)
    except EnvError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    backend = os.environ.get("MUJOCO_GL", "dm_control's choice")
    sys.stdout.write(f"rendered {height}x{width} with {backend}: {name}\n")
    if slow := nvidia_gpus.software_rendering_advice(name):
        sys.stderr.write(f"{slow}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
