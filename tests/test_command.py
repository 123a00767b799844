"""Exit codes and errors of the tools' command lines."""

import ast
import gc
import importlib
import json
import os
import pathlib
import signal
import subprocess
import sys
import time
import types

import pytest
from places import ROOT
from tool_modules import tool as module

from clion_tf import command, console
from clion_tf.config import Config, ConfigError, to_flagfile
from clion_tf.distributed.replicated_agent import PeerLost
from clion_tf.envs import EnvError, UnknownTaskError, WorkerError
from clion_tf.files import PathError, user_path
from clion_tf.logdir.checkpoints import CheckpointError
from clion_tf.logdir.run_folder import LogdirError
from clion_tf.replay.replay_buffer import ReplayError

# A word of each tool that names a path.
TAKES_PATHS = {
    "show_run": ["--logdir=PATH"],
    "evaluate": ["--logdir=PATH"],
    "export_policy": ["--logdir=.", "--out=PATH"],
    "export_video": ["--logdir=PATH", "--out=a.mp4"],
    "reconstruct": ["--logdirs", "PATH", "--out=a.png"],
    "horizon": ["--logdir=PATH", "--out=a.png"],
    "judge": ["--logdirs", "PATH"],
    "offline": ["--logdir=PATH"],
    "plot": ["--logdirs", "PATH", "--save=a"],
    "table": ["--logdirs=.", "--out=PATH"],
    "report": ["--logdirs", "PATH", "--out=a.html"],
    "sweep": ["--logdir=PATH", "--tasks=walker_walk", "--methods=clion"],
    "benchmark": ["policy", "--json=PATH"],
    "compare_dreamer": ["checkpoint", "--pickle=PATH", "--logdir=a"],
}


def run(error):
    def main(arguments):
        assert arguments == ["--a"]
        raise error

    return command.run("tool", main, ["--a"])


@pytest.mark.parametrize(
    "kind, code",
    [
        (command.UsageError, 2), (ConfigError, 2), (LogdirError, 2), (CheckpointError, 2),
        (UnknownTaskError, 2), (EnvError, 1), (WorkerError, 1),
        (ReplayError, 1), (OSError, 1), (PathError, 2), (console.UserError, 1), (PeerLost, 1),
    ],
)  # fmt: skip
def test_errors_are_one_line_and_a_code(kind, code, capsys):
    assert run(kind("it is\nbroken")) == code
    out, err = capsys.readouterr()
    assert (out, err) == ("", "tool: error: it is broken\n")


def test_memory_and_interrupts(capsys):
    assert run(MemoryError("12 GB")) == 1
    assert capsys.readouterr().err == "tool: error: out of memory (12 GB)\n"
    assert run(KeyboardInterrupt()) == 130
    assert capsys.readouterr().err == ""


def test_a_defect_is_not_hidden():
    with pytest.raises(ZeroDivisionError):
        run(ZeroDivisionError())


def test_success_is_what_main_returns():
    assert command.run("tool", lambda arguments: 0 if arguments is None else 5) == 0
    assert command.run("tool", lambda arguments: len(arguments), ["--a"]) == 1


@pytest.mark.parametrize("path", sorted((ROOT / "tools").glob("[!_]*.py")), ids=lambda p: p.stem)
def test_each_tools_help_begins_by_example(path):
    doc = ast.get_docstring(ast.parse(path.read_text()))
    example = f"    clion-{path.stem.replace('_', '-')} "
    assert any(line.startswith(example) for line in doc.splitlines()[2:5])


def test_help_is_the_docstring_as_it_is(capsys):
    with pytest.raises(SystemExit) as end:
        command.parser("tool", "What it does:\n\n    a  95 % example\n").parse_args(["--help"])
    assert end.value.code == 0
    assert "What it does:\n\n    a  95 % example\n" in capsys.readouterr().out


@pytest.mark.parametrize("text", ["0", "-3", "1.5", "", "many"])
def test_what_counts_things_is_positive(text):
    assert command.positive("12") == 12
    with pytest.raises(ValueError):
        command.positive(text)


@pytest.mark.parametrize("terminal", [True, False])
def test_progress_is_for_terminals(terminal, capsys, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: terminal)
    command.progress("half")
    assert capsys.readouterr().err == ("half\n" if terminal else "")


def test_a_tool_takes_the_programs_words_and_refuses_in_one_line(capsys, monkeypatch):
    @command.tool("show_it")
    def main(arguments=None):
        parser = command.parser("show_it", "What it does.")
        parser.add_argument("--count", type=command.positive, required=True)
        return parser.parse_args(arguments).count

    monkeypatch.setattr("sys.argv", ["anything", "--count=3"])
    assert main() == 3 and main(["--count=4"]) == 4
    for words, text in (([], "required: --count"), (["--count=0"], "--count: invalid positive")):
        with pytest.raises(SystemExit) as end:
            main(words)
        out, err = capsys.readouterr()
        assert (end.value.code, out, err.count("\n")) == (2, "", 1)
        assert err.startswith("show_it: error: ") and text in err
    with pytest.raises(SystemExit):
        main(["--help"])
    assert capsys.readouterr().out.startswith("usage: clion-show-it ")


def test_a_terminated_tool_cleans_up(capfd):
    """As timeouts and job schedulers end programs."""
    left = ["half a file"]
    before = signal.getsignal(signal.SIGTERM)

    def main(arguments):
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(10)
        finally:
            left.clear()

    with pytest.raises(SystemExit) as end:
        command.run("tool", main)
    assert (end.value.code, left, capfd.readouterr()) == (143, [], ("", ""))
    assert signal.getsignal(signal.SIGTERM) is before


BUFFERED = {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": ""}  # As when nothing is set.


def tool(*words, **streams):
    """tools/show_run.py in a process of its own: (exit code, stdout, stderr)."""
    streams = {name: subprocess.PIPE for name in ("stdout", "stderr")} | streams
    done = subprocess.run(
        [sys.executable, ROOT / "tools" / "show_run.py", *words],
        text=True, timeout=60, env={**os.environ, **BUFFERED}, **streams,
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
def logdir(tmp_path):
    (tmp_path / "run.flags").write_text(to_flagfile(Config()))
    return tmp_path


def closing(number):
    return {"preexec_fn": lambda: os.close(number), ("stdin", "stdout", "stderr")[number]: None}


def test_closed_streams(logdir):
    words = (f"--logdir={logdir}",)
    says = "is closed; to see nothing, send it to /dev/null\n"
    assert tool(*words, **closing(1)) == (2, None, f"show_run: error: stdout {says}")
    assert tool(*words, **closing(2)) == (2, f"show_run: error: stderr {says}", None)
    code, out, err = tool(*words, **closing(0))  # Nothing is read from it.
    assert (code, err) == (0, "") and "checkpoints: none" in out


def test_stdout_that_takes_nothing(logdir):
    with open("/dev/full", "w") as full:
        for words in ([f"--logdir={logdir}"], ["--help"]):
            code, _, err = tool(*words, stdout=full)
            assert code == 1 and err == "show_run: error: stdout: No space left on device\n"
        # Then the error is said where it can be.
        code, out, _ = tool(f"--logdir={logdir}/no", stderr=full)
        assert code == 2 and out.startswith("show_run: error: ") and out.count("\n") == 1
    read, write = os.pipe()
    os.close(read)
    with open(write, "w") as pipe:
        code, _, err = tool(f"--logdir={logdir}", stdout=pipe)
    assert code == 1 and err == "show_run: error: stdout: Broken pipe\n"


def test_a_closed_descriptor_is_given_to_no_file(tmp_path):
    """Else what is printed would land in the first file that is opened."""
    code = (
        "import os; from clion_tf import console; print(console.open_descriptors());"
        f"file = open({str(tmp_path / 'precious')!r}, 'w'); os.write(2, b'noise'); file.close()"
    )
    words = [sys.executable, "-c", code]
    done = subprocess.run(
        words, env={**os.environ, **BUFFERED}, stdout=subprocess.PIPE, **closing(2)
    )
    assert done.stdout == b"[(2, 'stderr')]\n" and (tmp_path / "precious").read_text() == ""


def test_modules_that_are_hidden_are_missing_meanwhile(monkeypatch):
    monkeypatch.delitem(sys.modules, "colorsys", raising=False)
    with console.without_modules("colorsys", "json"):
        with pytest.raises(ImportError):
            importlib.import_module("colorsys")
        assert importlib.import_module("json") is json  # It was there before.
    assert importlib.import_module("colorsys").rgb_to_hsv(1, 0, 0) == (0, 1, 1)


@pytest.mark.parametrize("fails", [False, True])
def test_tensorflow_loads_quietly_and_with_nothing_besides(fails, monkeypatch, capfd):
    class Loads:
        """A part of TensorFlow Probability, loaded by being looked into."""

        def __dir__(self):
            os.write(2, b"banner")
            seen.append((gc.isenabled(), sys.modules["scipy"]))
            if fails:
                raise ImportError("no TensorFlow")
            return []

    seen, parts = [], {"distributions": Loads(), "bijectors": Loads()}
    fake = types.SimpleNamespace(**parts)
    monkeypatch.setitem(sys.modules, "tensorflow_probability", fake)
    monkeypatch.delitem(sys.modules, "scipy", raising=False)
    try:
        with console.quiet_import():
            assert "scipy" not in sys.modules  # What is ours may load it.
    except ImportError:
        assert fails
    assert seen == [(False, None)] * (1 if fails else 2)
    assert capfd.readouterr().err == ("banner" if fails else "")
    assert gc.isenabled() and gc.get_freeze_count() > 1000


@pytest.mark.parametrize(
    "name, wrong",
    [
        ("~nosuchuser/run", "no such home folder"),
        ("a\nb", r"'a\\nb': has a line break or"),
        ("a\u2028b", "has a line break or"),
        ("a\rb", "has a line break or"),
        ("a\0b", "or a NUL in it"),
        ("\udcff", r"'\\udcff': is not UTF-8"),
        ("a" * 300, "File name too long"),
    ],
)
def test_paths_that_cannot_be(name, wrong, capsys):
    with pytest.raises(PathError, match=wrong):
        user_path(name)
    for script, words in TAKES_PATHS.items():
        assert module(script).main([w.replace("PATH", name) for w in words]) == 2
        err = capsys.readouterr().err
        assert err.count("\n") == 1 and err.startswith(f"{script}: error: ")


def test_home_folder(monkeypatch):
    monkeypatch.setenv("HOME", "/somewhere")
    assert user_path("~/run") == pathlib.Path("/somewhere/run")
    monkeypatch.delenv("HOME")
    monkeypatch.setattr("os.getuid", lambda: 2**31 - 5)  # In no list of users.
    with pytest.raises(PathError, match="~/run: no such home folder; for ~ set HOME"):
        user_path("~/run")
