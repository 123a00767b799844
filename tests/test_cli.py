"""The command line as a user meets it: what cannot run is refused in one line, and nothing is lost.

In this process where no environment is rendered in it: `main` starts workers for that.
"""

import dataclasses
import errno
import fcntl
import os
import pathlib
import re
import signal
import subprocess
import sys

import numpy as np
import pytest
from places import ROOT
from small_agents import tiny_config

from clion_tf import run
from clion_tf.config import Config, parse, to_flagfile
from clion_tf.console import FAILED, REFUSED
from clion_tf.logdir.run_folder import RunFolder


@pytest.fixture(autouse=True, scope="module")
def _devices():
    """TensorFlow remarks once in a process that there is no GPU: not where a test reads stderr."""
    import tensorflow as tf

    tf.config.list_physical_devices()


@pytest.fixture
def refuse(capfd):
    """Function of command-line words; asserts that they are refused, returns the line."""

    def main(*words, code=REFUSED):
        handlers = {s: signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)}
        assert run.main(words) == code
        out, err = capfd.readouterr()
        assert out == ""
        lines = err.splitlines()
        assert len(lines) == 1 and lines[0].startswith("clion_tf: error: "), err
        assert {s: signal.getsignal(s) for s in handlers} == handlers
        return lines[0]

    return main


def files(folder):
    """{name: bytes} of all files under a folder, but for the lock."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in pathlib.Path(folder).rglob("*")
        if path.is_file() and path.name != ".lock"
    }


@pytest.fixture
def finished(tmp_path):
    """A logdir with a run of the default options in it, as far as the command line looks."""
    folder = tmp_path / "finished"
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "checkpoints" / "000001000.npz").write_bytes(b"a checkpoint")
    (folder / "metrics.jsonl").write_text('{"step": 1000}\n')
    (folder / "run.flags").write_text(to_flagfile(Config(logdir=str(folder))))
    return folder


def help_(capsys, word):
    assert run.main(["--task=nonsense", word]) == 0
    out, err = capsys.readouterr()
    assert err == "" and max(map(len, out.splitlines())) <= 100
    return out


@pytest.mark.parametrize("word", ["--help", "-h"])
def test_help_is_three_commands_and_a_dozen_options(word, capsys):
    examples, options = help_(capsys, word).split("Options that matter most")
    commands = [line for line in examples.splitlines() if line.startswith("    clion-train ")]
    assert len(commands) == 3 and examples.splitlines()[2] == commands[0]
    told = re.findall(r"^  --(?:\[no\])?(\w+)", options, re.M)
    assert len(told) == 12 and {"task", "logdir", "flagfile", "steps", "seed"} <= set(told)
    assert "--helpfull" in options and "table1_rotation" in options


def test_the_commands_of_the_help_have_options_that_there_are():
    lines = [line.split() for line in run.__doc__.splitlines() if line.startswith("    clion-")]
    assert all(parse(words).logdir for _, *words in lines)


def test_all_options_are_told_by_group(capsys):
    out = help_(capsys, "--helpfull")
    told = re.findall(r"^  --(?:\[no\])?(\w+)", out, re.M)
    assert sorted(told) == sorted(["flagfile", *(f.name for f in dataclasses.fields(Config))])
    assert "Table 3 prints 15" in out
    groups = re.findall(r"^(\w.*):\n  --(?:\[no\])?(\w+)", out, re.M)
    assert ("Environment", "action_repeat") in groups and ("DrQ", "drq_actor_every") in groups
    assert len(groups) == 10


@pytest.mark.parametrize(
    "words, parts",
    [
        (["--bacth_size=3"], ["bacth_size", "batch_size"]),
        (["--batch_length=600"], ["--batch_length=600", "501 frames"]),
        (["--batch_size=-1"], ["--batch_size=-1"]),
        (["--horizon=0"], ["--horizon=0"]),
        (["--batch_size=few"], ["batch_size", "few"]),
        (["--precision=64"], ["--precision=64", "bf16"]),
        (["--prefill=10"], ["--prefill=10", "1000"]),
        (["walker_walk"], ["walker_walk", "--name=value"]),
        (["--flagfile=no/such.flags"], ["no/such.flags"]),
        (["--rotation_degrees=200"], ["rotation_degrees", "180"]),
        (["--rotation_degrees=-5"], ["--rotation_degrees=-5"]),
    ],
)
def test_bad_options(words, parts, tmp_path, refuse):
    logdir = tmp_path / "new"
    line = refuse(f"--logdir={logdir}", *words)
    assert all(part in line for part in parts), line
    assert "ERROR" not in line and "Traceback" not in line


def test_options_are_refused_before_a_folder_is_made(tmp_path, refuse):
    refuse(f"--logdir={tmp_path}/new", "--batch_size=0")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("words", [[], ["--logdir="], ["--task=walker_walk"]])
def test_logdir_must_be_given(words, refuse):
    assert "--logdir=FOLDER" in refuse(*words)


def test_logdir_is_a_file(tmp_path, refuse):
    path = tmp_path / "thesis.tex"
    path.write_text("precious")
    assert str(path) in refuse(f"--logdir={path}")
    assert "cannot write" in refuse(f"--logdir={path}/run")
    assert path.read_text() == "precious"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc")
def test_logdir_cannot_be_made(refuse):
    assert "/proc/clion: cannot write" in refuse("--logdir=/proc/clion")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_logdir_is_read_only(tmp_path, refuse):
    tmp_path.chmod(0o500)
    try:
        assert "cannot write" in refuse(f"--logdir={tmp_path}")
    finally:
        tmp_path.chmod(0o700)


def test_logdir_of_something_else(tmp_path, refuse):
    (tmp_path / "thesis.tex").write_text("precious")
    assert "thesis.tex" in refuse(f"--logdir={tmp_path}")
    assert files(tmp_path) == {"thesis.tex": b"precious"}


def test_logdir_of_other_options(finished, refuse):
    before = files(finished)
    line = refuse(f"--logdir={finished}", "--horizon=9", "--task=cup_catch", "--steps=7")
    assert "--horizon=9 (was 15)" in line and "--task=cup_catch (was walker_walk)" in line
    assert "steps" not in line  # It may change.
    assert files(finished) == before


def test_logdir_with_unreadable_options(finished, refuse):
    for text in ("--batch_size=many\n", "--an_option_of_tomorrow=1\n"):
        (finished / "run.flags").write_text(text)
        assert str(finished / "run.flags") in refuse(f"--logdir={finished}")
    (finished / "run.flags").write_bytes(b"\xff\xfe")
    assert str(finished / "run.flags") in refuse(f"--logdir={finished}")
    assert (finished / "run.flags").read_bytes() == b"\xff\xfe"


def test_logdir_in_use(finished, refuse):
    with open(finished / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert "another run is using it" in refuse(f"--logdir={finished}")
    # Free again: it gets as far as the next mistake.
    assert "--horizon=9" in refuse(f"--logdir={finished}", "--horizon=9")


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EIO])
def test_a_file_system_without_locks(finished, refuse, monkeypatch, number):
    def fail(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", fail)
    before = files(finished)
    line = refuse(f"--logdir={finished}", "--horizon=9")
    assert f"{finished}: its file system gives no lock ({os.strerror(number)})" in line
    assert "--nolock" in line and "another run" in line and files(finished) == before
    # Then it gets as far as the next mistake.
    assert "--horizon=9 (was 15)" in refuse(f"--logdir={finished}", "--horizon=9", "--nolock")
    if number != errno.EIO:
        assert not RunFolder(finished).in_use()  # Nothing tells, so a sweep tries.


def test_logdir_is_a_link_to_nothing(tmp_path, refuse):
    (tmp_path / "link").symlink_to(tmp_path / "gone")
    line = refuse(f"--logdir={tmp_path}/link")
    assert line.endswith("/link: is a link to nothing")


@pytest.mark.parametrize("text", [b"\xff\xfe-\0-\0", b"--task=a\0b\n", b"--flagfile=a\0b\n"])
def test_flagfiles_that_are_no_text(tmp_path, refuse, text):
    (tmp_path / "good.flags").write_text("--steps=3000\n")
    (tmp_path / "bad.flags").write_bytes(text)
    files = [f"--flagfile={tmp_path}/{name}.flags" for name in ("good", "bad")]
    line = refuse(f"--logdir={tmp_path}/run", *files)
    if text.startswith(b"\xff"):
        assert f"{tmp_path}/bad.flags: 'utf-8' codec" in line and "good.flags" not in line
    else:
        assert "a NUL in it" in line or "null byte" in line
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("word", ["--task=a\nb", "--task=\udcff:x", "--logdir=~nosuchuser/x"])
def test_words_that_cannot_be_saved(tmp_path, refuse, word):
    refuse(f"--logdir={tmp_path}/run", word)
    assert list(tmp_path.iterdir()) == []


def test_unknown_task_names_the_nearest_and_may_be_corrected(tmp_path, refuse):
    line = refuse(f"--logdir={tmp_path}/run", "--task=walker_wlak")
    assert "'walker_wlak'" in line and "walker_walk" in line
    # The folder is not taken by the misspelt task: another mistake is what is refused now.
    line = refuse(f"--logdir={tmp_path}/run", "--task=cartpole_swigup")
    assert "cartpole_swingup" in line and "walker" not in line


def test_no_gpu(tmp_path, monkeypatch, refuse):
    import tensorflow as tf

    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind=None: [])
    line = refuse(f"--logdir={tmp_path}/run", "--device=gpu", "--task=env_fakes:counting")
    assert "--device=gpu" in line and "pip install '.[gpu]'" in line


@pytest.fixture
def again(finished):
    """Words that go on with `finished`, whose environment and networks are made in a moment."""
    config = tiny_config(logdir=str(finished), task="env_fakes:counting")
    (finished / "run.flags").write_text(to_flagfile(config))
    return f"--logdir={finished}", f"--flagfile={finished}/run.flags"


def test_all_checkpoints_damaged(finished, again, refuse, caplog):
    """The episodes are not overwritten by a run that begins anew."""
    (finished / "episodes").mkdir()
    (finished / "episodes" / "000000-501.npz").write_bytes(b"frames")
    assert "no checkpoint can be read" in refuse(*again)
    assert "no checkpoint can be read" in refuse(*again)  # Nor by a second try.
    assert files(finished)["episodes/000000-501.npz"] == b"frames"
    assert files(finished)["metrics.jsonl"] == b'{"step": 1000}\n'
    assert "damaged checkpoint" in caplog.text


def test_checkpoint_of_another_agent(finished, again, refuse):
    path = finished / "checkpoints" / "000001000.npz"
    np.savez(path, meta=np.array("{}"), **{"weights/odd": np.zeros(3)})
    assert "checkpoint does not fit" in refuse(*again)
    assert path.exists()


def command(*words, closed=()):
    """The command in a process of its own, some of its streams closed: (exit code, all it says)."""
    streams = {number: subprocess.PIPE for number in (1, 2) if number not in closed}
    result = subprocess.run(
        [sys.executable, "-m", "clion_tf.run", *words],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=streams.get(1),
        stderr=streams.get(2),
        text=True,
        timeout=120,
        preexec_fn=lambda: [os.close(number) for number in closed],
    )
    return result.returncode, (result.stdout or "") + (result.stderr or "")


def test_the_command_in_a_process_of_its_own(tmp_path):
    """Without stderr nothing would ever be told; the other streams are not needed."""
    words = (f"--logdir={tmp_path}/ä b", "--steps=many")
    code, said = command(*words, closed=(0, 1))
    assert code == REFUSED and len(said.splitlines()) == 1 and "many" in said, said
    code, said = command(*words, closed=(2,))
    assert code == REFUSED and len(said.splitlines()) == 1 and "stderr is closed" in said, said


@pytest.mark.parametrize(
    "task, code, says",
    [
        ("env_fakes:dying", FAILED, "died with exit code 3"),  # It may live the next time.
        ("env_fakes:broken", REFUSED, "failed in construction: ValueError"),
    ],
)
def test_a_worker_that_cannot_begin(tmp_path, refuse, task, code, says):
    assert says in refuse(f"--logdir={tmp_path}/run", f"--task={task}", code=code)


@pytest.mark.parametrize(
    "variables, says",
    [
        (
            {"MUJOCO_GL": "glfw", "DISPLAY": "", "WAYLAND_DISPLAY": ""},
            ["MUJOCO_GL=glfw", "MUJOCO_GL=egl"],
        ),
        (
            {"MUJOCO_GL": "osmesa", "PYOPENGL_PLATFORM": "egl"},
            ["unset PYOPENGL_PLATFORM, which is egl, or set it to osmesa"],
        ),
    ],
    ids=["no display", "OpenGL that cannot be"],
)
def test_where_nothing_can_be_rendered_it_says_what_to_do(
    tmp_path, refuse, monkeypatch, variables, says
):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    line = refuse(f"--logdir={tmp_path}/run")
    assert all(part in line for part in says), line
