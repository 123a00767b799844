"""The first updates before training begins: XLA gives way, memory is named, nothing stays."""

import numpy as np
import pytest
import tensorflow as tf
from small_learner import ACTIONS, SmallLearner

from clion_tf.agents.device_errors import DeviceError
from clion_tf.config import Config, ConfigError
from clion_tf.training import hardware

# The texts of TensorFlow 2.21, see clion_tf.agents.device_errors.
NO_PTXAS = tf.errors.UnavailableError(
    None,
    None,
    "No PTX compilation provider is available. Neither ptxas/nvlink nor nvjtlink is available. As "
    "a fallback you can enable JIT compilation in the CUDA driver via the flag "
    "`--xla_gpu_unsafe_fallback_to_driver_on_ptxas_not_found`. Details: \n - Has NvJitLink support",
)
NO_LIBDEVICE = tf.errors.InternalError(
    None, None, "libdevice not found at ./libdevice.10.bc [Op:__inference__train_step_5596]"
)
NO_ROOM = tf.errors.ResourceExhaustedError(
    None, None, "Out of memory while trying to allocate 4.00TiB. [Op:__inference__train_step_79]"
)
NO_ROOM_TO_LOAD = tf.errors.InternalError(
    None, None, "Failed to load in-memory CUBIN: CUDA_ERROR_OUT_OF_MEMORY: out of memory"
)
NO_CUDNN = tf.errors.FailedPreconditionError(
    None, None, "DNN library initialization failed. Look at the errors above for more details."
)


def raising(error, also_plain=False):
    """For SmallLearner: raises while an update is traced for XLA, or in any case."""

    def fails(jit):
        if jit or also_plain:
            raise error
        return 0.0

    return fails


def rehearse(agent, config=None, each=1):
    lines = []
    hardware.rehearse(agent, config or agent.config, each, lines.append)
    assert not any("\n" in line for line in lines)
    return lines


def real_batch(agent, rows):
    random = np.random.default_rng(0)
    shapes = {"vector": (5,), "action": (ACTIONS,), "reward": (), "discount": ()}
    numbers = {k: random.normal(size=(rows, 3, *s)).astype("f4") for k, s in shapes.items()}
    return {"image": random.integers(0, 256, (rows, 3, 4, 4, 3), dtype=np.uint8), **numbers}


def test_the_update_is_compiled_before_training_and_nothing_else_changes():
    config = Config(batch_size=7, pretrain=0)
    agent = SmallLearner(config, jit=True)
    lines = rehearse(agent)
    assert len(lines) == 2 and "XLA" in lines[0] and lines[1].startswith("compiled in ")
    assert agent.weight.numpy() == 1.5 and agent.calls == [1] and agent.jit
    agent.train(real_batch(agent, 7), 0)
    assert agent._train.experimental_get_tracing_count() == 1
    assert agent.weight.numpy() != 1.5


@pytest.mark.parametrize(
    "error, told, advice",
    [
        (NO_PTXAS, "UnavailableError: No PTX compilation provider", "pip install '.[gpu]'"),
        (NO_LIBDEVICE, "libdevice not found at ./libdevice.10.bc)", "--xla_gpu_cuda_data_dir="),
        (NO_ROOM, "(Out of memory while trying to allocate 4.00TiB.)", "--batch_size"),
        (NO_ROOM_TO_LOAD, "CUDA_ERROR_OUT_OF_MEMORY", "--batch_size"),
    ],
)
def test_xla_that_fails_is_left_out(error, told, advice):
    config = Config(batch_size=2)
    agent = SmallLearner(config, True, raising(error))
    _, line = rehearse(agent)
    assert told in line and advice in line and "continuing without it" in line
    assert not agent.jit and agent.weight.numpy() == 1.5
    assert np.isfinite(agent.train(real_batch(agent, 2), 0)).all()


def test_what_xla_really_cannot_compile():
    """AsString has no kernel for it, in any version: an error of XLA's own, not an injected one."""
    number = tf.Variable(2.0)  # A constant would be folded away.
    agent = SmallLearner(
        Config(), True, lambda jit: tf.strings.to_number(tf.strings.as_string(number.read_value()))
    )
    _, line = rehearse(agent)
    assert "InvalidArgumentError: Detected unsupported operations" in line and "AsString" in line
    assert not agent.jit and agent.weight.numpy() == 1.5
    agent.train(real_batch(agent, 2), 0)
    assert agent.weight.numpy() > 3.0


@pytest.mark.parametrize("error", [NO_PTXAS, NO_LIBDEVICE])
def test_xla_that_was_asked_for_is_not_left_out(error):
    agent = SmallLearner(Config(jit="on"), True, raising(error))
    with pytest.raises(ConfigError, match=r"^--jit=on: XLA fails \(.*; --jit=off .*'\.\[gpu\]'"):
        rehearse(agent)
    assert agent.jit and agent.weight.numpy() == 1.5


@pytest.mark.parametrize("jit", ["auto", "on"])
def test_too_little_memory(jit):
    agent = SmallLearner(Config(jit=jit), True, raising(NO_ROOM, also_plain=True))
    with pytest.raises(MemoryError, match=r"^Out of memory while trying to allocate 4.00TiB\.$"):
        rehearse(agent)


def test_a_device_that_makes_no_update():
    agent = SmallLearner(Config(), True, raising(NO_CUDNN, also_plain=True))
    with pytest.raises(ConfigError, match=r"no update can be made .*DNN library.*--device=cpu"):
        rehearse(agent)


def test_mistakes_of_the_program_are_not_hidden():
    wrong = tf.errors.InvalidArgumentError(None, None, "shapes")
    with pytest.raises(tf.errors.InvalidArgumentError):
        rehearse(SmallLearner(Config(), True, raising(wrong, also_plain=True)))


def test_without_xla_only_gpus_are_tried_out(monkeypatch):
    agent = SmallLearner(Config(), False)
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind: [])
    assert rehearse(agent) == [] and agent.calls == []
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind: ["GPU:0"])
    assert rehearse(agent) == [] and agent.calls == [1]


@pytest.mark.parametrize(
    "pretrain, train_steps, each, calls",
    [(100, 100, 10, [10]), (0, 1, 10, [10, 1]), (100, 105, 10, [10, 1]), (5, 5, 10, [10, 1])],
)
def test_the_calls_are_those_of_training(pretrain, train_steps, each, calls):
    agent = SmallLearner(Config(pretrain=pretrain, train_steps=train_steps), True)
    rehearse(agent, each=each)
    assert agent.calls == calls


def test_a_device_that_fails_later_is_one_line():
    """In the middle of a run, too."""
    agent = SmallLearner(Config(), False, raising(NO_LIBDEVICE, also_plain=True))
    with pytest.raises(DeviceError, match=r"^device failed: InternalError: libdevice.*10\.bc$"):
        agent.train(real_batch(agent, 2), 0)
