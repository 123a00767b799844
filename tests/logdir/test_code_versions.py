"""What a run's folder says of the code that made it."""

import json
import pathlib
import subprocess

import numpy as np
import pytest

from clion_tf.logdir import code_versions


def lines(folder):
    return (folder / "versions.jsonl").read_text().splitlines()


def test_the_installed_packages_and_the_commit():
    found = code_versions.current()
    assert found["numpy"] == np.__version__ and found["python"].startswith("3.")
    git = ["git", "-C", str(pathlib.Path(__file__).parents[1]), "rev-parse", "HEAD"]
    if "commit" in found:  # Not where the sources came without git's folder, or git is missing.
        head = subprocess.run(git, capture_output=True, text=True, check=True).stdout
        assert head.startswith(found["commit"].removesuffix("-dirty"))


def test_a_line_when_they_change_and_none_when_they_do_not(tmp_path, monkeypatch):
    monkeypatch.setattr(code_versions, "current", lambda: {"clion_tf": "0.1.0", "numpy": "2.0"})
    code_versions.record(tmp_path, 0, "CPU")
    code_versions.record(tmp_path, 1000, "CPU")
    assert [json.loads(line)["step"] for line in lines(tmp_path)] == [0]
    newer = {"clion_tf": "0.1.0", "numpy": "2.0", "commit": "abc"}
    monkeypatch.setattr(code_versions, "current", lambda: newer)
    code_versions.record(tmp_path, 2000, "CPU")
    monkeypatch.setattr(code_versions, "current", lambda: {**newer, "numpy": "2.1"})
    code_versions.record(tmp_path, 3000, "CPU")
    code_versions.record(tmp_path, 4000, "1 GPU, precision bf16, XLA on")
    found = code_versions.read(tmp_path)
    assert [entry["step"] for entry in found] == [0, 2000, 3000, 4000]
    assert found[-1]["device"] == "1 GPU, precision bf16, XLA on"
    assert code_versions.of_run(tmp_path) == "0.1.0, 0.1.0 (abc)"


@pytest.mark.parametrize(
    ("found", "text"),
    [({}, None), ({"commit": "abc"}, "abc"), ({"clion_tf": "1", "commit": "abc"}, "1 (abc)")],
)
def test_what_is_known_is_told(found, text, tmp_path):
    (tmp_path / "versions.jsonl").write_text(json.dumps(found))
    assert code_versions.of_run(tmp_path) == text


def test_a_folder_without_or_with_a_damaged_line(tmp_path, caplog):
    assert code_versions.read(tmp_path) == [] and code_versions.of_run(tmp_path) is None
    (tmp_path / "versions.jsonl").write_text('{"step": 0, "clion_tf": "0.1.0"}\n{"step": 5, "cl')
    assert code_versions.of_run(tmp_path) == "0.1.0"
    assert "damaged" in caplog.text
    code_versions.record(tmp_path, 7, "CPU")
    assert [entry["step"] for entry in code_versions.read(tmp_path)] == [0, 7]


def test_no_git_is_no_error(tmp_path, monkeypatch):
    (tmp_path / ".git").mkdir()
    monkeypatch.setattr(code_versions, "ROOT", tmp_path)
    assert "commit" not in code_versions.current()  # No repository, whatever git says.
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "commit" not in code_versions.current()
