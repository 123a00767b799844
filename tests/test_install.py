"""An installed copy: the wheel holds all of the repository's code, and works without the checkout.

Built and installed offline: setuptools and pip are those of this environment, and so are the
packages that the copy needs, which its own environment sees by a path file.
"""

import importlib.machinery
import json
import os
import runpy
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile

import pytest
from places import ROOT

PLACES = {"clion_tf": "clion_tf", "tools": "clion_tf/tools", "flags": "clion_tf/flags"}
SCRIPTS = sorted(path.stem for path in (ROOT / "tools").glob("[!_]*.py"))
COMMANDS = ["clion-train", *(f"clion-{name.replace('_', '-')}" for name in SCRIPTS)]
WRONG = "--no_such_option"

ENVIRONMENT = '''
import os
import clion_tf
import gymnasium
import numpy as np
from gymnasium.spaces import Box

assert clion_tf.__file__.startswith(os.environ["INSTALLED"]), clion_tf.__file__


class Shade(gymnasium.Env):
    """A grey that actions change."""

    action_space, observation_space = Box(-1, 1, (1,)), Box(0, 255, (64, 64, 3), np.uint8)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.grey = 128.0
        return self.picture(), {}

    def step(self, action):
        self.grey = float(np.clip(self.grey + 9 * action[0], 0, 255))
        return self.picture(), self.grey / 255, False, False, {}

    def picture(self):
        return np.full((64, 64, 3), self.grey, np.uint8)


def make(spec):
    return Shade()
'''

# In one process: it is to be seen what all commands load, and to load TensorFlow once.
LOOK = """
import contextlib, importlib.metadata, io, json, sys
import clion_tf

said = {}
for entry in importlib.metadata.distribution("clion_tf").entry_points:
    main = entry.load()
    for word in ("--help", sys.argv[1]):
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                code = main([word])
            except SystemExit as end:
                code = end.code
        said[f"{entry.name} {word}"] = [code, out.getvalue(), err.getvalue()]
heavy = sorted({"tensorflow", "keras"} & sys.modules.keys())
print(json.dumps({"file": clion_tf.__file__, "said": said, "heavy": heavy}))
"""
# In one process too; where a command stands for all, it is started by its name below.
USE = """
import importlib.metadata, sys
import clion_tf
import tensorflow

tensorflow.config.run_functions_eagerly(True)  # Building graphs takes most of the time.
commands = {entry.name: entry for entry in importlib.metadata.distribution("clion_tf").entry_points}
assert commands["clion-train"].load()(sys.argv[1:]) == 0
agent = clion_tf.load("logdir/run")
agent.reset(episode=0)
import numpy
assert agent.act(numpy.zeros((64, 64, 3), numpy.uint8)).shape == (1,)
for name, *words in (
    ("clion-evaluate", "--episodes=1", "--json=scores.json"),
    ("clion-export-video", "--out=run.mp4", "--size=64"),
):
    assert commands[name].load()(["--logdir=logdir/run", *words]) == 0
"""


def files(folder):
    """All that belongs to the code there, by path in the wheel."""
    return {
        f"{PLACES[folder]}/{path.relative_to(ROOT / folder)}": path.read_bytes()
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    source = tmp_path_factory.mktemp("source")
    for name in PLACES:
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, source / name, ignore=ignored)
    for name in ("setup.py", "pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, source)
    build = "import setuptools.build_meta as b, sys; b.build_wheel(sys.argv[1])"
    words = [sys.executable, "-c", build, str(source / "dist")]
    subprocess.run(words, cwd=source, check=True, capture_output=True, timeout=120)
    (path,) = (source / "dist").iterdir()
    return path


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """Function that runs a program of the environment, from a folder with an environment module."""
    place, folder = tmp_path_factory.mktemp("environment"), tmp_path_factory.mktemp("elsewhere")
    venv.create(place, symlinks=True)
    pip = [sys.executable, "-m", "pip", "--python", str(place / "bin" / "python"), "install"]
    words = [*pip, "--quiet", "--no-deps", "--no-index", "--no-compile", str(wheel)]
    own = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    # Of this checkout pip must not see what an editable install has left here.
    subprocess.run(words, cwd=folder, env=own, check=True, capture_output=True, timeout=120)
    (packages,) = place.glob("lib/python*/site-packages")
    paths = dict.fromkeys(sysconfig.get_path(kind) for kind in ("purelib", "platlib"))
    (packages / "needed.pth").write_text("\n".join(paths))
    (folder / "shade.py").write_text(ENVIRONMENT)
    own |= {"INSTALLED": str(packages), "CUDA_VISIBLE_DEVICES": "-1", "COLUMNS": "80"}

    def run(program, *words):
        result = subprocess.run(
            [str(place / "bin" / program), *words],
            cwd=folder, env=own, capture_output=True, text=True, timeout=300,
        )  # fmt: skip
        assert result.returncode == 0, result.stderr
        return result.stdout

    run.folder, run.packages, run.programs = folder, packages, place / "bin"
    return run


def test_the_wheel_holds_all_of_the_code_and_nothing_else(wheel):
    expected = files("clion_tf") | files("tools") | files("flags")
    with zipfile.ZipFile(wheel) as archive:
        found = {n: archive.read(n) for n in archive.namelist() if ".dist-info/" not in n}
    assert found.keys() == expected.keys()
    assert found == expected


def test_every_command_is_there_with_the_help_and_the_errors_of_its_script(
    installed, monkeypatch, capsys
):
    found = json.loads(installed("python", "-c", LOOK, WRONG))
    assert found["file"].startswith(str(installed.packages)) and found["heavy"] == []
    assert {path.name for path in installed.programs.glob("clion-*")} == set(COMMANDS)
    assert found["said"].keys() == {
        f"{name} {word}" for name in COMMANDS for word in ("--help", WRONG)
    }
    monkeypatch.setenv("COLUMNS", "80")
    for name, command in zip(["", *SCRIPTS], COMMANDS, strict=True):
        for word, code in (("--help", 0), (WRONG, 2)):
            monkeypatch.setattr(sys, "argv", [command, word])
            with pytest.raises(SystemExit) as end:
                if name:
                    runpy.run_path(str(ROOT / "tools" / f"{name}.py"), run_name="__main__")
                else:
                    runpy.run_module("clion_tf.run", run_name="__main__", alter_sys=False)
            out, err = capsys.readouterr()
            assert found["said"][f"{command} {word}"] == [end.value.code, out, err]
            assert end.value.code == code and len(err.splitlines()) == (code > 0)
            assert not out or (command in out and ".py" not in out.split("usage")[0])


def test_an_installed_copy_trains_and_is_used(installed):
    # As short as can be: an update, an evaluation, a checkpoint.
    less = (
        "--time_limit=40", "--prefill=40", "--steps=80", "--train_every=40", "--train_steps=1",
        "--pretrain=1", "--batch_length=3", "--horizon=2", "--nolog_images",
    )  # fmt: skip
    presets = ("--flagfile=debug", "--flagfile=dreamer")
    installed("python", "-c", USE, *presets, "--task=shade:make", "--logdir=logdir/run", *less)
    scores = json.loads((installed.folder / "scores.json").read_text())
    assert scores["task"] == "shade:make" and len(scores["cells"][0]["returns"]) == 1
    assert (installed.folder / "run.mp4").stat().st_size > 1000
    assert "environment steps: " in installed("clion-show-run", "--logdir=logdir/run")
    assert "shade:make" in installed("clion-table", "--logdirs", "logdir/run", "--metric=train")


def test_no_script_has_the_name_of_a_module():
    """The folder of a script is the first in which its imports are looked for."""
    places = [sysconfig.get_path(kind) for kind in ("purelib", "platlib")]
    for name in SCRIPTS:
        assert name not in sys.stdlib_module_names
        assert importlib.machinery.PathFinder.find_spec(name, places) is None, name
