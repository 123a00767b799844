"""Sweeps by Ray: runs, workers and machines that die, Ctrl-C; real processes throughout."""

import importlib.util
import os
import pathlib
import re
import signal
import subprocess
import sys
import threading
import time

import pytest
from places import PATHS, ROOT

from clion_tf.command import UsageError
from clion_tf.sweep.job import Resources
from clion_tf.sweep.sweep_runner import RayCluster

if importlib.util.find_spec("ray") is None:
    pytest.skip("needs Ray", allow_module_level=True)

TASK, FOLDER = "env_fakes:counting", "env_fakes_counting"
TINY = [
    "--time_limit=60", "--train_every=60", "--train_steps=1", "--pretrain=1", "--eval_every=240",
    "--log_every=120", "--video=none", "--nolog_images", "--batch_length=3", "--horizon=2",
    "--save_every=1",
]  # fmt: skip
WITHIN = 240  # Seconds, on a machine that is busy otherwise.


class Sweep:
    """The tool in a process of its own; its lines on stderr are collected."""

    def __init__(self, folder, *words, options=()):
        command = [
            sys.executable, ROOT / "tools" / "sweep.py", f"--logdir={folder}", f"--tasks={TASK}",
            f"--flagfile={ROOT}/flags/debug.flags", "--cpus=1", *words, "--", *TINY, *options,
        ]  # fmt: skip
        self.process = subprocess.Popen(
            list(map(str, command)),
            cwd=ROOT,
            # Ray would have its workers wait for all other work.
            env={**os.environ, "PYTHONPATH": PATHS, "RAY_worker_niceness": "0"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.lines = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        for line in self.process.stderr:
            self.lines.append(line.rstrip("\n"))

    @property
    def text(self):
        return "\n".join(self.lines)

    def wait_for(self, holds):
        """The first thing that holds, while the sweep goes on."""
        until = time.monotonic() + WITHIN
        while time.monotonic() < until:
            if found := holds():
                return found
            assert self.process.poll() is None, self.text
            time.sleep(0.1)
        raise AssertionError(self.text)

    def finish(self):
        code = self.process.wait(WITHIN)
        self._reader.join(10)
        return code


@pytest.fixture
def sweep():
    """Function that starts one; ends those that the test left."""
    started = []

    def start(*args, **kwargs):
        started.append(Sweep(*args, **kwargs))
        return started[-1]

    yield start
    for one in started:
        if one.process.poll() is None:
            one.process.terminate()
            one.process.wait(120)


def episodes(folder):
    """How many episodes a run has logged."""
    path = folder / "metrics.jsonl"
    return path.read_text().count("train/return") if path.exists() else 0


def runs_in(folder):
    """Process ids of runs in a folder or below."""
    found = []
    for path in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            words = (path / "cmdline").read_bytes().decode().split("\0")
        except OSError:
            continue
        if "clion_tf.run" in words and any(w.startswith(f"--logdir={folder}") for w in words):
            found.append(int(path.name))
    return found


def parent(pid):
    return int(re.search(r"PPid:\s+(\d+)", pathlib.Path(f"/proc/{pid}/status").read_text())[1])


def test_a_killed_worker_and_a_killed_run_are_resumed(tmp_path, sweep):
    """On a Ray of the sweep's own: one run, begun three times."""
    root = tmp_path / "sweep"
    first = sweep(root, "--methods=dreamer", options=["--prefill=120", "--steps=240"])
    folder, name = root / FOLDER / "dreamer" / "seed0", f"{FOLDER}/dreamer/seed0"
    (run,) = first.wait_for(lambda: runs_in(root))
    # The worker of Ray that has started the run, which must not outlive it.
    os.kill(parent(run), signal.SIGKILL)
    first.wait_for(lambda: run not in runs_in(root))
    first.wait_for(lambda: episodes(folder) >= 2)
    (run,) = runs_in(root)
    os.kill(run, signal.SIGKILL)
    assert first.finish() == 0, first.text
    for problem in ("WorkerCrashed", "killed by SIGKILL after: ["):
        told = rf"{name}: retry 1, waiting.*{re.escape(problem)}"
        assert re.search(told, first.text), first.text
    assert f"{name}: done, 240 of 240 steps, test return 1830.0" in first.text
    log = (root / "logs" / f"{name}.log").read_text()
    # It went on from what was saved, once, and made no episode more than there are.
    assert re.search(r"attempt 2 .*new run.*attempt 3 .*resuming at \d+ env", log, re.S), log
    assert "attempt 4 " not in log and episodes(folder) == 4
    assert runs_in(root) == []
    for name in ("table.md", "table.csv", "report.html"):
        assert (root / "results" / name).stat().st_size
    assert len(list((root / "results" / "curves").glob("*.json"))) == 1


@pytest.fixture
def two_machines(monkeypatch):
    """A cluster of two on this machine."""
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    monkeypatch.setenv("RAY_worker_niceness", "0")
    monkeypatch.setenv("RAY_health_check_period_ms", "500")  # The fifth that fails tells.
    memory = {"object_store_memory": 80 * 2**20, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, **memory})
    second = cluster.add_node(num_cpus=2, **memory)
    cluster.wait_for_nodes()
    yield cluster, second
    cluster.shutdown()


@pytest.mark.slow
def test_two_machines_one_dies_then_ctrl_c(tmp_path, sweep, two_machines):
    """Seed episodes without end, as building a graph takes longest."""
    cluster, second = two_machines
    root = tmp_path / "sweep"
    large = sweep(root, "--methods=clion", "--gpus=9", f"--address={cluster.address}")
    assert large.finish() == 2 and len(large.lines) == 1
    assert "1 CPU (at most 2 there), 9 GPU (at most 0 there)" in large.text
    endless = ["--prefill=1000000", "--steps=1000000"]
    first = sweep(root, "--methods=clion", "--seeds=2", f"--address={cluster.address}",
                  options=endless)  # fmt: skip
    started = r"seed(\d): running on \S+/(\w{6})"
    first.wait_for(lambda: len(re.findall(started, first.text)) == 2)
    where = {node: seed for seed, node in re.findall(started, first.text)}
    assert len(where) == 2, "both runs on one machine"
    seed = where[second.node_id[:6]]
    folder = root / FOLDER / "clion" / f"seed{seed}"
    (before,) = first.wait_for(lambda: runs_in(folder))
    cluster.remove_node(second, allow_graceful=False)
    again = rf"seed{seed}: retry 1 on \S+/(\w{{6}})"
    (found,) = first.wait_for(lambda: re.findall(again, first.text))
    assert found != second.node_id[:6] and found in where
    first.wait_for(lambda: before not in runs_in(folder) and len(runs_in(root)) == 2)
    first.process.send_signal(signal.SIGINT)
    assert first.finish() == 130, first.text
    assert "stopped; to resume what is unfinished: " in first.text
    assert runs_in(root) == []
    log = (root / "logs" / FOLDER / "clion" / f"seed{1 - int(seed)}.log").read_text()
    assert log.splitlines()[-1].startswith("stopped; the same command resumes"), log


@pytest.mark.parametrize("address", ["127.0.0.1:1", "127.0.0.1:99999", "ray://a:1", "head"])
def test_no_such_cluster(address):
    with pytest.raises(UsageError, match=f"--address={address}: "):
        RayCluster(address, Resources(1, 0, "", ""))
