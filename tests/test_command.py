"""Exit codes and errors of the tools' command lines."""

import os
import signal
import time

import pytest

from clion_tf import command
from clion_tf.checkpoint import CheckpointError
from clion_tf.config import ConfigError
from clion_tf.envs import EnvError, RenderingError, UnknownTaskError, WorkerError
from clion_tf.logdir import LogdirError
from clion_tf.replay import ReplayError


def run(error):
    def main(arguments):
        assert arguments == ["--a"]
        raise error

    return command.run("tool", main, ["--a"])


@pytest.mark.parametrize(
    "kind, code",
    [
        (command.UsageError, 2), (ConfigError, 2), (LogdirError, 2), (CheckpointError, 2),
        (UnknownTaskError, 2), (EnvError, 1), (RenderingError, 1), (WorkerError, 1),
        (ReplayError, 1), (OSError, 1),
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


def test_lists_of_numbers():
    assert command.numbers("0, 5,2.5") == [0.0, 5.0, 2.5]
    for text in ("", "1,", "1;2"):
        with pytest.raises(ValueError):
            command.numbers(text)


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
