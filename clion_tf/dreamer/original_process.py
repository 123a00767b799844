"""Processes that answer in lines of JSON: the original's code, and ours beside it."""

import contextlib
import json
import os
import pathlib
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any

from clion_tf.command import UsageError
from clion_tf.dreamer import original_code

_GRACE = 5.0  # Seconds that a child without a stdout gets to end by itself.


class Child:
    """A process that speaks as `original_code` does.

    Raises:
      UsageError: from any method, in one line, if it cannot be run, dies, or talks nonsense.
    """

    def __init__(self, name: str, command: Sequence[str], environment: Mapping[str, str]):
        self._name = f"{name} ({command[0]})"
        self._stderr = tempfile.TemporaryFile()
        pipe = subprocess.PIPE
        try:
            self._process = subprocess.Popen(
                command, stdin=pipe, stdout=pipe, stderr=self._stderr, env=environment
            )
        except (OSError, ValueError) as error:
            self._stderr.close()
            raise UsageError(f"{name}: cannot run {command[0]}: {error}") from error

    def ask(self, request: Any, *names: str) -> dict[str, Any]:
        """The answer to a request, which has these names."""
        with contextlib.suppress(BrokenPipeError):  # It died: reading says how.
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()
        return self.read(*names)

    def read(self, *names: str) -> dict[str, Any]:
        """The next answer."""
        line = self._process.stdout.readline()
        if not line.endswith(b"\n"):
            raise UsageError(f"{self._name} {self._death()}")
        with contextlib.suppress(ValueError):
            message = json.loads(line)
            if isinstance(message, dict) and set(names) <= message.keys():
                return message
        text = line.decode(errors="replace").strip()
        raise UsageError(f"{self._name} said {text!r}, not {', '.join(names)}")

    def close(self) -> None:
        """Ends the process, which has nothing to save."""
        self._process.kill()
        self._process.wait()
        with contextlib.suppress(BrokenPipeError):  # What it did not read any more.
            self._process.stdin.close()
        self._process.stdout.close()
        self._stderr.close()

    def _death(self) -> str:
        """How it ended, and the last line that it wrote to stderr."""
        how = "closed its stdout"
        with contextlib.suppress(subprocess.TimeoutExpired):
            code = self._process.wait(_GRACE)
            how = f"ended with exit code {code}"
            if code < 0:
                how = f"was ended by {signal.Signals(-code).name}"
                how += ", as for want of memory" if -code == signal.SIGKILL else ""
        self._stderr.seek(0)
        lines = [line.strip() for line in self._stderr.read().decode(errors="replace").split("\n")]
        return f"{how}: {next(filter(None, reversed(lines)), 'it said nothing')}"


def original(
    checkout: pathlib.Path, file: str, python: str, *words: str, gpus: bool = False
) -> Child:
    """`original_code` in a checkout, which must have `file`, run by `python`."""
    if not (checkout / file).is_file():
        what = f"no {file} there, so no checkout of github.com/danijar/dreamer"
        raise UsageError(f"{checkout}: {what}")
    own = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME")}
    own["TF_CPP_MIN_LOG_LEVEL"] = "3"
    if not gpus:
        own["CUDA_VISIBLE_DEVICES"] = "-1"
    # -B: nothing is written into the checkout.
    command = [python, "-B", original_code.__file__, str(checkout.resolve()), *words]
    return Child("original", command, own)
