"""CLION, Dreamer and DrQ learn a cheap task from pixels, by the real command; `make test-slow`.

Two runs at a time, each on one core where there are two.
"""

import concurrent.futures
import json
import os
import pathlib
import queue
import subprocess
import sys

import dot
import numpy as np
import pytest

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
METHODS = {
    "clion": [],
    "dreamer": [f"--flagfile={ROOT}/flags/dreamer.flags"],
    "drq": [f"--flagfile={HERE}/dot_drq.flags"],
}
SEEDS = (0, 1)
ENOUGH, RANDOM = 0.7, 0.25  # Shares of the optimum.

pytestmark = pytest.mark.slow


def starts(count=1000):
    return np.random.default_rng(0).uniform(-1, 1, (count, 2))


def optimum():
    return np.mean([dot.optimum(place) for place in starts()])


def train(folder, method, seed, cores):
    """The returns of the last two evaluations, 10 episodes each; on a core of its own."""
    core = cores.get()
    try:
        return run(folder, method, seed, core)
    finally:
        cores.put(core)


def run(folder, method, seed, core):
    command = [
        sys.executable, "-m", "clion_tf.run", f"--flagfile={HERE}/dot.flags", *METHODS[method],
        "--task=dot:make", f"--seed={seed}", f"--logdir={folder}",
    ]  # fmt: skip
    result = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(HERE)])},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        preexec_fn=lambda: os.sched_setaffinity(0, {core}),
    )
    assert result.returncode == 0, result.stderr
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [line["test/return"] for line in lines if "test/return" in line][-2:]


@pytest.fixture(scope="module")
def returns(tmp_path_factory):
    folder, cores = tmp_path_factory.mktemp("runs"), queue.SimpleQueue()
    for core in (sorted(os.sched_getaffinity(0)) * 2)[:2]:
        cores.put(core)
    jobs = [(method, seed) for seed in SEEDS for method in METHODS]
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        running = {
            job: pool.submit(train, folder / "-".join(map(str, job)), *job, cores) for job in jobs
        }
        return {job: future.result() for job, future in running.items()}


def test_the_optimum_and_a_random_policy():
    random = np.random.default_rng(1)
    found = [dot.episode_return(p, lambda _: random.uniform(-1, 1, 2)) for p in starts()]
    assert np.mean(found) < RANDOM * optimum()
    # No step along the way is better than the greedy one.
    for place in starts(20):
        best = dot.optimum(place)
        for _ in range(20):
            other = random.uniform(-1, 1, (dot.STEPS, 2))
            moves = iter(other)
            assert dot.episode_return(place, lambda _, moves=moves: next(moves)) <= best


def test_memory_matters_where_frames_are_blank():
    random, shares = np.random.default_rng(2), {}
    for blank in (0.0, 0.5, 0.8, 0.9):
        seen = random.random((1000, dot.STEPS)) >= blank
        shares[blank] = [
            np.mean([dot.blanked_return(*one, memory) for one in zip(starts(), seen, strict=True)])
            / optimum()
            for memory in (True, False)
        ]
    # As docs/robustness.md says.
    expected = {0.0: [1, 1], 0.5: [0.98, 0.95], 0.8: [0.94, 0.80], 0.9: [0.86, 0.61]}
    for blank, found in shares.items():
        assert found == pytest.approx(expected[blank], abs=0.015)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("method", METHODS)
def test_learns(returns, method, seed):
    share = np.mean(returns[method, seed]) / optimum()
    assert share >= ENOUGH, f"{share:.2f} of the optimum"
