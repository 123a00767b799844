"""tools/compare_dreamer.py speed: the measurement, on a small stand-in for the original."""

import json
import os
import pathlib
import subprocess
import sys
import textwrap
import time
from multiprocessing import forkserver, resource_tracker

import pytest
from places import ROOT
from tool_modules import tool

from clion_tf.benchmark import measuring
from clion_tf.command import UsageError
from clion_tf.config import Config, parse
from clion_tf.dreamer import original_process
from clion_tf.dreamer.original_process import Child

TOOL = ROOT / "tools" / "compare_dreamer.py"
TINY = [
    "--batch_size=2", "--batch_length=6", "--horizon=2", "--cnn_depth=2", "--num_units=4",
    "--deter_size=4", "--stoch_size=2", "--hidden_size=4", "--evaluator_units=4",
]  # fmt: skip

# What the driver uses of TensorFlow.
TENSORFLOW = """
import itertools, types
__version__ = "2.2.0-fake"
constant = lambda value: value
class Dataset:
    def __init__(self, value):
        self.value = value
    def repeat(self):
        return itertools.repeat(self.value)
data = types.SimpleNamespace(Dataset=types.SimpleNamespace(from_tensors=Dataset))
experimental = types.SimpleNamespace(list_physical_devices=lambda kind: [])
config = types.SimpleNamespace(experimental=experimental)
"""
# What the driver uses of the original. As there, modules that updates do not need are imported,
# stdout is written to, and the constructor makes an update.
DREAMER = '''
import contextlib, json, os, pathlib, types
import gym
from PIL import Image
import numpy as np
import tensorflow as tf

HERE = pathlib.Path(__file__).parent

def define_config():
    names = """batch_size batch_length horizon deter_size stoch_size num_units cnn_depth dense_act
        cnn_act pcont pcont_scale free_nats kl_scale discount disclam action_init_std model_lr
        value_lr actor_lr grad_clip logdir precision"""
    class AttrDict(dict):
        __getattr__ = dict.__getitem__
    return AttrDict.fromkeys(names.split(), 16)

def preprocess(batch, config):
    return {**batch, "image": batch["image"] / 255.0 - 0.5}

def count_steps(directory, config):
    raise NotImplementedError

load_dataset = count_steps

class Dreamer:
    def __init__(self, config, datadir, actspace, writer):
        assert count_steps(datadir, config) == 0
        self._config, self._updates, self._seen = config, 0, []
        self._strategy = types.SimpleNamespace(scope=contextlib.nullcontext)
        self._dataset = iter(load_dataset(datadir, config))
        self._actor = types.SimpleNamespace(variables=[types.SimpleNamespace(numpy=lambda: 0)])
        assert actspace.shape == (6,)
        self.train(next(self._dataset))

    def train(self, data, log_images=False):
        assert log_images is False
        print("Found 3 parameters.")
        self._updates += 1
        shapes = {key: [list(value.shape), float(value.min())] for key, value in data.items()}
        gpus = os.environ.get("CUDA_VISIBLE_DEVICES")
        seen = {"config": self._config, "updates": self._updates, "gpus": gpus, "data": shapes}
        (HERE / "seen.json").write_text(json.dumps(seen))
'''


@pytest.fixture
def checkout(tmp_path):
    """Function that writes a checkout, `after` its own code; returns its folder."""

    def write(after="", dreamer=DREAMER, tensorflow=TENSORFLOW):
        folder = tmp_path / "dreamer ü"
        folder.mkdir(exist_ok=True)
        (folder / "tensorflow.py").write_text(tensorflow)
        (folder / "dreamer.py").write_text(dreamer + textwrap.dedent(after))
        return folder

    return write


@pytest.fixture
def refused(capsys):
    """Function that runs the tool in this process; the line by which it refuses."""

    def run(folder, *words, python=sys.executable):
        words = [f"--dreamer_dir={folder}", f"--dreamer_python={python}", *TINY, *words]
        assert tool("compare_dreamer").main(["speed", *words]) == 2
        out, err = capsys.readouterr()
        assert out == "" and err.startswith("compare_dreamer: error: ")
        assert len(err.splitlines()) == 1, err
        assert children() == set()
        return err

    return run


def children():
    """Process ids of this process's children, but for multiprocessing's own, which stay."""
    tasks = pathlib.Path("/proc/self/task").glob("*/children")
    found = {pid for task in tasks for pid in task.read_text().split()}
    tracker, forks = resource_tracker._resource_tracker, forkserver._forkserver
    return found - {str(tracker._pid), str(forks._forkserver_pid)}


def alive(group):
    """Whether any process of the group is left."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def start(folder):
    """The tool in a process group of its own."""
    command = [sys.executable, TOOL, "speed", f"--dreamer_dir={folder}", *TINY]
    return subprocess.Popen(
        [*command, f"--dreamer_python={sys.executable}"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


# Speaks the protocol and writes its name at each update; fails at update `last`.
PUPPET = """
import json, sys
name, log, last = sys.argv[1], sys.argv[2], int(sys.argv[3])
print(json.dumps({"first_update": 1.5, "tensorflow": "2", "device": "CPU"}), flush=True)
for number, line in enumerate(sys.stdin, 1):
    if number == last:
        sys.exit("out of puff")
    open(log, "a").write(f"{name}{line}")
    print(json.dumps({"seconds": number * int(line), "memory": 100 * number}), flush=True)
"""


@pytest.fixture
def only_dreamer_mode(monkeypatch, tmp_path):
    """Of ours one learns, and puppets stand for the others: each builds a graph."""

    def child(name, words, environment):
        if name in ("CLION", "Doubled-Dreamer"):
            words = [sys.executable, "-c", PUPPET, name, str(tmp_path / "log"), "0"]
        return Child(name, words, environment)

    monkeypatch.setattr(measuring, "Child", child)


def test_table_and_json(checkout, tmp_path, monkeypatch, capfd, only_dreamer_mode):
    """From the tools' folder, whose files must not be taken for modules."""
    folder, path = checkout(), tmp_path / "speed.json"
    words = [f"--dreamer_dir={folder}", f"--dreamer_python={sys.executable}", f"--json={path}"]
    words += ["--rounds=2", "--updates=3", "--device=cpu", *TINY]
    monkeypatch.chdir(ROOT / "tools")
    assert tool("compare_dreamer").main(["speed", *words]) == 0
    out, err = capfd.readouterr()
    assert err == "" and children() == set()

    result = json.loads(path.read_text())
    names = ["original", "Dreamer mode", "CLION", "Doubled-Dreamer"]
    assert list(result["contenders"]) == names
    for name, one in result["contenders"].items():
        assert len(one["seconds"]) == 2 and min(one["seconds"]) > 0
        assert set(one["update"]) == {"median", "min", "max"}
        if name in ("original", "Dreamer mode"):
            assert one["first_update"] > 0 and one["memory"] > 2**20
            assert one["device"].startswith("CPU, precision 32"), name
    assert result["contenders"]["original"]["tensorflow"] == "2.2.0-fake"
    assert result["contenders"]["original"]["ratio"] == 1.0
    assert set(result["ratios"]) == {"CLION / Dreamer mode", "CLION / Doubled-Dreamer"}
    assert result["sizes"]["deter_size"] == 4 and result["updates_a_round"] == 3

    lines = out.splitlines()
    assert [line.strip() for line in lines if line.strip() in names] == names
    assert lines[0] == f"{'machine':20} {result['machine']}"
    assert lines[-1].startswith("ratios" + " " * 15 + "CLION / Dreamer mode ")

    seen = json.loads((folder / "seen.json").read_text())
    assert seen["updates"] == 1 + 1 + 2 * 3  # The constructor's, one not counted, the rounds.
    assert seen["gpus"] == "-1"
    assert (seen["config"]["horizon"], seen["config"]["pcont"]) == (2, False)
    assert (seen["config"]["precision"], seen["config"]["logdir"]) == (32, 16)
    assert seen["data"]["image"] == [[2, 6, 64, 64, 3], -0.5]
    assert seen["data"]["action"][0] == [2, 6, 6]
    assert seen["data"]["discount"] == [[2, 6], 1.0]
    # Nothing but the stand-in's own note was written there.
    assert {p.name for p in folder.iterdir()} == {"dreamer.py", "tensorflow.py", "seen.json"}


@pytest.fixture
def puppets(tmp_path, monkeypatch):
    """Function that measures puppets called a, b and c; (figures, names and counts in order)."""
    log = tmp_path / "log"

    def measure(rounds, updates, last=0, told=None):
        def contenders():
            for name in "abc":
                limit = str(last if name == "b" else 0)
                words = [sys.executable, "-c", PUPPET, name, str(log), limit]
                yield name, Child(name, words, os.environ)

        tell = ([] if told is None else told).append
        monkeypatch.setattr(measuring, "progress", tell)
        figures = measuring.measure(contenders(), rounds, updates)
        assert children() == set()
        return figures, log.read_text().split()

    return measure


def test_one_works_at_a_time_and_the_order_turns(puppets):
    told = []
    figures, order = puppets(rounds=3, updates=4, told=told)
    assert order == "a1 b1 c1 a4 b4 c4 c4 b4 a4 a4 b4 c4".split()
    assert [line[0] for line in told] == list("abc" + "abc" + "abc" + "cba" + "abc")
    # The first is not counted.
    expected = {"first_update": 1.5, "tensorflow": "2", "device": "CPU"}
    expected |= {"seconds": [8.0, 12.0, 16.0], "memory": 400}
    assert figures == dict.fromkeys("abc", expected)


def test_a_child_that_dies_ends_all(puppets):
    with pytest.raises(UsageError, match=r"^b \(.*\) ended with exit code 1: out of puff$"):
        puppets(rounds=3, updates=4, last=3)
    assert children() == set()


def test_ratio_is_the_median_of_paired_ratios():
    one, other = [1, 8, 3], [1, 2, 6]
    # Of 1, 4 and 0.5; of the medians it would be 1.5.
    assert measuring.ratio(one, other) == 1.0


def test_the_end_of_the_tool_is_the_end_of_its_children(checkout):
    """Even by a signal that it cannot see: a child's stdin ends."""
    folder = checkout()
    process = start(folder)
    deadline = time.monotonic() + 60
    while not (folder / "seen.json").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.kill()
    process.communicate()
    while alive(process.pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not alive(process.pid)


def test_modes_are_those_of_the_flag_files():
    modes = measuring.modes(Config(horizon=9))
    for name, file in {"Dreamer mode": "dreamer", "Doubled-Dreamer": "doubled_dreamer"}.items():
        assert modes[name] == parse([f"--flagfile={ROOT}/flags/{file}.flags", "--horizon=9"])
    assert modes["CLION"] == Config(horizon=9)


def test_no_checkout(tmp_path, refused):
    for folder in (tmp_path, tmp_path / "none"):
        assert f"{folder}: no dreamer.py there" in refused(folder)


FAILURES = {
    "import": ("raise RuntimeError('too old')", "exit code 1: RuntimeError: too old"),
    "no_update": ("del Dreamer.train", "no attribute 'train'"),
    "killed": ("os.kill(os.getpid(), 9)", "was ended by SIGKILL, as for want of memory"),
    "exit": ("os._exit(0)", "ended with exit code 0: it said nothing"),
    "another": ("define_config = dict", "its define_config has no action_init_std, actor_lr"),
    "stdin": ("os.closerange(3, 99); import time; time.sleep(99)", "closed its stdout"),
}


@pytest.mark.parametrize("kind", FAILURES)
def test_original_that_fails(kind, checkout, refused, monkeypatch):
    monkeypatch.setattr(original_process, "_GRACE", 0.5)
    after, part = FAILURES[kind]
    line = refused(checkout(after))
    assert part in line and line.startswith(f"compare_dreamer: error: original ({sys.executable})")


def test_python_without_tensorflow(checkout, refused):
    line = refused(checkout(tensorflow="import tensorflow_of_old\n"))
    assert "ModuleNotFoundError: No module named 'tensorflow_of_old'" in line


def test_no_python(checkout, refused, tmp_path):
    script = tmp_path / "python"
    assert f"cannot run {script}" in refused(checkout(), python=script)
    script.write_text("#!/bin/sh\necho hello\n")
    assert "Permission denied" in refused(checkout(), python=script)
    script.chmod(0o700)
    assert "said 'hello', not first_update" in refused(checkout(), python=script)


@pytest.mark.parametrize(
    "words, part",
    [
        (["--batch_length=5"], "--batch_length=5: the original needs at least 6"),
        (["--hidden_size=5"], "--hidden_size=5: the original has as many as --deter_size, 4"),
        (["--bacth_size=5"], "bacth_size"),
        (["--flagfile=none.flags"], "none.flags"),
        (["5"], "unexpected argument '5'"),
        (["--json=no/such/folder/x.json"], "no such folder"),
    ],
)
def test_bad_options(words, part, checkout, refused):
    assert part in refused(checkout(), *words)


@pytest.mark.parametrize("words", [["--rounds=0"], ["--updates=-1"], ["--rounds=x"]])
def test_nothing_to_measure(words, checkout, refused, capsys):
    with pytest.raises(SystemExit) as end:
        refused(checkout(), *words)
    assert end.value.code == 2 and "invalid positive value" in capsys.readouterr().err
