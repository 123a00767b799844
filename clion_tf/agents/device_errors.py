"""What TensorFlow raises when a device fails, as errors of one line."""

import contextlib
import re
from collections.abc import Iterator

import tensorflow as tf

from clion_tf.console import UserError

# Those of a device; others (InvalidArgumentError, what XLA has no kernel for) are mistakes of the
# program. The texts are TensorFlow 2.21's.
_FAILED = (
    tf.errors.AbortedError,
    tf.errors.FailedPreconditionError,  # "DNN library initialization failed. …": no cuDNN.
    tf.errors.InternalError,  # "libdevice not found …" (xla/service/gpu/…/nvptx_backend.cc).
    tf.errors.UnavailableError,  # "No PTX compilation provider …": no ptxas, nvlink.
    tf.errors.UnknownError,
)
# An InternalError too: no room for the compiled program (tensorflow/tensorflow issue 60607).
_NO_ROOM = "CUDA_ERROR_OUT_OF_MEMORY"
_LONGEST = 300  # Characters of TensorFlow's text.


class DeviceError(UserError):
    """The device failed, not the program; the message is one line."""


@contextlib.contextmanager
def device_errors() -> Iterator[None]:
    """MemoryError for a device with too little memory, DeviceError if it fails otherwise."""
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
    around = ("  ", "\t", "Graph execution error:", "Detected at node", "<stack traces")
    lines = getattr(error, "message", str(error)).splitlines()
    told = (line.strip() for line in lines if not line.startswith(around))
    text = next(filter(None, told), "no reason given")
    text = re.sub(r" ?\[Op:\w+\]$|\[_Xla[^]]*\]", "", text)  # Of no use to a user.
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
