"""Headless rendering that explains itself.

`python -m clion_tf.envs.opengl` renders one frame and names the renderer. 'llvmpipe' in the name
means software rendering, which is many times slower than a GPU.
"""

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import Any

from clion_tf.envs import egl_device, nvidia_gpus
from clion_tf.envs.env_spec import EnvError, RenderingError

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
    """Choose backends that need no display, unless the user has chosen; before they are imported.

    The names of backends may be in capitals, and an empty variable is none.
    """
    for name in ("MUJOCO_GL", "PYOPENGL_PLATFORM", egl_device.DEVICE):
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
    """`dm_control.suite`.

    Raises RenderingError if OpenGL's libraries are missing, EnvError if dm_control itself is.
    """
    prepare()
    display = os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY") or not _LINUX
    if os.environ.get("MUJOCO_GL") == "glfw" and not display:
        # Else its libraries say so at length on stderr, tracebacks included.
        raise RenderingError(f"cannot render with MUJOCO_GL=glfw; {_ADVICE['glfw']}")
    egl_device.follow_cuda()
    with rendering_errors():
        from dm_control import suite
    return suite


def renderer(physics: Any) -> str:
    """OpenGL's GL_RENDERER of a dm_control Physics, such as 'llvmpipe (LLVM 15.0.6, 256 bits)'.

    Its context is made if there is none yet; raises RenderingError if it cannot be.
    """
    with rendering_errors():
        from OpenGL import GL

        with physics.contexts.gl.make_current() as context:
            name = context.call(GL.glGetString, GL.GL_RENDERER)
    return name.decode() if name else "unknown"


@contextlib.contextmanager
def rendering_errors() -> Iterator[None]:
    """Turn whatever goes wrong while a renderer is set up into a RenderingError."""
    try:
        yield
    except EnvError:
        raise
    # Missing libraries surface as nearly every type, AttributeError on None among them.
    except Exception as error:
        if isinstance(error, ModuleNotFoundError) and error.name in ("dm_control", "mujoco"):
            raise EnvError(f"{error.name} is not installed: pip install {error.name}") from error
        backend = os.environ.get("MUJOCO_GL", "")
        cause = " ".join(f"{type(error).__name__}: {error}".split())
        text = f"cannot render with MUJOCO_GL={backend} ({cause}); {_advice(backend, cause)}"
        raise RenderingError(text) from error


def _advice(backend: str, cause: str) -> str:
    """What to do, by what is set: libraries are only missing where nothing else explains it."""
    if backend and backend not in _ADVICE:
        hint = "; --observe=vector needs no rendering" if backend in _OFF else ""
        return f"set MUJOCO_GL to egl, osmesa or glfw{hint}"
    platform = os.environ.get("PYOPENGL_PLATFORM", backend)
    if backend in ("egl", "osmesa") and platform != backend:
        return f"unset PYOPENGL_PLATFORM, which is {platform}, or set it to {backend}"
    device = os.environ.get(egl_device.DEVICE)
    if backend == "egl" and device is not None:
        if not device.isdecimal() or egl_device.DEVICE in cause or "display" in cause:
            return f"unset {egl_device.DEVICE}, which is {device}, or set it to a device's number"
    return _ADVICE.get(backend, _ADVICE["glfw"])


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
    if slow := nvidia_gpus.slow_rendering(name):
        sys.stderr.write(f"{slow}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
