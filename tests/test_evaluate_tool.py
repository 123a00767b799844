"""tools/evaluate.py as a user meets it."""

import importlib.util
import json
import pathlib
import subprocess
import sys

import pytest
from test_evaluation import ACTING
from test_loading import save_run

from clion_tf import command

SCRIPT = pathlib.Path(__file__).resolve().parents[1] / "tools" / "evaluate.py"


def load_tool():
    spec = importlib.util.spec_from_file_location("evaluate_tool", SCRIPT)
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    return tool


tool = load_tool()


@pytest.fixture(scope="module")
def logdir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("evaluate")
    (folder / "acting.py").write_text(ACTING)
    save_run(folder / "run", (1000, 2000), task="acting:plain", test_rotation_degrees=3.0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(folder))
        yield folder / "run"


@pytest.fixture
def evaluate(logdir, capsys):
    """Function of options: (exit code, lines on stdout, text on stderr)."""

    def run(*words):
        code = command.run("evaluate", tool.main, [f"--logdir={logdir}", "--device=cpu", *words])
        out, err = capsys.readouterr()
        return code, out.splitlines(), err

    return run


def test_table_and_json_do_not_depend_on_the_workers(evaluate, logdir, tmp_path):
    words = ["--episodes=2", "--rotations=0,5", "--action=sample", "--checkpoint=1000"]
    results = []
    for workers in (1, 2):
        file = tmp_path / f"{workers}.json"
        code, lines, err = evaluate(*words, f"--workers={workers}", f"--json={file}")
        assert (code, err) == (0, "")
        results.append((lines, file.read_text()))
    assert results[0] == results[1]
    lines, found = results[0][0], json.loads(results[0][1])
    path = logdir / "checkpoints" / "000001000.npz"
    assert lines[0] == f"acting:plain, checkpoint {path}, 1,000 environment steps"
    assert lines[1] == "policy sample, seed 0"
    assert lines[2].split()[:4] == ["degrees", "episodes", "mean", "std"]
    assert [line.split()[:2] for line in lines[3:5]] == [["0", "2"], ["5", "2"]]
    assert lines[5:] == ["rendering by a pencil"]
    assert (found["task"], found["steps"], found["action"]) == ("acting:plain", 1000, "sample")
    assert (found["checkpoint"], found["seed"]) == (str(path), 0)
    for line, row in zip(lines[3:5], found["rotations"], strict=True):
        returns, summary = row["returns"], row["summary"]
        assert len(set(returns)) == 2 and row["lengths"] == [6, 6]
        assert summary["mean"] == pytest.approx(sum(returns) / 2)
        assert summary["low"] < summary["mean"] < summary["high"]
        assert line.split()[2] == f"{summary['mean']:.1f}"
    assert found["rotations"][0]["returns"] != found["rotations"][1]["returns"]


def test_the_runs_own_rotation_and_one_episode(evaluate):
    code, lines, _ = evaluate("--episodes=1", "--workers=1", "--seed=3")
    assert code == 0
    assert lines[1] == "policy densest, seed 3"
    assert lines[3].split()[:2] == ["3", "1"] and lines[3].endswith("-  - (needs two episodes)")


def test_an_environment_that_fails_leaves_no_file(evaluate, logdir, tmp_path):
    flags = logdir / "run.flags"
    text = flags.read_text()
    flags.write_text(text.replace("acting:plain", "acting:nan"))
    file = tmp_path / "scores.json"
    code, _, err = evaluate("--episodes=1", f"--json={file}")
    flags.write_text(text)
    assert code == 1 and err.startswith("evaluate: error: environment acting:nan, episode 0: ")
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
        "--episodes=0", "--workers=0", "--seed=-1", "--action=best", "--device=tpu",
    ],
)  # fmt: skip
def test_options_that_cannot_be(evaluate, word, capsys):
    with pytest.raises(SystemExit) as end:
        evaluate(word)
    assert end.value.code == 2
    assert word.split("=")[0] in capsys.readouterr().err.splitlines()[-1]


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
    assert "clion_tf.loading" in imported and "tensorflow" not in imported
