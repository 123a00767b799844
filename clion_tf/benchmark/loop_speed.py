"""The whole loop: a short training run and where its time went."""

import json
import pathlib
import subprocess
import sys
import tempfile

from clion_tf.command import Failure
from clion_tf.config import Config, to_flagfile
from clion_tf.logdir.run_folder import RunFolder
from clion_tf.replay.stopwatch import PARTS


def measure(config: Config, count: int) -> dict:
    """Trains for `count` environment steps after the seed episodes, in a folder that is removed.

    The first phase of updates, in which the graph is built, is left out of the figures.

    Returns:
      `fps` (environment steps per second) and seconds of each part of the loop.

    Raises:
      Failure: if it does not end well.
    """
    with tempfile.TemporaryDirectory() as folder:
        flags = pathlib.Path(folder, "flags")
        flags.write_text(to_flagfile(config))
        own = [f"--logdir={folder}/run", f"--steps={config.prefill + config.time_limit + count}"]
        own += ["--log_every=1", "--pretrain=1", f"--eval_every={10**9}", "--video=none"]
        command = [sys.executable, "-m", "clion_tf.run", f"--flagfile={flags}", *own]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise Failure(done.stderr.strip().splitlines()[-1])
        text = RunFolder(f"{folder}/run").metrics_file.read_text()
        lines = [json.loads(line) for line in text.splitlines()]
    speed = [line for line in lines if "fps" in line][1:]
    if not speed:
        raise Failure("the run was too short to be measured: give it a larger --count")
    parts = {part: sum(line[f"{part}_seconds"] for line in speed) for part in PARTS}
    seconds = sum(line["loop_seconds"] for line in speed)
    steps = sum(line["fps"] * line["loop_seconds"] for line in speed)
    return {
        "env_steps": steps,
        "seconds": seconds,
        "fps": steps / seconds,
        "parts": {**parts, "other": seconds - sum(parts.values())},
    }


def table(result: dict) -> list[tuple[str, str]]:
    """Rows of (what, figure)."""
    rows = [("environment steps", f"{result['env_steps']:.0f} in {result['seconds']:.1f} s")]
    rows.append(("environment steps a second", f"{result['fps']:.2f}"))
    hours = 1e5 / result["fps"] / 3600
    rows.append(("100,000 environment steps", f"{hours:.2f} hours"))
    for part, seconds in result["parts"].items():
        rows.append((part, f"{100 * seconds / result['seconds']:.1f} %"))
    return rows
