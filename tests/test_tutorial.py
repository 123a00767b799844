"""docs/tutorial.md does what it says: its blocks run, in order, at the smallest sizes."""

import itertools
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
SMALL = {
    "steps": 120, "time_limit": 40, "prefill": 40, "eval_every": 80, "train_every": 40,
    "train_steps": 1, "pretrain": 1, "batch_length": 3, "horizon": 2, "batch_size": 4,
}  # fmt: skip
TEST = "tests/learning/test_weighting.py"


def section(number):
    """(kind, code) of each block of a numbered section."""
    text = (ROOT / "docs" / "tutorial.md").read_text()
    [found] = re.findall(rf"^## {number}\. .*?(?=^## )", text, re.DOTALL | re.MULTILINE)
    blocks = BLOCK.findall(found)
    assert blocks
    return blocks


class Reader:
    """Somebody who follows the page in a copy of the repository.

    `sh` is not run: it installs, and undoes what was changed.
    """

    def __init__(self, place):
        self.place = place
        names = ("clion_tf", "tools", "flags", "pyproject.toml", "tests/conftest.py", TEST)
        for name in names:
            if (ROOT / name).is_dir():
                ignored = shutil.ignore_patterns("__pycache__")
                shutil.copytree(ROOT / name, place / name, ignore=ignored)
            else:
                (place / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / name, place / name)
        commands = {"python": "", "clion-train": "-m clion_tf.run"}
        for path in ROOT.glob("tools/[!_]*.py"):
            commands[f"clion-{path.stem.replace('_', '-')}"] = str(place / "tools" / path.name)
        (place / "bin").mkdir()
        small = " ".join(f"--{name}={value}" for name, value in SMALL.items())
        for name, words in commands.items():
            end = small if name == "clion-train" else ""
            script = place / "bin" / name
            script.write_text(f'#!/bin/sh\nexec "{sys.executable}" {words} "$@" {end}\n')
            script.chmod(0o755)

    def follow(self, number, *codes):
        """Does what a section says; returns what its commands gave, in order.

        They must end with these exit codes, or else with 0, at once where one does not.
        """
        results, expected = [], itertools.chain(codes, itertools.repeat(0))
        for kind, code in section(number):
            named = re.match(r"# (\w+\.\w+)$", code.splitlines()[0])
            if named:
                (self.place / named[1]).write_text(code)
            elif kind == "diff":
                self.edit(code)
            elif kind in ("bash", "python"):
                words = ("-eu", "-c", code) if kind == "bash" else ("-c", code)
                results.append(self.run(kind, *words))
                told = f"{code}\n{results[-1].stdout}\n{results[-1].stderr}"
                assert results[-1].returncode == next(expected), told
            else:
                assert kind == "sh"
        return results

    def edit(self, code):
        """A block of one file, lines that go and lines that come."""
        lines = code.splitlines()
        path = self.place / lines[0].removeprefix("--- ")
        old, new = (
            "".join(f"{line[1:]}\n" for line in lines[1:] if line[0] == sign) for sign in "-+"
        )
        text = path.read_text()
        assert text.count(old) == 1, old
        path.write_text(text.replace(old, new))

    def run(self, *words):
        return subprocess.run(
            words,
            cwd=self.place,
            env={
                **os.environ,
                "PATH": os.pathsep.join([str(self.place / "bin"), os.environ["PATH"]]),
                "PYTHONPATH": str(self.place),
                "CUDA_VISIBLE_DEVICES": "-1",
            },
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )


@pytest.fixture
def reader(tmp_path):
    return Reader(tmp_path)


def metrics(folder):
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return set().union(*lines)


@pytest.mark.slow
def test_train_look_and_switch_off(reader):
    results = [result for number in (1, 2, 3) for result in reader.follow(number)]
    logdir = reader.place / "logdir"
    for name in ("debug.mp4", "model.mp4", "report.html"):
        assert (logdir / name).stat().st_size > 1000
    agent, difference = (r.stdout for r in results if r.args[0] == "python")
    assert re.match(r"120 environment steps; return: \d", agent)
    assert re.match(r"effective sample size of the weights: [01]\.\d", difference)
    gone = metrics(logdir / "debug") - metrics(logdir / "no_evaluator")
    assert {"evaluator_loss", "weight_ess"} <= gone
    assert all(name in difference for name in ("evaluator_loss", "weight_ess"))


def test_an_environment_is_checked_and_trained_on(reader):
    check, training = reader.follow(4)
    marks = re.findall(r"^  (ok|FAIL\w*) ", check.stdout, re.MULTILINE)
    assert len(marks) == 11 and set(marks) == {"ok"}
    assert "observe vector" in check.stdout
    options = (reader.place / "logdir" / "centre" / "run.flags").read_text()
    assert "--observe=vector" in options and "--task=my_env:make" in options
    assert "| my_env:make |" in training.stdout


@pytest.mark.slow
def test_a_changed_equation_fails_its_test_until_that_is_changed(reader):
    before, after = reader.follow(5, 1, 0)
    assert "1 failed" in before.stdout and "test_weights_by_hand" in before.stdout
    assert "1 passed" in after.stdout


@pytest.mark.slow
def test_a_loss_of_ones_own_is_trained_and_named(reader):
    [both] = reader.follow(6)
    assert "smooth_loss" in metrics(reader.place / "logdir" / "smooth")
    assert "CLION (smooth_scale=100)" in both.stdout


def test_the_edits_of_section_6_fit_the_code(reader):
    for kind, code in section(6):
        if kind == "diff":
            reader.edit(code)


def test_what_section_5_takes_back_is_what_it_changed():
    blocks = section(5)
    changed = [code.splitlines()[0].removeprefix("--- ") for kind, code in blocks if kind == "diff"]
    [undo] = [code for kind, code in blocks if kind == "sh"]
    assert undo.split() == ["git", "checkout", *changed]
