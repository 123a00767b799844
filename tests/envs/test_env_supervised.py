"""Environments that fail on purpose, in real workers."""

import time
import types

import numpy as np
import pytest

from clion_tf.envs import EnvError, EnvSpec, RemoteEnv, SupervisedEnvs, WorkerError, supervised_envs

ACTIONS = {"raises": -np.ones(2, np.float32), "dies": np.ones(2, np.float32)}


def supervised(task, per_hour, timeout=60.0):
    spec = EnvSpec(f"env_fakes:{task}")
    return SupervisedEnvs(lambda: RemoteEnv(spec, timeout), per_hour)


def test_starts_again_and_tries_again():
    pids, failures = [], []

    def task(envs):
        [env] = envs
        obs = env.reset(0)
        pids.append(env.pid)
        env.step(ACTIONS["dies"] if len(pids) < 3 else np.zeros(2, np.float32))
        return obs["image"]

    with supervised("failing", per_hour=2) as env:
        image = env.attempt(task, lambda: failures.append(1))
    assert image.shape == (64, 64, 3)
    assert len(failures) == 2 and len(set(pids)) == 3


@pytest.mark.parametrize("kind", ["absent", "unrendered"])
def test_failures_to_start_again_count_for_no_episode(kind, tmp_path, monkeypatch):
    file, pauses, tries = tmp_path / "absent", [], []
    file.write_text("")
    monkeypatch.setenv("ABSENT", str(file))
    clock = types.SimpleNamespace(monotonic=time.monotonic, sleep=pauses.append)
    monkeypatch.setattr(supervised_envs, "time", clock)

    def task(envs):
        [env] = envs
        env.reset(0)
        tries.append(1)
        if len(tries) == 1:
            file.write_text("4")
        env.step(ACTIONS["dies"] if len(tries) == 1 else np.zeros(2, np.float32))

    # One way three times would be the end of an episode; here no other way is left.
    with supervised(kind, per_hour=5) as env:
        env.wait_ready()
        env.attempt(task, lambda: None)
        assert len(tries) == 2 and pauses == [1, 2, 3]
        tries.clear()
        with pytest.raises(WorkerError, match="6 failures within an hour"):
            env.attempt(task, lambda: None)


def test_what_cannot_be_made_is_said_at_once(tmp_path, monkeypatch):
    file = tmp_path / "absent"
    file.write_text("9")
    monkeypatch.setenv("ABSENT", str(file))
    with supervised("unrendered", per_hour=9) as env, pytest.raises(EnvError) as error:
        env.wait_ready()
    assert not isinstance(error.value, WorkerError)


def test_all_start_again_when_one_fails():
    pids = []

    def task(envs):
        for env in envs:
            env.reset(0)
        pids.append([env.pid for env in envs])
        envs[1].step(ACTIONS["raises"] if len(pids) == 1 else np.zeros(2, np.float32))

    spec = EnvSpec("env_fakes:failing")
    with SupervisedEnvs(lambda: RemoteEnv(spec), 1, count=3) as group:
        group.attempt(task, lambda: None)
    first, second = pids
    assert len(first) == len(second) == 3 and not {*first} & {*second}


def test_gives_up_naming_the_cause():
    def task(envs):
        [env] = envs
        env.reset(0)
        env.step(ACTIONS["raises"])

    with supervised("failing", per_hour=1) as env:
        with pytest.raises(WorkerError, match=r"2 failures within an hour.*ZeroDivisionError"):
            env.attempt(task, lambda: None)


def test_a_hung_environment_counts_as_failed():
    def task(envs):
        [env] = envs
        env.wait_ready()
        env.timeout = 0.3
        env.reset(0)
        env.step(np.zeros(2, np.float32))

    with supervised("hanging", per_hour=0) as env:
        with pytest.raises(WorkerError, match="hung"):
            env.attempt(task, lambda: None)
