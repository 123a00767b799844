"""Episodes as they are played."""

from types import SimpleNamespace

import gymnasium
import numpy as np
import pytest
from loop_fakes import CountingEnv

from clion_tf.replay.episode_player import run_episodes


@pytest.mark.parametrize("ends", [True, False])
def test_a_choice_is_played_and_only_termination_ends_the_future(ends):
    class Choosing(CountingEnv):
        def step(self, action):
            observation, _, _, over, info = super().step(np.zeros(2))
            return observation, float(action), over and ends, over and not ends, info

    env, choices = Choosing(4), iter([2, 0, 1, 2])
    env.action_space = gymnasium.spaces.Discrete(3)

    def act(observed):
        return np.eye(3, dtype="f4")[[next(choices)]]

    [found] = run_episodes([env], SimpleNamespace(begin=len, act=act), [0])
    assert found["reward"].tolist() == [0, 2, 0, 1, 2]
    assert found["discount"].tolist() == [1, 1, 1, 1, 0 if ends else 1]
