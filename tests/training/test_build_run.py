"""What a run is put together from: what the options and the task must agree on."""

import contextlib
import dataclasses
import os
import signal
from types import SimpleNamespace

import gymnasium
import numpy as np
import pytest
import tensorflow as tf
from loop_fakes import CountingEnv
from small_learner import SmallLearner

from clion_tf import run
from clion_tf.agents import KINDS
from clion_tf.analysis import evaluation
from clion_tf.config import Config, ConfigError
from clion_tf.console import FAILED
from clion_tf.envs import SupervisedEnvs, WorkerError, nvidia_gpus
from clion_tf.logdir.checkpoints import Checkpoints, Counters
from clion_tf.logdir.run_folder import RunFolder
from clion_tf.replay import episode_files
from clion_tf.replay.episode_player import RandomPolicy
from clion_tf.training import build_run, training_process
from clion_tf.training.training_process import specs, supervised


@pytest.mark.parametrize(
    "space, expl, text",
    [
        (
            gymnasium.spaces.Box(-1, 1, (2,)),
            "epsilon_greedy",
            "are boxes; use auto, additive_gauss",
        ),
        (
            gymnasium.spaces.Discrete(3),
            "additive_gaussian",
            "are discrete; use auto, epsilon_greedy",
        ),
    ],
)
def test_exploration_that_makes_no_actions_of_the_task(space, expl, text, tmp_path):
    env = CountingEnv()
    env.action_space = space
    envs = SupervisedEnvs(lambda: env, 0)
    with pytest.raises(ConfigError, match=f"^--expl={expl}: the actions of walker_walk {text}"):
        build_run.assemble(Config(expl=expl), RunFolder(tmp_path), envs, envs, lambda: False)
    assert not list(tmp_path.iterdir())


@pytest.fixture
def made(monkeypatch):
    """The specs that environments are made from, instead of environments."""
    specs = []

    class Made:
        def __init__(self, spec, *rest):
            specs.append(spec)

        def wait_ready(self):
            pass

        def close(self):
            pass

    monkeypatch.setattr(training_process, "RemoteEnv", Made)
    return specs


def fail_with(error):
    if error:
        raise error


def test_each_environment_of_a_run_has_its_own_number_and_keeps_it(made):
    config = Config(envs=3)
    train_spec, test_spec = specs(config)
    group, other = supervised(train_spec, config, 3), supervised(test_spec, config)
    for envs in (group, other):
        failures = iter([WorkerError("once")])
        # All are made again when one has failed.
        envs.attempt(lambda _, failures=failures: fail_with(next(failures, None)), lambda: None)
    assert [spec.index for spec in made] == [0, 1, 2, 3, 0, 1, 2, 3]
    # And nothing else: what an episode is depends on its number alone.
    alike = {dataclasses.replace(spec, index=0) for spec in made}
    assert alike == {train_spec, dataclasses.replace(test_spec, index=0)}
    assert (train_spec.stream, test_spec.stream) == (0, 1_000_000)


def test_each_environment_of_an_evaluation_has_its_own_number(monkeypatch):
    numbers = []

    class Made(CountingEnv):
        def __init__(self, spec, *rest):
            super().__init__(3)
            numbers.append(spec.index)
            self.spec = spec

        def wait_ready(self):
            return None

    monkeypatch.setattr(training_process, "RemoteEnv", Made)
    config = Config(envs=4)
    spec = evaluation.spec(config)
    assert (spec.stream, spec.index) == (2_000_000, 0)
    played = evaluation.play(lambda: RandomPolicy(2, False, 0), config, spec, 6, workers=3)
    assert len(list(played)) == 6
    assert sorted(numbers) == [0, 1, 2]


def test_a_stop_that_reaches_the_workers_while_they_start(monkeypatch, tmp_path):
    class Killed:
        def wait_ready(self):
            os.kill(os.getpid(), signal.SIGTERM)
            raise WorkerError("died with signal SIGTERM")

    started = contextlib.nullcontext(Killed())
    monkeypatch.setattr(training_process, "supervised", lambda *_: started)
    assert training_process.train(Config(logdir=str(tmp_path / "run"))) == 128 + signal.SIGTERM


def test_a_run_goes_on_without_xla_and_says_what_is_slow(monkeypatch, tmp_path, capsys):
    def fails(jit):
        if jit:
            raise tf.errors.InternalError(None, None, "libdevice not found at ./libdevice.10.bc")
        return 0.0

    def make(config, size, discrete, observed, precision, jit):
        return SmallLearner(config, True, fails)

    env = CountingEnv()
    env.renderer = "llvmpipe (LLVM 15.0.6, 256 bits)"
    envs = SupervisedEnvs(lambda: env, 0)
    monkeypatch.setitem(KINDS, "clion", make)
    monkeypatch.setattr(nvidia_gpus, "count", lambda: 1)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    config = Config(batch_size=2, train_steps=1, pretrain=0, updates_per_call=1)
    made = build_run.assemble(config, RunFolder(tmp_path), envs, envs, lambda: False)
    made.logger.close()
    text = capsys.readouterr().err
    assert "XLA does not compile the update" in text and "continuing without it" in text
    assert "rendering by llvmpipe" in text and "40 to 400 times slower" in text
    assert made.agent.calls == [1, 1] and not made.agent.jit and made.agent.weight.numpy() == 1.5
    assert made.counters.updates == 0


@pytest.mark.parametrize("steps, calls", [(16, [1]), (12, [])])
def test_a_run_that_is_done_tries_nothing_out(monkeypatch, tmp_path, steps, calls):
    """Which takes minutes on a GPU; and what came after its checkpoint it makes again."""
    monkeypatch.setitem(KINDS, "clion", lambda config, *_: SmallLearner(config, True))
    folder, envs = RunFolder(tmp_path), SupervisedEnvs(CountingEnv, 0)
    frame = {"image": np.zeros((4, 4, 3), np.uint8), "vector": np.zeros(5, np.float32)}
    rows = [episode_files.frame(frame, np.zeros(2), 0.0, 1.0)] * 13
    episode_files.save_episode(folder.episodes, 0, episode_files.stacked(rows))
    known = Counters(episodes=1, steps=12)
    Checkpoints(folder.checkpoints).save({"weights/weight": np.float32(1.5)}, known)
    folder.videos.mkdir()
    videos = [folder.videos / f"test-{n:09d}.mp4" for n in (12, 13)]
    for path in videos:
        path.write_bytes(b"")
    config = Config(steps=steps, batch_size=2, train_steps=1, pretrain=0, updates_per_call=1)
    made = build_run.assemble(config, folder, envs, envs, lambda: False)
    made.logger.close()
    assert made.agent.calls == calls
    assert [path.exists() for path in videos] == [True, False]


def test_what_an_attempt_without_a_checkpoint_left_is_forgotten(monkeypatch, tmp_path):
    monkeypatch.setitem(KINDS, "clion", lambda config, *_: SmallLearner(config, True))
    folder, envs = RunFolder(tmp_path), SupervisedEnvs(CountingEnv, 0)
    folder.videos.mkdir(parents=True)
    for n in (0, 13):
        (folder.videos / f"test-{n:09d}.mp4").write_bytes(b"")
    config = Config(batch_size=2, train_steps=1, pretrain=0, updates_per_call=1)
    build_run.assemble(config, folder, envs, envs, lambda: False).logger.close()
    assert not [*folder.videos.iterdir()]


def test_a_run_that_lacks_episodes_says_so(monkeypatch, tmp_path, caplog):
    """As after a copy that was broken off; what was set aside as damaged was told then."""
    monkeypatch.setitem(KINDS, "clion", lambda config, *_: SmallLearner(config, False))
    folder, envs = RunFolder(tmp_path), SupervisedEnvs(CountingEnv, 0)
    frame = {"image": np.zeros((4, 4, 3), np.uint8), "vector": np.zeros(5, np.float32)}
    for number in range(4):
        rows = [episode_files.frame(frame, np.zeros(2), 0.0, 1.0)] * 5
        episode_files.save_episode(folder.episodes, number, episode_files.stacked(rows))
    known = Counters(episodes=4, steps=16)
    Checkpoints(folder.checkpoints).save({"weights/weight": np.float32(1.5)}, known)
    paths, options = sorted(folder.episodes.iterdir()), Config(pretrain=0)
    for path, told in ((None, ""), (paths[0], "of which 3 are here"), (paths[1], "of which 2")):
        if path:
            path.unlink()
        caplog.clear()
        build_run.assemble(options, folder, envs, envs, lambda: False).logger.close()
        assert (told in caplog.text) if told else not caplog.records
    paths[2].rename(paths[2].with_suffix(".npz.bad"))
    build_run.assemble(options, folder, envs, envs, lambda: False).logger.close()
    assert "of which 1 are here" in caplog.text  # One is set aside, two are missing.


def test_what_helps_where_memory_is_short(monkeypatch, capsys):
    def short(config):
        raise MemoryError("Out of memory while trying to allocate 4.00TiB.")

    monkeypatch.setattr(training_process, "train", short)
    assert run.main(["--logdir=never-made"]) == FAILED
    [line] = capsys.readouterr().err.splitlines()
    assert "4.00TiB" in line and "--batch_size" in line and "--precision=bf16" in line


def test_the_replay_is_what_options_and_agent_ask_for(monkeypatch, tmp_path):
    agent, envs = SmallLearner(Config(), False), SupervisedEnvs(CountingEnv, 0)
    agent.padding = 2
    monkeypatch.setitem(KINDS, "clion", lambda *_: agent)
    config = Config(seed=7, dataset_balance=True, replay_capacity=4000, action_repeat=4)
    made = build_run.assemble(config, RunFolder(tmp_path), envs, envs, lambda: False)
    made.logger.close()
    found = made.replay
    assert (found.seed, found.balance, found.padding) == (7, True, 2)
    assert (found.batch_length, found.capacity) == (3, 1000)


def test_disk_that_the_replay_takes_beyond_what_is_there(tmp_path, monkeypatch):
    folder = RunFolder(tmp_path)
    folder.episodes.mkdir()
    config = Config(steps=1_000_000, action_repeat=2)
    observed = {"image": (64, 64, 3)}
    run = SimpleNamespace(config=config, folder=folder, agent=SimpleNamespace(observed=observed))
    free = SimpleNamespace(free=3e9)
    monkeypatch.setattr(build_run.shutil, "disk_usage", lambda path: free)
    told = "replay: about 6.2 GB of episodes, 3.0 GB free here"
    assert build_run._disk_use(run) == f"{told}; --replay_capacity bounds it"
    with (folder.episodes / "000000-9.npz").open("wb") as file:
        file.truncate(4_000_000_000)  # A hole: it takes no disk.
    assert build_run._disk_use(run) == told
