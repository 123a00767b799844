"""One attempt at a run, with scripts in the place of the run."""

import _thread
import fcntl
import os
import signal
import subprocess
import sys
import threading
import time

import pytest
from other_processes import ends_within, is_running

from clion_tf.config import Config
from clion_tf.files import python_path
from clion_tf.logdir import run_folder
from clion_tf.sweep import job as module
from clion_tf.sweep.job import Job, Resources, attempt


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Function of a script: how the attempt ended."""
    monkeypatch.setattr(module, "POLL", 0.05)
    monkeypatch.setattr(module, "command", lambda words: [sys.executable, "-c", *words])
    root = tmp_path / "sweep"
    root.mkdir()

    def start(script, number=1, cpus=1.0, gpus=0.0):
        job = Job(root, "run", Config(), attempts=number)
        monkeypatch.setattr(Job, "words", [script])
        return attempt(job, Resources(cpus, gpus, "", python_path()), "host/1")

    return start


@pytest.fixture
def interrupted(run, tmp_path):
    """Function of a script that prints `ready`, and is interrupted then: its log."""

    def start(script):
        log = tmp_path / "sweep" / "logs" / "run.log"

        def interrupt():
            while not (log.exists() and "ready" in log.read_text()):
                time.sleep(0.05)
            _thread.interrupt_main()  # As Ray does.

        waiting = threading.Thread(target=interrupt)
        # Who is started in the background ignores interrupts.
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            waiting.start()
            with pytest.raises(KeyboardInterrupt):
                run(script)
        finally:
            signal.signal(signal.SIGINT, before)
        waiting.join()
        return log.read_text()

    return start


def test_done_refused_and_killed(run, tmp_path):
    ended = run("print('one'); print('all done'); print()")
    assert ended == (0, "all done")
    ended = run("import sys; sys.exit('clion_tf: error: no such task')", number=2)
    assert ended == (1, "clion_tf: error: no such task")
    ended = run("raise SystemExit(2)", number=3)
    assert ended == (2, "exit code 2")
    ended = run("import os, sys; print('x', flush=True); os.kill(os.getpid(), 9)", number=4)
    assert ended == (-9, "killed by SIGKILL after: x")
    log = (tmp_path / "sweep" / "logs" / "run.log").read_text()
    assert [line.split()[2] for line in log.splitlines() if "--- attempt" in line] == list("1234")
    assert "all done" in log and "no such task" in log


def test_a_folder_that_another_sweep_takes_first(run, tmp_path):
    """In the moment between the look and the run, which is made when the other has ended."""
    taken = f"clion_tf: error: {tmp_path}: {run_folder.BUSY}"
    script = (
        f"import os, sys; os.path.exists('x') or (open('x', 'w'), print({taken!r}), sys.exit(2))"
    )
    assert run(f"import os; os.chdir({str(tmp_path)!r}); {script}; print('done')") == (0, "done")
    log = (tmp_path / "sweep" / "logs" / "run.log").read_text()
    assert log.count("--- attempt") == 2


def test_its_machine_is_told_by_the_log(run, tmp_path):
    job = Job(tmp_path / "sweep", "run", Config())
    job.find_node()
    assert (job.node, job.state) == ("", "waiting")
    run("print('--- attempt 1 on elsewhere,')")
    later = Job(tmp_path / "sweep", "run", Config(), log_size=job.log.stat().st_size)
    later.find_node()
    job.find_node()
    assert (job.node, job.state, later.node) == ("host/1", "running", "")


def test_stopped_by_sigterm(interrupted):
    script = (
        "import signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: (print('saved'), sys.exit(143)))\n"
        "print('ready', flush=True)\ntime.sleep(60)"
    )
    began = time.monotonic()
    assert interrupted(script).endswith("saved\n")
    assert time.monotonic() - began < 30


def test_one_that_ignores_sigterm_is_killed(interrupted, monkeypatch):
    monkeypatch.setattr(module, "GRACE", 0.3)
    script = "import os, signal, time\nsignal.signal(15, signal.SIG_IGN)\n"
    script += "print(os.getpid(), 'ready', flush=True)\ntime.sleep(60)"
    pid = interrupted(script).splitlines()[-1].split()[0]
    assert not is_running(int(pid))


def test_environment(run, monkeypatch):
    monkeypatch.setenv("TF_NUM_INTEROP_THREADS", "7")
    monkeypatch.delenv("TF_NUM_INTRAOP_THREADS", raising=False)
    script = "import os; print(*(os.environ.get(n) for n in ('OMP_NUM_THREADS', "
    script += "'TF_NUM_INTRAOP_THREADS', 'TF_NUM_INTEROP_THREADS', 'CUDA_VISIBLE_DEVICES')))"
    assert run(script, cpus=3.0)[1] == "3 3 7 -1"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")  # As Ray says it.
    assert run(script, cpus=0.5, gpus=1.0)[1] == "1 1 7 1"


@pytest.mark.parametrize(
    "gpus, device, asked", [(1, "auto", True), (0, "auto", False), (1, "cpu", False)]
)
def test_a_run_with_a_gpu_of_its_own_does_not_train_on_the_cpu(
    tmp_path, monkeypatch, gpus, device, asked
):
    """A card that fails is a refusal, which is tried on another machine."""
    words = []
    monkeypatch.setattr(module, "_run", lambda given, *_: words.extend(given) or 0)
    job = Job(tmp_path, "run", Config(device=device))
    assert attempt(job, Resources(1.0, gpus, "", python_path()), "host/1")[0] == 0
    assert ("--device=gpu" in words) == asked


def test_a_logdir_in_use_is_waited_for(run, tmp_path, monkeypatch):
    folder = tmp_path / "sweep" / "run"
    folder.mkdir()
    monkeypatch.setattr(module, "FREE_WITHIN", 0.3)
    with open(folder / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        ended = run("print('never')")
        assert ended[0] == 1 and "another process is using it" in ended[1]
    # The lock of a process that is gone blocks nobody.
    assert run("print('free')")[1] == "free"


def test_a_machine_without_the_folder(run, tmp_path):
    (tmp_path / "sweep").rmdir()
    ended = run("print('never')")
    assert ended[0] == 1 and "machines must share it" in ended[1]
    assert not (tmp_path / "sweep").exists()


def test_a_run_dies_with_its_parent(tmp_path):
    """The parent is killed while its child, `clion_tf.run`, waits at a pipe for its options."""
    fifo = tmp_path / "flags"
    os.mkfifo(fifo)
    script = (
        "import subprocess, sys, time\nfrom clion_tf.sweep import job\n"
        "process = subprocess.Popen(job.command(sys.argv[1:]))\n"
        "print(process.pid, flush=True)\ntime.sleep(60)"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", script, f"--flagfile={fifo}"], stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": python_path()},
    )  # fmt: skip
    pid = int(parent.stdout.readline())
    with open(fifo, "w"):  # It has got as far as that.
        assert b"clion_tf.run" in open(f"/proc/{pid}/cmdline", "rb").read()
        parent.kill()
        parent.wait()
        assert ends_within(pid)
    # And one whose parent is gone already does not begin.
    assert module.main(["1" if os.getppid() != 1 else "2", "--help"]) is None
