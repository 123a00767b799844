"""The custom environments that the documentation shows."""

import os
import re

import numpy as np
import pytest
from places import PATHS, ROOT

from clion_tf.envs import EnvSpec, env_checker


def blocks(name):
    """Code blocks of a document that are this module."""
    text = (ROOT / name).read_text(encoding="utf-8")
    return re.findall(r"```python\n(# my_env\.py\n.*?)```", text, re.DOTALL)


@pytest.fixture
def shown(tmp_path, monkeypatch):
    """Lets workers find the module that a document shows."""

    def write(name):
        [code] = blocks(name)
        (tmp_path / "my_env.py").write_text(code)
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), PATHS]))
        return code

    return write


def test_the_tutorials_in_ten_lines(shown):
    code = shown("docs/tutorial.md")
    body = code.split("class ")[1].split("\n\n\n")[0]
    assert len([line for line in body.splitlines() if line]) <= 10
    report = env_checker.examine(EnvSpec("my_env:make", time_limit=60, observe="vector"))
    assert [check for check in report.checks if not check.passed] == []
    [played] = report.episodes
    assert played.end == "cut (discount 1)" and played.steps == 60 and played.reward < 0


@pytest.mark.parametrize("task", ["my_env:make", "gym:my_env:MyEnv-v0"])
def test_one_with_images_passes_every_check(task, shown):
    shown("docs/environments.md")
    report = env_checker.examine(EnvSpec(task, time_limit=60))
    assert [check for check in report.checks if not check.passed] == []
    assert len(report.checks) == 11
    [played] = report.episodes
    assert played.end == "cut (discount 1)" and played.steps == 60 and played.reward > 0
    assert played.frames[0].image.shape == (64, 64, 3)
    assert np.ptp(played.frames[0].image) > 100
