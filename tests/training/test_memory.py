"""Resident memory does not grow with the replay."""

import os
import subprocess
import sys

import numpy as np
import pytest
from places import ROOT

from clion_tf.replay.episode_files import save_episode

MEASURE = """
import pathlib, sys
from clion_tf.replay.replay_buffer import Replay
replay = Replay(pathlib.Path(sys.argv[1]), 50)
print(replay.load())
for update in range(20):
    replay.sample(50, update)
status = pathlib.Path("/proc/self/status").read_text()
print(status.split("RssAnon:")[1].split()[0])
"""


def measure(folder):
    """(episodes, anonymous resident memory in MB) of a process that draws 20 batches."""
    words = [sys.executable, "-c", MEASURE, str(folder)]
    output = subprocess.run(words, capture_output=True, text=True, cwd=ROOT, check=True).stdout
    episodes, kilobytes = output.split()
    return int(episodes), int(kilobytes) / 1000


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_a_million_steps_take_no_more_memory_than_five_thousand(tmp_path):
    random = np.random.default_rng(0)
    episode = {
        "image": random.integers(0, 256, (501, 64, 64, 3), dtype=np.uint8),
        "action": np.zeros((501, 6), np.float32),
        "reward": np.zeros(501, np.float32),
        "discount": np.ones(501, np.float32),
    }
    first = save_episode(tmp_path, 0, episode)
    for index in range(1, 5):
        os.link(first, tmp_path / f"{index:06d}-501.npz")
    few, small = measure(tmp_path)
    for index in range(5, 1000):
        os.link(first, tmp_path / f"{index:06d}-501.npz")
    many, large = measure(tmp_path)
    assert (few, many) == (5, 1000)
    assert large - small < 30  # MB; the goal is 300.
