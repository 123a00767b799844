"""What the tool does without Ray: refusals, what is left to do, gathering."""

import json
import sys

import numpy as np
import pytest
from runs import make_run, options
from tool_modules import tool as module

from clion_tf.logdir.checkpoints import Checkpoints, Counters
from clion_tf.logdir.run_folder import LogdirError
from clion_tf.sweep.job import Job

sweep = module("sweep")


@pytest.fixture
def tool(capfd, monkeypatch):
    """Function of words: (exit code, stdout, stderr). Tasks are not asked, which takes seconds."""

    def run(*words, tasks=lambda tasks: None):
        monkeypatch.setattr(sweep, "check_tasks", tasks)
        code = sweep.main(words)
        return code, *capfd.readouterr()

    return run


def counters(folder, **given):
    Checkpoints(folder / "checkpoints").save({"w": np.zeros(3)}, Counters(**given))


def test_where_a_run_stands(tmp_path):
    def read(**given):
        job = Job(tmp_path, "run", options("cpu", logdir=tmp_path / "run", **given))
        job.read_at_start()
        return job

    job = read(steps=2000)
    assert (job.state, job.steps, job.best, job.metrics.last("fps")) == ("waiting", 0, 0, None)
    folder = make_run(tmp_path / "run", {1000: 5.0}, {1000: 3.0, 2000: 4.0}, job.config)
    job = read(steps=2000)
    assert (job.state, job.steps, job.best) == ("waiting", 2000, 2000)
    assert [job.metrics.last(f"{kind}/return") for kind in ("train", "test")] == [4.0, 5.0]
    counters(folder, steps=2000, updates=7, evaluated_at=1000)
    assert read(steps=2000).state == "waiting"  # The evaluation at the end is missing.
    counters(folder, steps=2000, updates=7, evaluated_at=2000)
    assert read(steps=2000).state == "done"
    assert read(steps=3000).state == "waiting"
    (folder / "checkpoints" / "000003000.npz").write_bytes(b"damaged")
    assert read(steps=2000).state == "done"


def test_dry_run_tells_what_is_left_and_changes_nothing(tmp_path, tool, monkeypatch):
    root = tmp_path / "sweep"
    words = [f"--logdir={root}", "--tasks=walker_walk", "--methods=dreamer", "--seeds=2",
             "--flagfile=cpu", "--set=--steps=2000", "--dry_run"]  # fmt: skip
    code, out, err = tool(*words)
    assert (code, err) == (0, "") and not root.exists()
    assert "2 runs, 0 done; 4,000 environment steps" in out
    folder = root / "walker_walk" / "dreamer" / "seed1"
    config = options("cpu", "dreamer", steps=2000, seed=1, logdir=folder)
    make_run(folder, {2000: 1.0}, {2000: 1.0}, config)
    counters(folder, steps=2000, updates=1, evaluated_at=2000)
    code, out, err = tool(*words)
    assert "# walker_walk/dreamer/seed1: done, 2,000 environment steps" in out
    assert "2 runs, 1 done; 2,000 environment steps" in out
    # What a finished run has beyond them takes nothing from the others.
    counters(folder, steps=9000, updates=1, evaluated_at=9000)
    assert "2 runs, 1 done; 2,000 environment steps" in tool(*words)[1]
    # With nothing left nothing is started, but results are gathered.
    gathered = []
    monkeypatch.setattr(sweep, "make_runs", lambda *_: pytest.fail("started"))
    monkeypatch.setattr(
        sweep, "write_results", lambda root, progress: gathered.append(root) or ["note"]
    )
    one = [word for word in words if word not in ("--dry_run", "--seeds=2")]
    code, out, err = tool(*one, "--seeds=1,")
    assert (code, err, gathered) == (0, "sweep: warning: note\n", [root])
    # A run of other options is found before anything starts.
    code, out, err = tool(*words, "--", "--horizon=9")
    assert code == 2 and "--horizon=9 (was 15)" in err and len(err.splitlines()) == 1


@pytest.mark.parametrize("words, text", [
    ([], "say which --tasks"),
    (["--tasks=walker_walk"], "say which --methods"),
    (["--tasks=,", "--methods=clion"], "--tasks: names none"),
    (["--tasks=a_b", "--methods=clion", "--seeds=x"], "--seeds=x"),
    (["--tasks=a_b", "--methods=clion", "--seeds=0"], "--seeds=0"),
    (["--tasks=a_b", "--methods=clion", "--seeds=-1,2"], "--seeds=-1,2"),
    (["--tasks=a_b", "--methods=clion", "--gpus=1.5"], "--gpus=1.5: above 1"),
    (["--gather"], "no such folder"),
])  # fmt: skip
def test_refused_in_one_line(tmp_path, tool, words, text):
    code, out, err = tool(f"--logdir={tmp_path}/new", *words)
    assert (code, out) == (2, "") and text in err and len(err.splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_refused_folders(tmp_path, tool):
    words = ["--tasks=walker_walk", "--methods=clion"]
    make_run(tmp_path / "run", {1: 1.0})
    for more in ((), ("--gather",)):
        assert "is a run itself" in tool(f"--logdir={tmp_path}/run", *words, *more)[2]
    assert not (tmp_path / "run" / "results").exists()
    (tmp_path / "file").write_text("precious")
    for name in ("file", "file/below"):
        code, _, err = tool(f"--logdir={tmp_path}/{name}", *words)
        assert code == 2 and "cannot write there" in err
    code, _, err = tool("--logdir=/proc/sweep", *words)
    assert code == 2 and "/proc/sweep: cannot write there" in err
    (tmp_path / "sweep" / "walker_walk" / "clion").mkdir(parents=True)
    (tmp_path / "sweep" / "walker_walk" / "clion" / "seed0").touch()
    code, _, err = tool(f"--logdir={tmp_path}/sweep", *words)
    assert code == 2 and err.endswith("walker_walk/clion/seed0: is a file\n")


@pytest.mark.parametrize("state, stopped, code, text", [
    ("failed", 0, 1, "sweep: failed: walker_walk/clion/seed0: it broke"),
    ("stopped", 15, 143, "stopped; to resume what is unfinished: "),
    ("done", 0, 0, ""),
])  # fmt: skip
def test_exit_codes(tmp_path, tool, monkeypatch, state, stopped, code, text):
    def make(jobs, root, cpus, gpus, address, retries):
        assert (cpus, gpus, address, retries) == (4.0, 0.5, "auto", 0)
        jobs[0].state, jobs[0].problem = state, "it broke"
        return stopped

    monkeypatch.setattr(sweep, "make_runs", make)
    monkeypatch.setattr(sweep, "write_results", lambda root, progress: [])
    got, _, err = tool(f"--logdir={tmp_path}/s", "--tasks=walker_walk", "--methods=clion",
                       "--cpus=4", "--gpus=0.5", "--address=auto", "--retries=0")  # fmt: skip
    assert got == code and err.strip().startswith(text) and len(err.splitlines()) == bool(text)


@pytest.mark.parametrize("error, code", [
    (OSError(28, "No space left on device"), 1), (LogdirError("no run can be read"), 0),
])  # fmt: skip
@pytest.mark.parametrize("state", ["failed", "done"])
def test_failed_runs_are_named_if_nothing_can_be_gathered(
    tmp_path, tool, monkeypatch, error, code, state
):
    def make(jobs, *_):
        jobs[0].state, jobs[0].problem = state, "it broke"

    def gather(root, progress):
        raise error

    monkeypatch.setattr(sweep, "make_runs", make)
    monkeypatch.setattr(sweep, "write_results", gather)
    got, _, err = tool(f"--logdir={tmp_path}/s", "--tasks=walker_walk", "--methods=clion")
    failed = state == "failed"
    assert got == (1 if failed else code) and f"nothing gathered: {error}" in err
    assert ("sweep: failed: walker_walk/clion/seed0: it broke" in err) == failed


@pytest.mark.parametrize("program, again", [
    ("tools/sweep.py", f"{sys.executable} tools/sweep.py '--tasks=a b'"),
    ("/opt/my env/bin/clion-sweep", "'/opt/my env/bin/clion-sweep' '--tasks=a b'"),
])  # fmt: skip
def test_the_command_that_goes_on(tmp_path, monkeypatch, capsys, program, again):
    monkeypatch.setattr("sys.argv", [program, "--tasks=a b"])
    assert sweep._finish(tmp_path, [], 2) == 130
    assert capsys.readouterr().err == f"stopped; to resume what is unfinished: {again}\n"


def test_seeds():
    assert sweep._seeds("3") == [0, 1, 2]
    assert sweep._seeds("0,3,7") == [0, 3, 7] and sweep._seeds("3,") == [3]


def test_an_unknown_task(tmp_path, tool):
    from clion_tf.sweep.sweep_plan import check_tasks

    code, _, err = tool(f"--logdir={tmp_path}/new", "--tasks=no_module:maze", "--methods=clion",
                        tasks=check_tasks)  # fmt: skip
    assert code == 2 and "no module 'no_module'" in err and len(err.splitlines()) == 1


def test_gather(tmp_path, tool):
    root = tmp_path / "sweep"
    for method, seed, value in (("clion", 0, 500.0), ("clion", 1, 600.0), ("dreamer", 0, 300.0)):
        config = options("table1_rotation", method, seed=seed)
        make_run(
            root / "walker_walk" / method / f"seed{seed}", {105_000: value}, {1000: 9.0}, config
        )
    (root / "logs" / "walker_walk").mkdir(parents=True)
    for _ in range(2):  # Again at any time.
        code, out, err = tool(f"--logdir={root}", "--gather")
        assert code == 0 and str(root / "results") in out and err == ""
    results = root / "results"
    (found,) = (
        p for p in (results / "curves").glob("*.json") if "clion" in p.name and "seed1" in p.name
    )
    saved = json.loads(found.read_text())
    assert (saved["ys"], saved["train_ys"], saved["seed"]) == ([600.0], [9.0], "1")
    text = (results / "table.md").read_text()
    assert "Table 1" in text and "550.0" in text and "300.0" in text
    assert (results / "table.csv").read_text().count("\n") >= 3
    assert "walker_walk" in (results / "report.html").read_text()


def test_gather_without_a_return(tmp_path, tool):
    make_run(tmp_path / "sweep" / "a" / "clion" / "seed0", {}, {}, options("cpu"))
    code, _, err = tool(f"--logdir={tmp_path}/sweep", "--gather")
    assert code == 2 and "no test return" in err
    assert not (tmp_path / "sweep" / "results").exists()
