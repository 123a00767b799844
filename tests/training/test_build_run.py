"""What a run is put together from: what the options and the task must agree on."""

import dataclasses

import gymnasium
import pytest
from loop_fakes import CountingEnv

from clion_tf.analysis import evaluation
from clion_tf.config import Config, ConfigError
from clion_tf.envs import SupervisedEnvs
from clion_tf.logdir.run_folder import RunFolder
from clion_tf.replay.episode_player import RandomPolicy
from clion_tf.training import build_run, env_specs
from clion_tf.training.env_specs import specs, supervised


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

        def close(self):
            pass

    monkeypatch.setattr(env_specs, "RemoteEnv", Made)
    return specs


def test_each_environment_of_a_run_has_its_own_number_and_keeps_it(made):
    config = Config(envs=3)
    train_spec, test_spec = specs(config)
    group, other = supervised(train_spec, config, 3), supervised(test_spec, config)
    group._restart()
    other._restart()
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

    monkeypatch.setattr(evaluation, "RemoteEnv", Made)
    spec = evaluation.spec(Config(envs=4))
    assert (spec.stream, spec.index) == (2_000_000, 0)
    played = evaluation.play(lambda: RandomPolicy(2, False, 0), spec, 6, workers=3)
    assert len(list(played)) == 6
    assert sorted(numbers) == [0, 1, 2]
