"""Where the checkout is, and what processes that tests start have to find."""

import os
import pathlib

ROOT = pathlib.Path(__file__).resolve().parents[1]
FAKES = str(ROOT / "tests" / "envs")  # For workers of this process: env_fakes.
PATHS = os.pathsep.join([str(ROOT), FAKES])  # For processes that have workers of their own.
