"""Which device is used and what is said of it, on machines that are made up."""

import types

import pytest
import tensorflow as tf

from clion_tf.config import Config, ConfigError
from clion_tf.envs import nvidia_gpus
from clion_tf.envs.nvidia_gpus import Driver
from clion_tf.training import hardware

DRIVER = Driver(True, 0, (12, 4))
H100 = {"device_name": "NVIDIA H100", "compute_capability": (9, 0)}


class Machine:
    """TensorFlow's view of a machine with so many GPUs, and what was set."""

    def __init__(self, monkeypatch, count, details=H100):
        self.gpus = [types.SimpleNamespace(name=f"GPU:{n}") for n in range(count)]
        self.visible, self.grows, self.started = list(self.gpus), [], None
        config = tf.config
        monkeypatch.setattr(config, "list_physical_devices", lambda kind=None: self.gpus)
        monkeypatch.setattr(config, "set_visible_devices", self.show)
        monkeypatch.setattr(config, "get_visible_devices", lambda kind: self.visible)
        monkeypatch.setattr(config, "list_logical_devices", self.start)
        experimental = config.experimental
        monkeypatch.setattr(experimental, "set_memory_growth", lambda gpu, _: self.grow(gpu))
        monkeypatch.setattr(experimental, "get_device_details", lambda gpu: details)
        monkeypatch.setattr(nvidia_gpus, "count", lambda: count)
        monkeypatch.setattr(nvidia_gpus, "driver", lambda: DRIVER)
        monkeypatch.setattr(hardware, "needed_cuda", lambda: 12)
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)

    def show(self, devices, kind):
        assert kind == "GPU"
        self.visible = list(devices)

    def grow(self, gpu):
        self.grows.append(gpu)

    def start(self, kind):
        assert kind == "GPU"
        self.started = list(self.visible)
        return self.visible


def test_one_gpu(monkeypatch, caplog):
    machine = Machine(monkeypatch, 1)
    precision, jit, where = hardware.prepare(Config())
    assert (precision, jit) == ("bf16", True)
    assert where == "1 GPU (NVIDIA H100), precision bf16, XLA on"
    assert machine.grows == machine.started == machine.gpus and caplog.messages == []
    assert hardware.on_gpu()


@pytest.mark.parametrize("alone", [True, False])
def test_who_loads_an_agent_keeps_a_process_with_random_operations(monkeypatch, alone):
    asked = []
    monkeypatch.setattr(
        tf.config.experimental, "enable_op_determinism", lambda: asked.append("whole process")
    )
    hardware.prepare(Config(deterministic=True, device="cpu"), alone)
    assert asked == ["whole process"] * alone


@pytest.mark.parametrize("capability, precision", [((7, 5), "16"), ((8, 0), "bf16")])
def test_precision_follows_the_card(monkeypatch, capability, precision):
    Machine(monkeypatch, 1, {"compute_capability": capability})
    assert hardware.prepare(Config())[0] == precision
    assert hardware.prepare(Config(precision="32"))[0] == "32"


@pytest.mark.parametrize("alone", [True, False])
def test_float32_is_no_tensor_float_32(monkeypatch, alone):
    asked = []
    experimental = tf.config.experimental
    monkeypatch.setattr(experimental, "enable_tensor_float_32_execution", asked.append)
    Machine(monkeypatch, 1)
    hardware.prepare(Config(), alone)
    assert asked == [False] * alone


def test_several_gpus_without_a_strategy(monkeypatch, caplog):
    machine = Machine(monkeypatch, 4)
    assert hardware.prepare(Config())[2].startswith("1 GPU")
    assert machine.started == machine.grows == machine.gpus[:1]
    [line] = caplog.messages
    assert line.startswith("4 GPUs, of which the first is used: --strategy=mirrored")


def test_several_gpus_in_a_process_of_the_users(monkeypatch, caplog):
    """Of `clion_tf.load`: what else there is there may use the others."""
    machine = Machine(monkeypatch, 4)
    hardware.prepare(Config(), alone=False)
    assert machine.visible == machine.gpus and caplog.messages == []


def test_several_gpus_with_a_strategy(monkeypatch, caplog):
    machine = Machine(monkeypatch, 4)
    assert hardware.prepare(Config(strategy="mirrored"))[2].startswith("4 GPU")
    assert machine.visible == machine.grows == machine.gpus and caplog.messages == []
    assert machine.started is None  # MultiWorkerMirroredStrategy must come first.


def test_no_gpu_in_the_machine(monkeypatch, caplog):
    Machine(monkeypatch, 0)
    assert hardware.prepare(Config()) == ("32", False, "CPU, precision 32, XLA off")
    assert not hardware.on_gpu()
    with pytest.raises(ConfigError, match=r"^--device=gpu: .*sees none.*'\.\[gpu\]'"):
        hardware.prepare(Config(device="gpu"))
    assert caplog.messages == []


def on_the_cpu(machine, caplog, told):
    """That this machine's GPU is given up with this line, and refused where it is asked for."""
    shown = list(machine.visible)
    assert hardware.prepare(Config()) == ("32", False, "CPU, precision 32, XLA off")
    [line] = caplog.messages
    assert line.startswith("not on the GPU but on the CPU: ") and told in line
    assert not hardware.on_gpu()
    machine.visible = shown
    with pytest.raises(ConfigError, match=r"^--device=gpu: no GPU can be used") as refused:
        hardware.prepare(Config(device="gpu"))
    assert told in str(refused.value)


def hidden(monkeypatch):
    """A machine whose GPU TensorFlow does not list."""
    machine = Machine(monkeypatch, 0)
    monkeypatch.setattr(nvidia_gpus, "count", lambda: 1)
    return machine


def test_driver_that_is_too_old(monkeypatch, caplog):
    """TensorFlow lists the GPU all the same, and fails where it starts it."""
    machine = Machine(monkeypatch, 1)
    monkeypatch.setattr(nvidia_gpus, "driver", lambda: Driver(True, 0, (11, 8)))
    on_the_cpu(machine, caplog, "it serves CUDA 11.8, TensorFlow needs 12")
    assert machine.visible == [] and not machine.started  # Started without it.


def test_device_that_does_not_start(monkeypatch, caplog):
    machine = Machine(monkeypatch, 1)

    def fail(kind):
        text = "cudaSetDevice() on GPU:0 failed. Status: CUDA-capable device(s) is/are busy"
        if machine.visible:
            raise tf.errors.InternalError(None, None, text)
        return []

    monkeypatch.setattr(tf.config, "list_logical_devices", fail)
    on_the_cpu(machine, caplog, "does not start (cudaSetDevice() on GPU:0 failed. Status: ")
    assert machine.visible == []


def test_card_that_is_too_old(monkeypatch, caplog):
    machine = Machine(monkeypatch, 1, {"device_name": "Tesla M60", "compute_capability": (5, 2)})
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind: [])
    on_the_cpu(machine, caplog, "TensorFlow does not support it (Tesla M60)")


def test_listing_that_fails(monkeypatch, caplog):
    machine = Machine(monkeypatch, 1)

    def fail(kind):
        raise RuntimeError("cudaGetDevice() failed. Status: CUDA driver version is insufficient")

    monkeypatch.setattr(tf.config, "list_physical_devices", fail)
    monkeypatch.setattr(nvidia_gpus, "driver", lambda: Driver(True, 803, (12, 4)))
    machine.visible = []
    on_the_cpu(machine, caplog, "NVIDIA's driver does not start (cuInit: error 803)")


def test_hidden_by_the_process_itself(monkeypatch, caplog):
    machine = Machine(monkeypatch, 1)
    machine.visible = []
    assert hardware.prepare(Config())[2].startswith("CPU") and caplog.messages == []


def test_tensorflow_that_runs_already(monkeypatch):
    """As in a notebook that computed something before."""
    Machine(monkeypatch, 2)

    def fail(*arguments):
        raise RuntimeError("Physical devices cannot be modified after being initialized")

    monkeypatch.setattr(tf.config.experimental, "set_memory_growth", fail)
    monkeypatch.setattr(tf.config, "set_visible_devices", fail)
    assert hardware.prepare(Config())[1]
    with pytest.raises(RuntimeError):
        hardware.prepare(Config(device="cpu"))


@pytest.mark.parametrize(
    "gpus, environment, how, alone, expected",
    [
        (0, None, {}, True, [1]),
        (0, "4", {}, True, []),  # Asked for by the user.
        (0, None, {}, False, []),
        (0, None, {"strategy": "mirrored"}, True, []),
        (0, None, {"batch_size": 16, "batch_length": 32, "cnn_depth": 16}, True, []),
        (0, None, {"agent": "drq"}, True, []),
        (1, None, {}, True, []),
    ],
)
def test_operations_of_large_updates_follow_one_another_on_a_cpu(
    monkeypatch, gpus, environment, how, alone, expected
):
    Machine(monkeypatch, gpus)
    found = []
    monkeypatch.setattr(tf.config.threading, "set_inter_op_parallelism_threads", found.append)
    monkeypatch.delenv("TF_NUM_INTEROP_THREADS", raising=False)
    if environment:
        monkeypatch.setenv("TF_NUM_INTEROP_THREADS", environment)
    hardware.prepare(Config(**how), alone=alone)
    assert found == expected


@pytest.mark.parametrize(
    "visible, needed, driver, told",
    [
        (None, None, DRIVER, "this TensorFlow is built without CUDA: pip install '.[gpu]'"),
        ("0", 12, Driver(True, 100, (12, 4)), "CUDA_VISIBLE_DEVICES='0' names no GPU"),
        (None, 12, Driver(True, 100, (12, 4)), "does not start (cuInit: error 100)"),
        (None, 12, Driver(True, 0, (11, 8)), "too old: it serves CUDA 11.8, TensorFlow needs 12"),
        (None, 12, Driver(True, 0, (13, 0)), "does not find CUDA's libraries: pip install '.[gpu]"),
        ("0,1", 12, DRIVER, "does not find CUDA's libraries"),
        ("", 12, DRIVER, "CUDA_VISIBLE_DEVICES='' hides the GPU"),
        (" -1", None, DRIVER, "hides the GPU"),
        (None, 12, Driver(False), "NVIDIA's driver is missing (libcuda.so.1)"),
    ],
)
def test_reasons(monkeypatch, caplog, visible, needed, driver, told):
    machine = hidden(monkeypatch)
    monkeypatch.setattr(nvidia_gpus, "driver", lambda: driver)
    monkeypatch.setattr(hardware, "needed_cuda", lambda: needed)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    on_the_cpu(machine, caplog, told)


def test_cuda_of_this_tensorflow(monkeypatch):
    build = {"is_cuda_build": True, "cuda_version": "12.5.1"}
    monkeypatch.setattr(tf.sysconfig, "get_build_info", lambda: build)
    assert hardware.needed_cuda() == 12
    build["is_cuda_build"] = False
    assert hardware.needed_cuda() is None
