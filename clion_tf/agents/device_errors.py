"""What TensorFlow raises when a device fails, as errors of one line.

How the types and texts of TensorFlow 2.21 come about:
- No room for a tensor of a plain graph: ResourceExhaustedError, "OOM when allocating tensor with
  shape…" (core/framework/op_kernel.cc). For a compiled function: ResourceExhaustedError, "Out of
  memory while trying to allocate 4.00TiB." (provoked on a CPU by tests/agents/test_device_errors).
- No room for the compiled program itself: InternalError, "Failed to load in-memory CUBIN:
  CUDA_ERROR_OUT_OF_MEMORY: out of memory" (github.com/tensorflow/tensorflow/issues/60607).
- Without ptxas and nvlink: UnavailableError, "No PTX compilation provider is available. …"
  (xla/stream_executor/cuda/assemble_compilation_provider.cc).
- Without libdevice: InternalError, "libdevice not found at ./libdevice.10.bc"
  (`LinkLibdeviceIfNecessary` in xla/service/gpu/llvm_gpu_backend/nvptx_backend.cc).
- What XLA has no kernel for: InvalidArgumentError, "Detected unsupported operations when trying to
  compile graph…" (provoked likewise).
- Without a working cuDNN: FailedPreconditionError, "DNN library initialization failed. …".
"""

import contextlib
import re
from collections.abc import Iterator

import tensorflow as tf

from clion_tf.console import UserError

# Those of a device; others (InvalidArgumentError, …) are mistakes of the program.
_FAILED = (
    tf.errors.AbortedError,
    tf.errors.FailedPreconditionError,
    tf.errors.InternalError,
    tf.errors.UnavailableError,
    tf.errors.UnknownError,
)
_NO_ROOM = "CUDA_ERROR_OUT_OF_MEMORY"
_LONGEST = 300  # Characters of TensorFlow's text.


class DeviceError(UserError):
    """The device failed, not the program; the message is one line."""


@contextlib.contextmanager
def device_errors() -> Iterator[None]:
    """Turns what TensorFlow raises for a device into errors that command lines say in one line.

    Raises:
      MemoryError: if the device has too little memory.
      DeviceError: if it fails otherwise.
    """
    try:
        yield
    except tf.errors.ResourceExhaustedError as error:
        raise MemoryError(cause(error)) from error
    except _FAILED as error:
        if _NO_ROOM in error.message:
            raise MemoryError(cause(error)) from error
        raise DeviceError(f"device failed: {type(error).__name__}: {cause(error)}") from error


def cause(error: Exception) -> str:
    """What a TensorFlow error is about, in one line, without where in the graph it came up."""
    lines = getattr(error, "message", str(error)).splitlines()
    text = next(filter(None, map(_told, lines)), "no reason given")
    text = re.sub(r" ?\[Op:\w+\]$|\[_Xla[^]]*\]", "", text)  # Of no use to a user.
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def _told(line: str) -> str:
    """The line, '' if it is a heading or of the stack where the graph was made."""
    around = ("  ", "\t", "Graph execution error:", "Detected at node", "<stack traces")
    return "" if line.startswith(around) else line.strip()
