"""Several environments with one call of the policy for all (`--envs`)."""

import json

import numpy as np
import pytest
from loop_fakes import CheckingAgent, CountingEnv
from loop_runs import OPTIONS, lines, result, start
from scipy import stats

from clion_tf.config import Config, ConfigError
from clion_tf.envs import EnvError, EnvSpec, WorkerError
from clion_tf.replay.episode_player import AgentPolicy, RandomPolicy, run_episodes
from clion_tf.training import loop
from clion_tf.training.run_state import Interrupted


class Watching:
    """A policy that records what it is shown; its action names the row and the step."""

    def begin(self, episodes):
        self.episodes, self.shown = list(episodes), []

    def act(self, observed):
        self.shown.append([int(one["image"][1, 0, 0]) for one in observed])
        rows = np.arange(len(observed))
        return np.stack([rows / 10, np.full(len(rows), len(self.shown) / 100)], 1).astype("f4")


def ignore(step):
    pass


def equal(one, other):
    return one.keys() == other.keys() and all(np.array_equal(one[k], other[k]) for k in one)


def test_one_environment_is_the_simple_loop():
    """Written out here: act, step, act, ... with one observation and one action."""
    agent, env = CheckingAgent(), CountingEnv(7)
    found = run_episodes([env], AgentPolicy(agent, True, 0.3), [4], ignore)[0]
    policy, simple, state = CheckingAgent(), CountingEnv(7), 0
    obs, rows, step = simple.reset(4), [], 0
    while True:
        action, state = policy.policy({"image": obs["image"][None]}, state, (4, step), True, 0.3)
        obs, reward, _, done, _ = simple.step(action[0])
        rows.append((obs["image"], action[0], reward))
        step += 1
        if done:
            break
    assert agent.acted == policy.acted
    for key, column in zip(("image", "action", "reward"), zip(*rows, strict=True), strict=True):
        np.testing.assert_array_equal(found[key][1:], np.stack(column))


def test_rewards_that_are_no_numbers_name_the_episode():
    class Broken(CountingEnv):
        spec = EnvSpec("some_task")

        def step(self, action):
            observation, reward, *rest = super().step(action)
            return observation, np.nan if self.episodes == [6] else reward, *rest

    policy = RandomPolicy(2, False, 0)
    message = "environment some_task, episode 6: 'reward' has numbers that are not finite"
    with pytest.raises(EnvError, match=message):
        run_episodes([CountingEnv(4), Broken(4)], policy, [5, 6], ignore)


def test_each_row_is_its_environments():
    envs, policy = [CountingEnv(4), CountingEnv(4), CountingEnv(4)], Watching()
    episodes = run_episodes(envs, policy, [5, 6, 7], ignore)
    assert policy.episodes == [5, 6, 7] and [env.episodes for env in envs] == [[5], [6], [7]]
    for row, episode in enumerate(episodes):
        assert np.all(episode["image"][:, 0] == 5 + row)
        np.testing.assert_allclose(episode["action"][1:, 0], row / 10)
        np.testing.assert_allclose(episode["action"][1:, 1], [0.01, 0.02, 0.03, 0.04])


def test_random_episodes_do_not_depend_on_how_many_play_at_once():
    def policy():
        return RandomPolicy(2, False, seed=3)

    together = run_episodes([CountingEnv(5) for _ in range(3)], policy(), [2, 3, 4], ignore)
    for number, episode in enumerate(together, start=2):
        assert equal(run_episodes([CountingEnv(5)], policy(), [number], ignore)[0], episode)


def test_random_actions_are_uniform_and_named_by_seed_and_episode():
    def actions(discrete, seed=3, episodes=(0, 1), steps=400):
        policy = RandomPolicy(2, discrete, seed)
        policy.begin(episodes)
        return np.stack([policy.act([{}, {}]) for _ in range(steps)])  # [T, N, A]

    box, chosen = actions(False), actions(True)
    assert stats.kstest(box.ravel(), stats.uniform(-1, 2).cdf).pvalue > 0.01
    assert np.array_equal(chosen.sum(-1), np.ones((400, 2)))
    assert stats.chisquare(chosen.sum((0, 1))).pvalue > 0.01
    columns = np.concatenate([box, actions(False, seed=4), actions(False, episodes=(1, 2))], 1)
    np.testing.assert_array_equal(columns[:, 4], columns[:, 1])  # Episode 1 both times.
    others = np.delete(columns, 4, 1).reshape(400, -1)
    np.testing.assert_allclose(np.corrcoef(others.T), np.eye(others.shape[1]), atol=0.2)


def test_who_has_ended_waits_and_is_not_stepped():
    envs, policy, done = [CountingEnv(2), CountingEnv(5)], Watching(), []
    short, long = run_episodes(envs, policy, [0, 1], done.append)
    assert len(short["reward"]) == 3 and len(long["reward"]) == 6
    assert done == [2, 4, 5, 6, 7]  # Agent steps of both together.
    assert policy.shown == [[0, 0], [1, 1], [2, 2], [2, 3], [2, 4]]


def test_ratio_of_updates_to_steps_stays(tmp_path):
    one, three = start(tmp_path / "1", steps=400), start(tmp_path / "3", steps=400, envs=3)
    for run in (one, three):
        loop.train(run)
        assert run.counters.steps == 400
    # A phase is due for each 20 steps from 40 on; those of the last round are not made any more.
    assert one.counters.updates == 5 + 3 * (380 - 40) // 20
    assert three.counters.updates == 5 + 3 * (340 - 40) // 20
    rows = map(json.loads, (tmp_path / "3" / "metrics.jsonl").read_text().splitlines())
    ratios = [row["updates_per_env_step"] for row in rows if "updates_per_env_step" in row]
    assert len(ratios) == 6 and set(ratios[1:]) == {3 / 20}  # The first has the pretraining.


def test_seeding_and_the_end_take_no_more_episodes_than_they_need(tmp_path):
    run = start(tmp_path, steps=140, envs=4)
    loop.train(run)
    # prefill 40 = 2 episodes; then 4 + 1.
    steps = [row["step"] for row in lines(tmp_path) if "train/return" in row]
    assert steps == list(range(20, 141, 20))
    begun = [env.episodes for env in run.train_envs.envs]
    assert begun == [[0, 2, 6], [1, 3], [4], [5]]


def test_a_failure_does_not_show(tmp_path):
    whole, failing = start(tmp_path / "a", envs=3), start(tmp_path / "b", envs=3, fails=[1, 3, 3])
    for run in (whole, failing):
        loop.train(run)
    digest, episodes, _ = result(failing)
    assert (digest, episodes) == result(whole)[:2]
    assert failing.counters.env_failures == 3


def test_too_many_failures_end_the_run(tmp_path):
    run = start(tmp_path, envs=2, fails=[2] * 5, env_restarts=2, episode_failures=0)
    with pytest.raises(WorkerError, match="3 failures within an hour"):
        loop.train(run)
    assert run.checkpoints.load_newest()[1].episodes == 2


def test_episodes_that_fail_among_many_environments_are_skipped(tmp_path):
    """Of a round of sixteen several fail before one is done: more than in a row with one."""
    broken = range(3, 1000, 2)
    alone = start(tmp_path / "a", broken=broken, env_restarts=4, steps=400)
    many = start(tmp_path / "b", envs=16, broken=broken, env_restarts=4, steps=400)
    for run in (alone, many):
        loop.train(run)
        assert run.counters.skipped_episodes > 10 and run.counters.steps >= 400


@pytest.mark.parametrize("overlap", [False, True])
def test_interrupted_and_continued(tmp_path, overlap):
    whole = start(tmp_path / "whole", envs=3, steps=300, overlap=overlap)
    loop.train(whole)
    calls = iter(range(10**6))
    for patience in (60, 100, 10**6):
        last = next(calls) + patience
        run = start(
            tmp_path / "cut",
            lambda last=last: next(calls) > last,
            envs=3,
            steps=300,
            overlap=overlap,
        )
        try:
            loop.train(run)
        except Interrupted:
            continue
    assert run.counters.steps == 300
    assert result(run) == result(whole)


def test_a_number_that_cannot_be():
    with pytest.raises(ConfigError, match="--envs=0: must be greater than 0"):
        Config(**{**OPTIONS, "envs": 0})
