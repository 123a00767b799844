"""tools/benchmark.py: the form of what it prints, not the times."""

import contextlib
import io
import json
import math
import subprocess
import sys
import time
import types

import forked
import pytest
from forked import Process
from places import ROOT
from small_agents import without_graphs
from tool_modules import tool as module

from clion_tf import run as training
from clion_tf.benchmark import agent_speed, loop_speed, measuring
from clion_tf.replay.stopwatch import PARTS, Stopwatch

TINY = [
    "--batch_size=2", "--batch_length=3", "--horizon=2", "--deter_size=6", "--stoch_size=3",
    "--hidden_size=5", "--num_units=7", "--cnn_depth=2", "--evaluator_units=8",
]  # fmt: skip
# With the parts of CLION off an update's graph is built in half the time.
PLAIN = ["--beta1=0", "--beta2=0", "--noevaluator", "--augmentations=0"]


def alone(words):
    """The tool in a process of its own: what renders must share none with TensorFlow."""
    command = [sys.executable, ROOT / "tools" / "benchmark.py", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)


def in_this_process(command, **_):
    """Of the training command, what `subprocess.run` gives of it; without a graph."""
    assert command[1:3] == ["-m", "clion_tf.run"]
    with without_graphs(), contextlib.redirect_stderr(io.StringIO()) as errors:
        code = training.main(command[3:])
    return types.SimpleNamespace(returncode=code, stderr=errors.getvalue())


@pytest.fixture(scope="module")
def tool():
    return module("benchmark").main


def run(tool, tmp_path, *words):
    path = tmp_path / "figures.json"
    assert tool([*words, f"--json={path}"]) == 0
    return json.loads(path.read_text())


def test_table():
    figures = {
        "one_update": {"median": 1.23456, "max": 2e12}, "batch": [50, 50],
        "largest": [("a:b", 0.5)],
        "kinds": {"convolutions": {"rate": 3e9}},
        "memory": 3 * 2**29,
        "xla_memory": {"32": {"arguments": 2**29, "all": 7 * 2**29}, "bf16": {}},
    }  # fmt: skip
    assert measuring.table(figures) == [
        "one update           median 1.235, max 2 T",
        "batch                50, 50",
        "largest",
        "  1                  a:b, 0.5",
        "kinds",
        "  convolutions       rate 3 G",
        "memory               1.5 GiB",
        "xla memory",
        "  32                 arguments 0.5 GiB, all 3.5 GiB",
        "  bf16               not known",
    ]


def test_train_step(tool, tmp_path, capsys):
    found = run(tool, tmp_path, "train_step", "--count=2", *TINY, *PLAIN)
    assert found["command"] == "train_step" and found["flags"] == [*TINY, *PLAIN]
    assert found["machine"] and found["device"].startswith("CPU")
    update = found["update"]
    assert 0 < update["min"] <= update["median"] <= update["max"]
    assert found["flops"]["all"] == pytest.approx(
        sum(value for name, value in found["flops"].items() if name != "all")
    )
    assert found["rate"] == pytest.approx(found["flops"]["all"] / update["median"])
    assert 0 < found["share"] < 1
    assert 1e8 < found["memory"] < 1e11
    assert found["first_update"] > 0.1
    printed = capsys.readouterr().out
    assert f"{'share':20} {found['share']:.4g}\n" in printed and "matrix rate" in printed


def test_profile(tmp_path):
    path = tmp_path / "figures.json"
    # TensorFlow's threads are set before it begins.
    process = Process("tools.benchmark", ["profile", "--count=1", *TINY, *PLAIN, f"--json={path}"])
    out, errors = process.communicate()
    assert process.returncode == 0, errors
    found = json.loads(path.read_text())
    kinds = found["kinds"]
    assert set(kinds) == {*agent_speed.KINDS.values(), "everything else"}
    for name, kind in kinds.items():
        assert kind["seconds"] > 0 and (kind["flops"] > 0) == (name != "everything else")
        assert kind["rate"] == pytest.approx(kind["flops"] / kind["seconds"])
    assert sum(kind["share"] for kind in kinds.values()) == pytest.approx(1)
    seconds = [s for _, s in found["largest"]]
    assert seconds == sorted(seconds, reverse=True)
    assert "largest\n  1 " in out


def test_env(tmp_path):
    """Over the ends of episodes."""
    path = tmp_path / "figures.json"
    words = ["env", "--count=6", "--workers=2", "--task=cartpole_balance", f"--json={path}"]
    done = alone([*words, "--time_limit=8", "--batch_length=4", "--prefill=8"])
    assert done.returncode == 0, done.stderr
    found = json.loads(path.read_text())
    assert set(found["workers"]) == {"1", "2"}
    assert all(rate > 0 for rate in found["workers"].values())
    assert found["agent_step"]["rendering"] > found["agent_step"]["physics"] > 0
    assert set(found["agent_step"]) == {"physics", "rendering", "transfer"}
    assert found["renderer"]


def test_env_that_draws_nothing(tmp_path):
    """It shows numbers, and has no `render` of its own."""
    path = tmp_path / "figures.json"
    words = ["env", "--count=3", "--workers=1", "--task=env_fakes:boxed", f"--json={path}"]
    sizes = ["--time_limit=8", "--batch_length=4", "--prefill=8", "--flagfile=drq"]
    done = alone([*words, "--observe=vector", *sizes[:3]])
    assert done.returncode == 0, done.stderr
    assert json.loads(path.read_text())["agent_step"]["rendering"] == 0
    said = alone(["train_step", *sizes]).stderr
    assert said.endswith("a run of these options: its agent, drq, has no world model\n")


def test_replay(tool, tmp_path):
    found = run(tool, tmp_path, "replay", "--episodes=2", "--count=3", *TINY)
    assert found["batch"] == [2, 3]
    assert found["batch_bytes"] == 2 * 3 * (64 * 64 * 3 + 4 * (6 + 1 + 1))
    assert found["batches_per_second"]["median"] > 0
    assert abs(found["memory_growth"]) < 50e6


def test_policy(tool, tmp_path):
    found = run(tool, tmp_path, "policy", "--count=5", *TINY)
    for mode in ("training", "evaluation"):
        assert 0 < found[mode]["median"] <= found[mode]["p95"] <= found[mode]["p99"]


def test_growth(tool, tmp_path, capsys, monkeypatch):
    measured = agent_speed._alone

    def alone(config, count):
        """Only the first point, which has no copies, is measured: each takes a process."""
        if config.augmentations:
            return {"update": {"median": 0.5}, "memory": 2e9}
        return measured(config, count)

    monkeypatch.setattr(agent_speed, "_alone", alone)
    monkeypatch.setattr(agent_speed, "AXES", {"augmentations": (0.5, 1)})
    monkeypatch.setattr(agent_speed.multiprocessing, "get_context", lambda _: forked.server())
    found = run(tool, tmp_path, "growth", "--count=1", *TINY, *PLAIN[:-1])  # One copy.
    points = found["axes"]["augmentations"]["points"]
    assert [(p["value"], p["size"]) for p in points] == [(0, 1), (1, 2)]
    assert all(p["seconds"] > 0 and p["memory"] > 1e8 for p in points)
    slope = math.log(points[1]["seconds"] / points[0]["seconds"]) / math.log(2)
    assert found["axes"]["augmentations"]["exponents"]["seconds"] == pytest.approx(slope)
    assert "exponents" in capsys.readouterr().out


def test_run(tool, tmp_path, monkeypatch):
    monkeypatch.setattr(loop_speed, "subprocess", types.SimpleNamespace(run=in_this_process))
    words = [f"--flagfile={ROOT}/flags/debug.flags", "--task=env_fakes:counting", "--nolog_images"]
    words += ["--prefill=200", "--time_limit=100", "--train_every=100", "--train_steps=1", *TINY]
    words += ["--action_repeat=20"]  # The policy has no graph either, and takes long.
    found = run(tool, tmp_path, "run", "--count=200", *words, *PLAIN)
    assert found["env_steps"] == 200
    assert found["fps"] == pytest.approx(200 / found["seconds"])
    assert set(found["parts"]) == {*PARTS, "other"}
    assert sum(found["parts"].values()) == pytest.approx(found["seconds"])
    assert found["parts"]["environment"] > 0 and found["parts"]["update"] > 0


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (["train_step", "--batch_size=0"], 2, "--batch_size=0"),
        (["run", "--task=no_module:make"], 1, "no_module"),  # By the process that it starts.
        (["replay", "--json=/no/such/folder/x.json"], 2, "no such folder"),
    ],
)
def test_refusals_are_one_line(tool, capsys, monkeypatch, words, code, text):
    monkeypatch.setattr(loop_speed, "subprocess", types.SimpleNamespace(run=in_this_process))
    assert tool(words) == code
    error = capsys.readouterr().err
    assert text in error and len(error.splitlines()) == 1


@pytest.mark.parametrize(("code", "text"), [(-9, "killed by SIGKILL"), (3, "exit code 3")])
def test_a_run_that_says_nothing_at_its_end(tool, capsys, monkeypatch, code, text):
    ended = types.SimpleNamespace(returncode=code, stderr="[30] train return 0.0" * (code < 0))
    fake = types.SimpleNamespace(run=lambda *_, **__: ended)
    monkeypatch.setattr(loop_speed, "subprocess", fake)
    assert tool(["run"]) == 1 and text in capsys.readouterr().err


def test_an_unknown_task_is_one_line():
    done = alone(["env", "--task=walker_wak"])
    assert done.returncode == 2 and "did you mean" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_stopwatch_takes_inner_parts_out_of_outer_ones():
    watch = Stopwatch()
    with watch("outer"):
        time.sleep(0.02)
        with watch("inner"):
            time.sleep(0.05)
    time.sleep(0.01)
    seconds, parts = watch.take()
    assert parts["inner"] >= 0.05 and 0.02 <= parts["outer"] < 0.05
    assert seconds >= 0.08 and seconds >= sum(parts.values()) + 0.01
    assert watch.take()[1] == {}
