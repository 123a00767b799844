"""tools/show_run.py: what a logdir holds, and whether it is whole."""

import subprocess
import sys

import numpy as np
import pytest
from loop_runs import start
from places import ROOT

from clion_tf.config import to_flagfile
from clion_tf.training import loop


def tool(folder):
    words = [sys.executable, str(ROOT / "tools" / "show_run.py"), f"--logdir={folder}"]
    return subprocess.run(words, capture_output=True, text=True, cwd=ROOT, timeout=60)


@pytest.fixture
def run(tmp_path):
    run = start(tmp_path / "r ü n")
    loop.train(run)
    (run.folder.path / "run.flags").write_text(to_flagfile(run.config))
    return run


def test_says_what_there_is(run):
    result = tool(run.folder.path)
    assert result.returncode == 0 and result.stderr == ""
    lines = result.stdout.splitlines()
    assert "  --train_steps=3" in lines and not any("--seed" in line for line in lines)
    assert "episodes on disk: 7, 77 frames" in lines
    for line in ("environment steps: 140", "updates: 17", "episodes: 7"):
        assert f"  {line}" in lines
    digests = [line.split()[-1] for line in lines if "environment steps, " in line]
    assert len(digests) == 3 and len(set(digests)) == 3
    assert lines[-1] == f"  SHA-256 of weights and optimiser state: {digests[0]}"


def test_names_what_is_damaged(run):
    episode = sorted((run.folder.path / "episodes").iterdir())[2]
    episode.write_bytes(episode.read_bytes()[:1000])
    newest = run.checkpoints.paths()[0]
    newest.write_bytes(b"nothing")
    result = tool(run.folder.path)
    assert result.returncode == 1
    assert episode.name in result.stderr and newest.name in result.stderr
    assert len(result.stderr.splitlines()) == 2
    assert "  environment steps: 120" in result.stdout.splitlines()


def test_no_run(tmp_path):
    np.save(tmp_path / "a.npy", 1)
    for folder in (tmp_path, tmp_path / "none"):
        result = tool(folder)
        assert result.returncode == 2 and result.stdout == ""
        assert result.stderr == f"show_run: error: {folder}: no run of clion_tf there\n"
