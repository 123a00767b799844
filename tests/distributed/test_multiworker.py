"""A run of two processes through TF_CONFIG: equal to one of one process, also after a kill -9."""

import json
import signal
import socket

import numpy as np
import pytest
from forked import Process
from places import ROOT
from small_agents import without_graphs

from clion_tf import run
from clion_tf.logdir import checkpoints

WORDS = [
    f"--flagfile={ROOT}/flags/debug.flags", "--task=env_fakes:counting", "--time_limit=60",
    "--prefill=120", "--steps=300", "--train_every=30", "--train_steps=1", "--pretrain=2",
    "--eval_every=1000", "--log_every=60", "--video=none", "--nolog_images", "--batch_length=3",
    "--horizon=2", "--seed=5", "--save_every=1", "--action_repeat=10",
    # Each process builds a graph; CLION's sums over replicas are test_replicas.py's.
    f"--flagfile={ROOT}/flags/dreamer.flags",
]  # fmt: skip
TIMING = ("per_second", "seconds", "fps")


def free_ports(count):
    """Ports that were free a moment ago."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


def start(folder, words=((), ()), eagerly=False):
    """Two processes of one run, the chief first; each may have words of its own."""
    workers = [f"127.0.0.1:{port}" for port in free_ports(2)]
    processes = []
    for index in range(2):
        who = {"cluster": {"worker": workers}, "task": {"type": "worker", "index": index}}
        own = [*WORDS, "--strategy=multiworker", f"--logdir={folder}", *words[index]]
        processes.append(Process("clion_tf.run", own, eagerly, False, TF_CONFIG=json.dumps(who)))
    return processes


def finish(processes, codes):
    """Waits for both; returns their lines."""
    errors = [process.communicate(timeout=250)[1] for process in processes]
    assert [process.returncode for process in processes] == codes, errors
    return [error.splitlines() for error in errors]


def wait_for(process, text):
    for line in process.stderr:
        if text in line:
            return
    raise AssertionError(f"the run ended by itself ({process.wait()})")


def outcome(folder):
    """State, counters and metrics of a run, without times."""
    arrays, counters = checkpoints.load(checkpoints.Checkpoints.found_in(folder / "checkpoints")[0])
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    rows = [{k: v for k, v in line.items() if not k.endswith(TIMING)} for line in lines]
    return arrays, counters, rows


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The outcome of one process without a strategy: this one, and without a graph."""
    folder = tmp_path_factory.mktemp("alone") / "run"
    with without_graphs():
        assert run.main([*WORDS, f"--logdir={folder}"]) == 0
    return outcome(folder)


def same(one, other):
    """Two outcomes, up to round-off."""
    (arrays, counters, rows), (others, other_counters, other_rows) = one, other
    assert arrays.keys() == others.keys()
    for name, value in arrays.items():
        off = np.linalg.norm(np.float64(others[name]) - value)
        assert off <= 1e-3 * np.linalg.norm(np.float64(value)) + 1e-6, name
    assert counters.updates == other_counters.updates == 6
    assert (counters.steps, counters.episodes) == (other_counters.steps, other_counters.episodes)
    assert [row.keys() for row in rows] == [row.keys() for row in other_rows]
    for row, other_row in zip(rows, other_rows, strict=True):
        for name, value in row.items():
            assert other_row[name] == pytest.approx(value, rel=1e-3, abs=1e-4), name


def test_two_processes_that_die_and_go_on_are_one_that_does_not(alone, tmp_path):
    folder = tmp_path / "run"
    chief, worker = start(folder, eagerly=True)  # The graph is the last two processes' affair.
    wait_for(chief, "[180] train return")
    worker.kill()
    lines, _ = finish([chief, worker], [1, -9])
    assert lines[-1].startswith("clion_tf: error: a replica is lost"), lines
    assert lines[-1].endswith("run the same commands again")
    assert not any("Traceback" in line for line in lines)
    lines, others = finish(start(folder), [0, 0])
    assert lines[1].endswith("resuming at 180 environment steps"), lines
    assert others[-1] == "the chief ended the run with code 0"
    same(alone, outcome(folder))


def test_processes_of_other_options_refuse_each_other(tmp_path):
    lines = finish(start(tmp_path / "run", ((), ["--free_nats=1"])), [2, 2])
    assert lines[1][-1].endswith("--free_nats=1.0 (the chief: 3.0)")
    assert lines[0][-1].startswith("clion_tf: error: another process was started with other")
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_worker_whose_chief_dies_says_so(tmp_path):
    chief, worker = start(tmp_path / "run", eagerly=True)
    wait_for(chief, "learner on CPU, precision 32, XLA off, 2 replicas")
    chief.kill()
    _, lines = finish([chief, worker], [-9, 1])
    assert lines[-1].startswith("clion_tf: error: a replica is lost"), lines


@pytest.mark.slow
def test_sigterm_to_one_process_stops_all(tmp_path):
    processes = start(tmp_path / "run")
    wait_for(processes[0], "[180] train return")
    processes[1].send_signal(signal.SIGTERM)
    lines = finish(processes, [143, 143])
    assert lines[0][-1].startswith("stopped; the same command resumes")
