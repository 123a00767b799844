"""The custom environment that the documentation shows."""

import os
import re

import numpy as np
import pytest
from conftest import FOLDER, PATHS

from clion_tf.envs import EnvSpec, checking

ROOT = FOLDER.parents[1]


def blocks(name):
    """Code blocks of a document that are this module."""
    text = (ROOT / name).read_text(encoding="utf-8")
    return re.findall(r"```python\n(# my_env\.py\n.*?)```", text, re.DOTALL)


@pytest.fixture(autouse=True)
def my_env(tmp_path, monkeypatch):
    [code] = blocks("docs/environments.md")
    (tmp_path / "my_env.py").write_text(code)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), PATHS]))


@pytest.mark.parametrize("task", ["my_env:make", "gym:my_env:MyEnv-v0"])
def test_it_passes_every_check(task):
    report = checking.examine(EnvSpec(task, time_limit=60))
    assert [check for check in report.checks if not check.passed] == [] and report.notes == []
    assert len(report.checks) == 9
    [played] = report.episodes
    assert played.end == "cut (discount 1)" and played.steps == 60 and played.reward > 0
    assert played.frames[0].image.shape == (64, 64, 3)
    assert np.ptp(played.frames[0].image) > 100


def test_documents_show_the_same():
    assert set(blocks("README.md")) <= set(blocks("docs/environments.md"))
