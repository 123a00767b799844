"""Which of EGL's devices is CUDA's first GPU; drivers are made up, Mesa's EGL is real."""

import os

import pytest

from clion_tf.envs import nvidia_gpus, opengl

MESA = None  # A device without a number of CUDA's.


@pytest.mark.parametrize(
    "numbers, visible, expected",
    [
        ([2, 3, 0, 1, MESA], None, 2),  # EGL's order is its own.
        ([1, 0], "0", 1),
        ([2, 3, 0, 1, MESA], "3", 1),  # More are numbered than are visible: all are.
        ([2, 3, 0, 1], "1,3", 3),
        ([MESA, 0, MESA], "3", 1),  # No more than the visible ones: these are.
        ([MESA, 1, 0], "2,5", 2),
        ([1, 0], "1,0", None),  # All are visible in another order: either way of counting.
        ([0, 1], "GPU-05d35c06,GPU-7a", None),
        ([0, 1, 2], "GPU-05d35c06", None),
        ([1, 0], "", None),  # No GPU for CUDA.
        ([1, 0], "-1", None),
        ([0, 0], "0", None),  # As some drivers had it.
        ([MESA], None, None),
        ([], None, None),
    ],
)
def test_choice(numbers, visible, expected):
    assert opengl.choose(numbers, visible) == expected


@pytest.fixture
def driver(monkeypatch):
    """Two GPUs, of which CUDA's first is EGL's second."""
    monkeypatch.setattr(nvidia_gpus, "count", lambda: 2)
    monkeypatch.setattr(opengl, "cuda_numbers", lambda: [1, 0])
    monkeypatch.setattr(opengl, "starts", lambda index: True)
    monkeypatch.setenv("MUJOCO_GL", "egl")
    for name in ("MUJOCO_EGL_DEVICE_ID", "CUDA_VISIBLE_DEVICES", "PYOPENGL_PLATFORM"):
        monkeypatch.setenv(name, "")  # So that it is put back, whatever a test sets.
        monkeypatch.delenv(name)
    return monkeypatch


def chosen():
    opengl.follow_cuda()
    return os.environ.get("MUJOCO_EGL_DEVICE_ID")


def test_rendering_follows_cuda(driver):
    assert chosen() == "1"
    assert os.environ["PYOPENGL_PLATFORM"] == "egl"


def test_what_the_user_has_set_stays(driver):
    driver.setenv("MUJOCO_EGL_DEVICE_ID", "0")
    assert chosen() == "0"


@pytest.mark.parametrize("variable", ["MUJOCO_GL", "PYOPENGL_PLATFORM"])
def test_other_backends_have_no_device(driver, variable):
    driver.setenv(variable, "osmesa")
    assert chosen() is None


def test_one_gpu_leaves_no_choice(driver):
    driver.setattr(nvidia_gpus, "count", lambda: 1)
    driver.setattr(opengl, "cuda_numbers", lambda: pytest.fail("EGL was asked"))
    assert chosen() is None


def test_a_device_that_does_not_start_is_not_insisted_on(driver):
    driver.setattr(opengl, "starts", lambda index: False)
    assert chosen() is None


def test_a_library_that_fails_changes_nothing(driver):
    def fail():
        raise AttributeError("'NoneType' object has no attribute 'eglGetProcAddress'")

    driver.setattr(opengl, "cuda_numbers", fail)
    assert chosen() is None


def test_asking_the_real_egl_harms_no_rendering(run_python):
    """Where a machine has two GPUs but EGL tells no number of CUDA's."""
    code = """
import os
from clion_tf.envs import nvidia_gpus, opengl
nvidia_gpus.count = lambda: 2
asked = opengl.cuda_numbers
def recorded():
    found.append(asked())
    return found[-1]
found, opengl.cuda_numbers = [], recorded
assert opengl.main() == 0
assert len(found) == 1 and found[0] and all(n is None or n >= 0 for n in found[0]), found
assert opengl.starts(0)
import sys
assert "tensorflow" not in sys.modules
"""
    result = run_python("-c", code, MUJOCO_GL="egl", PYOPENGL_PLATFORM="", MUJOCO_EGL_DEVICE_ID="")
    assert result.returncode == 0, result.stderr
