"""Child processes for the environments' tests.

TensorFlow may be loaded in pytest's own process, and must not meet OpenGL there: whatever renders
does so in a worker or in `run_python`.
"""

import os
import subprocess
import sys

import pytest
from places import PATHS


@pytest.fixture(scope="session")
def run_python():
    """Function of arguments for a fresh interpreter; returns the finished process."""

    def run(*arguments, **variables):
        return subprocess.run(
            [sys.executable, *arguments],
            env={**os.environ, "PYTHONPATH": PATHS, **variables},
            capture_output=True,
            text=True,
            timeout=120,
        )

    return run
