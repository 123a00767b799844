"""tools/evaluate.py as a user meets it."""

import dataclasses
import json
import pathlib
import shutil
import subprocess
import sys

import pytest
from small_agents import tiny_config
from tool_modules import tool as module
from trained import save_run

import clion_tf
from clion_tf.agents.clion import Agent
from clion_tf.analysis.curves import noise_evaluations
from clion_tf.config import ConfigError, to_flagfile
from clion_tf.logdir.checkpoints import Checkpoints, Counters

SCRIPT = pathlib.Path(__file__).resolve().parents[2] / "tools" / "evaluate.py"
tool = module("evaluate")


@pytest.fixture(scope="module")
def logdir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("evaluate")
    save_run(
        folder / "run",
        (1000, 2000),
        task="acting:plain",
        test_rotation_degrees=3.0,
        test_blank_frames=0.25,
    )
    return folder / "run"


@pytest.fixture
def evaluate(logdir, capsys):
    """Function of options: (exit code, lines on stdout, text on stderr)."""

    def run(*words):
        code = tool.main([f"--logdir={logdir}", "--device=cpu", *words])
        out, err = capsys.readouterr()
        return code, out.splitlines(), err

    return run


def test_table_and_json(evaluate, logdir, tmp_path):
    """By two workers; test_evaluation.py has that it does not matter how many."""
    words = ["--episodes=2", "--rotations=0,5", "--action=sample", "--checkpoint=1000"]
    words += ["--memory_noise=0,0.5", "--blank=0,0.5", "--one_at_a_time"]
    file = tmp_path / "scores.json"
    code, lines, err = evaluate(*words, "--workers=2", f"--json={file}")
    assert (code, err) == (0, "")
    found = json.loads(file.read_text())
    path = logdir / "checkpoints" / "000001000.npz"
    assert lines[0] == f"acting:plain, checkpoint {path}, 1,000 environment steps"
    assert lines[1] == "policy sample, seed 0; noise on memory: relative"
    headings = ["rotation", "noise", "blank", "episodes", "mean", "std"]
    assert lines[2].split()[:6] == headings
    conditions = [line.split()[:4] for line in lines[3:7]]
    assert conditions == [
        list(one) for one in ("0002", ["0", "0", "0.5", "2"], ["0", "0.5", "0", "2"], "5002")
    ]
    assert lines[7:] == ["rendering by a pencil"]
    assert (found["task"], found["steps"], found["action"]) == ("acting:plain", 1000, "sample")
    assert (found["checkpoint"], found["seed"], found["evaluation_seed"]) == (path.name, 0, 0)
    first, *others = found["cells"]
    for line, row in zip(lines[3:7], found["cells"], strict=True):
        returns, summary = row["returns"], row["summary"]
        assert len(set(returns)) == 2 and row["lengths"] == [6, 6]
        assert summary["mean"] == pytest.approx(sum(returns) / 2, abs=1e-3)
        assert summary["low"] < summary["mean"] < summary["high"]
        assert line.split()[4] == f"{summary['mean']:.1f}"
        changes = [here - there for here, there in zip(returns, first["returns"], strict=True)]
        assert row["change"]["mean"] == pytest.approx(sum(changes) / 2, abs=1e-3)
    assert all(row["returns"] != first["returns"] for row in others)


def test_a_file_says_which_training_it_is_of(evaluate, tmp_path):
    file = tmp_path / "scores.json"
    words = ["--episodes=1", "--workers=1", "--seed=3", "--memory_noise_unit=absolute"]
    code, lines, _ = evaluate(*words, f"--json={file}")
    assert (code, lines[1]) == (0, "policy densest, seed 3; noise on memory: absolute")
    assert lines[3].split()[:4] == ["3", "0", "0.25", "1"]  # The run's own tests.
    assert lines[3].endswith("-  - (needs two episodes)")
    found = json.loads(file.read_text())
    method = "CLION (augmentations=3, overshoot=2)"
    assert (found["method"], found["seed"], found["evaluation_seed"]) == (method, 0, 3)
    # What differs from the defaults; where the run lies is nothing of it.
    assert found["options"]["test_rotation_degrees"] == 3.0 and "logdir" not in found["options"]
    assert "rotation" not in found["setup"] and "deter_size=6" in found["setup"]
    assert found["memory_noise_unit"] == "absolute"
    assert str(tmp_path.parent) not in file.read_text()
    assert noise_evaluations.load(file) == []  # Nothing is there at two amounts.


def test_an_agent_without_memory(logdir, tmp_path, capsys):
    run = shutil.copytree(logdir, tmp_path / "drq")
    flags = run / "run.flags"
    text = flags.read_text().replace("--agent=clion", "--agent=drq")
    flags.write_text(text.replace("--expl=auto", "--expl=additive_gaussian"))
    words = [f"--logdir={run}", "--memory_noise=0,0.1"]
    assert tool.main(words) == 2
    out, err = capsys.readouterr()
    assert (out, err) == ("", "evaluate: error: --memory_noise: --agent=drq has no memory h\n")
    trained = clion_tf.load(logdir, device="cpu")
    trained.config = dataclasses.replace(trained.config, agent="drq")
    with pytest.raises(ConfigError, match="--agent=drq has no memory"):
        trained.with_memory_noise(0.1)


def test_an_environment_that_fails_leaves_no_file(evaluate, logdir, tmp_path):
    flags = logdir / "run.flags"
    text = flags.read_text()
    flags.write_text(text.replace("acting:plain", "acting:nan"))
    file = tmp_path / "scores.json"
    code, _, err = evaluate("--episodes=1", f"--json={file}")
    flags.write_text(text)
    assert code == 1 and err.startswith(
        "evaluate: error: episode 0 failed 3 times: environment acting:nan: "
    )
    assert len(err.splitlines()) == 1 and not file.exists()


@pytest.mark.parametrize(
    "word, text",
    [
        ("--checkpoint=5", "no checkpoint at 5 steps (kept: 1000, 2000)"),
        ("--checkpoint=other.npz", "other.npz: no such checkpoint"),
        ("--logdir=no/such", "no/such: no run of clion_tf there"),
        ("--json=no/such/file.json", "no/such/file.json: no such folder"),
        ("--json=file.txt", "file.txt: must end in .json"),
    ],
)
def test_refused_before_anything_is_played(evaluate, word, text):
    code, lines, err = evaluate(word)
    assert (code, lines) == (2, [])
    assert err.startswith("evaluate: error: ") and text in err and len(err.splitlines()) == 1


@pytest.mark.parametrize(
    "word",
    [
        "--rotations=-1", "--rotations=181", "--rotations=nan", "--rotations=", "--rotations=a",
        "--memory_noise=-1", "--memory_noise=inf", "--memory_noise=", "--memory_noise=0,x",
        "--memory_noise_unit=percent", "--blank=1.1", "--blank=-0.1", "--blank=nan", "--blank=0,,1",
        "--episodes=0", "--workers=0", "--seed=-1", "--action=best", "--device=tpu",
    ],
)  # fmt: skip
def test_options_that_cannot_be(evaluate, word, capsys):
    with pytest.raises(SystemExit) as end:
        evaluate(word)
    assert end.value.code == 2
    assert word.split("=")[0] in capsys.readouterr().err.splitlines()[-1]


def test_frames_that_are_not_seen_cannot_be_rotated(tmp_path, capsys):
    config = tiny_config(logdir=str(tmp_path), precision="32", observe="vector")
    agent = Agent(config, 2, observed={"vector": (3,)})
    state = {name: variable.numpy() for name, variable in agent.named_state().items()}
    Checkpoints(tmp_path / "checkpoints").save(state, Counters(steps=1000))
    (tmp_path / "run.flags").write_text(to_flagfile(config))
    words = [f"--logdir={tmp_path}", "--device=cpu", "--rotations=5"]
    assert tool.main(words) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.endswith("its agent sees no images\n")


def test_script_refuses_without_loading_tensorflow(tmp_path):
    result = subprocess.run(
        [sys.executable, "-X", "importtime", str(SCRIPT), f"--logdir={tmp_path}"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={"PATH": "", "PYTHONPATH": str(SCRIPT.parents[1])},
        timeout=60,
    )
    lines = result.stderr.splitlines()
    assert (result.returncode, result.stdout) == (2, "")
    assert lines[-1] == f"evaluate: error: {tmp_path}: no run of clion_tf there"
    imported = {line.rpartition("|")[2].strip() for line in lines}
    assert "clion_tf.analysis.trained_agent" in imported and "tensorflow" not in imported
