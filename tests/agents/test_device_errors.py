"""TensorFlow's errors in one line; those that a CPU can have are really provoked."""

import re

import pytest
import tensorflow as tf

from clion_tf.agents.device_errors import DeviceError, cause, device_errors

LONG_STACK = """Graph execution error:

Detected at node StatefulPartitionedCall defined at (most recent call last):
<stack traces unavailable>
  File "/home/user/clion_tf/run.py", line 144, in <module>

libdevice not found at ./libdevice.10.bc
\t [[{{node StatefulPartitionedCall}}]] [Op:__inference__train_step_50056]"""


def test_the_cause_is_neither_heading_nor_stack():
    assert cause(tf.errors.InternalError(None, None, LONG_STACK)) == (
        "libdevice not found at ./libdevice.10.bc"
    )
    assert cause(tf.errors.InternalError(None, None, "")) == "no reason given"
    assert len(cause(tf.errors.InternalError(None, None, "x" * 1000))) == 301


@pytest.mark.slow  # TensorFlow waits ten seconds for memory.
def test_too_little_memory_for_a_compiled_function():
    @tf.function(jit_compile=True, autograph=False)
    def function(x):
        return tf.sort(x * tf.random.stateless_normal([1 << 20, 1 << 20], [1, 2]))

    with pytest.raises(MemoryError, match=r"^Out of memory while trying to allocate 4.00TiB\.$"):
        with device_errors():
            function(tf.constant(1.0))


def test_what_a_compiled_function_cannot_have():
    @tf.function(jit_compile=True, autograph=False)
    def function(x):
        return tf.strings.as_string(x)

    with pytest.raises(tf.errors.InvalidArgumentError) as found:
        function(tf.constant(1.0))
    assert re.match(r"Detected unsupported operations .* on XLA_\w+_JIT: AsStr", cause(found.value))


def test_what_a_graph_says_of_a_mistake():
    @tf.function(autograph=False)
    def function(x):
        return tf.debugging.check_numerics(x / 0.0, "bad")

    with pytest.raises(tf.errors.InvalidArgumentError) as found:
        with device_errors():  # Which are not the device's.
            function(tf.constant(1.0))
    assert cause(found.value) == "bad : Tensor had Inf values"


@pytest.mark.parametrize("kind", [tf.errors.InternalError, tf.errors.UnavailableError])
def test_a_device_that_fails(kind):
    with pytest.raises(DeviceError, match=f"^device failed: {kind.__name__}: libdevice not found"):
        with device_errors():
            raise kind(None, None, LONG_STACK)
