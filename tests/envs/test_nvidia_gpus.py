"""Machines with NVIDIA's GPUs, drivers and renderers, all of them made up."""

import ctypes
import types

import pytest

from clion_tf.envs import nvidia_gpus
from clion_tf.envs.nvidia_gpus import Driver


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """An empty one; its folders are made by the tests."""
    for name in ("KERNEL_MODULE", "PCI", "WINDOWS"):
        monkeypatch.setattr(nvidia_gpus, name, tmp_path / name)
    return tmp_path


def add_pci(machine, address, vendor, kind):
    folder = machine / "PCI" / address
    folder.mkdir(parents=True)
    (folder / "vendor").write_text(f"{vendor}\n")
    (folder / "class").write_text(f"{kind}\n")


def test_count(machine):
    assert nvidia_gpus.count() == 0
    add_pci(machine, "0000:00:01.0", "0x8086", "0x030000")  # Another maker's.
    add_pci(machine, "0000:00:02.1", "0x10de", "0x040300")  # The sound of an NVIDIA card.
    (machine / "PCI" / "0000:00:03.0").mkdir()
    assert nvidia_gpus.count() == 0
    add_pci(machine, "0000:00:02.0", "0x10de", "0x030200")
    assert nvidia_gpus.count() == 1
    for name in ("0000:01:00.0", "0000:02:00.0"):
        (machine / "KERNEL_MODULE" / name).mkdir(parents=True)
    assert nvidia_gpus.count() == 2


def test_windows_linux_counts_as_one(machine):
    (machine / "WINDOWS").touch()
    assert nvidia_gpus.count() == 1


def library(version, init):
    def version_of(pointer):
        pointer._obj.value = version
        return 0

    return types.SimpleNamespace(cuDriverGetVersion=version_of, cuInit=lambda flags: init)


@pytest.mark.parametrize(
    "version, init, expected",
    [
        (12040, 0, Driver(True, 0, (12, 4))),
        (11080, 803, Driver(True, 803, (11, 8))),
        (0, 100, Driver(True, 100, None)),
    ],
)
def test_driver(monkeypatch, version, init, expected):
    monkeypatch.setattr(ctypes, "CDLL", lambda name: library(version, init))
    assert nvidia_gpus.driver() == expected


def test_no_driver(monkeypatch):
    monkeypatch.setattr(nvidia_gpus, "LIBRARY", "libno-such-library.so.1")
    assert nvidia_gpus.driver() == Driver(False)


@pytest.mark.parametrize(
    "renderer, gpus, slow",
    [
        ("llvmpipe (LLVM 15.0.6, 256 bits)", 1, True),
        ("softpipe", 2, True),
        ("llvmpipe (LLVM 15.0.6, 256 bits)", 0, False),
        ("NVIDIA H100/PCIe/SSE2", 1, False),
        ("", 1, False),
    ],
)
def test_slow_rendering(monkeypatch, renderer, gpus, slow):
    monkeypatch.setattr(nvidia_gpus, "count", lambda: gpus)
    text = nvidia_gpus.software_rendering_advice(renderer)
    assert ("40 to 400 times slower" in text and "MUJOCO_GL=egl" in text) if slow else text == ""
    assert "\n" not in text
