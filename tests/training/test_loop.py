"""The loop of Algorithm 1 with a counting environment and a checking agent."""

import json
import os
import re
from types import SimpleNamespace

import numpy as np
import pytest
from loop_fakes import CountingEnv
from loop_runs import SHAPES, lines, result, start

from clion_tf.config import Config
from clion_tf.envs import SupervisedEnvs, WorkerError
from clion_tf.logdir.checkpoints import load
from clion_tf.replay.replay_buffer import Replay
from clion_tf.training import loop, run_state, update_phase


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk(monkeypatch):
    """What it is for is tested where files are written."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


def test_schedule(tmp_path):
    run = start(tmp_path)
    loop.train(run)
    # 2 seed episodes of 20 steps, 5 with the agent; pretrain, then 3 updates before each other.
    assert run.train_envs.envs[0].episodes == list(range(7))
    assert run.agent.updates == list(range(5 + 4 * 3))
    assert run.counters.steps == 140 and run.counters.updates == 17
    tests = [row["step"] for row in lines(tmp_path) if "test/return" in row]
    assert tests == [40, 80, 120, 140]
    assert run.test_envs.envs[0].episodes == [0, 1, 2, 3]
    trains = [row["step"] for row in lines(tmp_path) if "train/return" in row]
    assert trains == list(range(20, 141, 20))
    assert {training for training, *_ in run.agent.acted} == {True, False}


def test_exploration_is_of_the_amounts_that_the_options_say(tmp_path):
    given = {"expl_amount": 0.4, "expl_decay": 100.0, "expl_min": 0.15, "eval_noise": 0.05}
    run = start(tmp_path, **given)
    loop.train(run)
    amounts = {}
    for training, number, _, amount in run.agent.acted:
        amounts.setdefault((training, number), set()).add(amount)
    # Episode 2 begins at 40 environment steps, each one takes 20.
    train = [amounts[True, number] for number in range(2, 7)]
    expected = [max(0.15, 0.4 * 0.5 ** (steps / 100)) for steps in range(40, 140, 20)]
    assert train == [{amount} for amount in expected] and expected[-1] < expected[0]
    assert [amounts[False, number] for number in range(4)] == [{0.05}] * 4
    assert len(amounts) == 5 + 4


def test_metrics_are_means_over_the_updates_since_the_last_line(tmp_path):
    run = start(tmp_path)
    loop.train(run)
    logged = [row for row in lines(tmp_path) if "actor_loss" in row]
    assert [row["step"] for row in logged] == [60, 100, 140]
    assert logged[0]["actor_loss"] == np.mean(range(5))
    assert logged[1]["actor_loss"] == np.mean(range(5, 11))


def test_episodes_hold_what_happened(tmp_path):
    run = start(tmp_path)
    loop.train(run)
    batch = run.replay.newest(11, 1)
    assert batch["image"][0, :, 1, 0, 0].tolist() == list(range(11))
    assert batch["reward"][0].tolist() == list(range(11))
    assert np.all(batch["image"][0, :, 0] == 6)


def test_short_episodes_keep_the_ratio_of_updates_to_steps(tmp_path):
    run = start(tmp_path, length=4, steps=200)
    loop.train(run)
    # The first phase comes at 40 steps, the last one at 180 or later.
    assert len(run.agent.updates) == 5 + 3 * ((192 - 40) // 20)


def test_long_episodes_keep_the_ratio_too(tmp_path):
    run = start(tmp_path, length=10, train_every=10)
    loop.train(run)
    assert len(run.agent.updates) == 5 + 3 * 2 * 4


class Killed(Exception):
    """Nothing can be done any more, as by kill -9."""


def asked_at(moment, kind):
    """What ends a run the `moment`-th time that it is asked: a stop or a kill."""
    numbers = iter(range(10**6))

    def stopping():
        if next(numbers) < moment:
            return False
        if kind is Killed:
            raise Killed
        return True

    return stopping


def in_pieces(folder, moments, **options):
    """A run that is ended at moments [(number of the question, how)], and then finished."""
    for moment, kind in moments:
        run = start(folder, stopping=asked_at(moment, kind), **options)
        with pytest.raises(kind):
            loop.train(run)
        run.logger.close()
    run = start(folder, **options)
    loop.train(run)
    run.logger.close()
    return run


@pytest.mark.parametrize(
    ("kind", "save_every", "overlap"),
    [  # Every pair.
        (run_state.Interrupted, 1, False), (Killed, 1, True), (run_state.Interrupted, 50, True),
        (Killed, 50, False), (run_state.Interrupted, 1000, False), (Killed, 1000, True),
    ],
)  # fmt: skip
def test_interrupted_and_continued_is_the_same_run(tmp_path, kind, save_every, overlap):
    options = {"save_every": save_every, "overlap": overlap, "eval_episodes": 2}
    whole = start(tmp_path / "whole", **options)
    loop.train(whole)
    # In seed episodes, evaluations, the first and later updates, episodes and the end.
    for moment in (0, 3, 15, 22, 38, 41, 43, 47, 52, 56, 63, 85, 112, 146, 162):
        again = in_pieces(tmp_path / str(moment), [(moment, kind)], **options)
        assert result(again) == result(whole), moment


@pytest.mark.parametrize("save_every", [1, 50])
def test_interrupted_many_times_is_the_same_run(tmp_path, save_every):
    whole = start(tmp_path / "whole", save_every=save_every)
    loop.train(whole)
    kinds = (run_state.Interrupted, Killed, run_state.Interrupted, Killed, run_state.Interrupted)
    moments = list(zip((33, 17, 21, 24, 13), kinds, strict=True))
    assert result(in_pieces(tmp_path / "pieces", moments, save_every=save_every)) == result(whole)


def test_a_stop_loses_nothing_whatever_was_saved_before(tmp_path):
    # Asked 20 times by seed episodes, 10 by an evaluation; then the third of five updates.
    first = start(tmp_path, save_every=1000, stopping=asked_at(32, run_state.Interrupted))
    with pytest.raises(run_state.Interrupted):
        loop.train(first)
    assert first.agent.updates == [0, 1] and first.counters.updates_due == 3
    assert [path.name for path in first.checkpoints.paths()] == ["000000040-stopped.npz"]
    first.logger.close()
    # What was gathered of the log's next line, which the run takes back when it goes on.
    assert lines(tmp_path)[-1]["step"] == 40 and lines(tmp_path)[-1]["actor_loss"] == 0.5
    second = start(tmp_path, save_every=1000)
    loop.train(second)
    assert second.agent.updates == list(range(2, 17))
    assert [row["step"] for row in lines(tmp_path) if "actor_loss" in row] == [60, 100, 140]
    # Of a line whose updates were made by two processes neither knows the speed.
    timed = map(json.loads, (tmp_path / "metrics.jsonl").read_text().splitlines())
    assert [row["step"] for row in timed if "fps" in row] == [100, 140]
    # The checkpoint of the end takes its place.
    assert [path.name for path in second.checkpoints.paths()] == ["000000140.npz"]


def test_a_stop_before_anything_is_done_saves_nothing(tmp_path):
    run = start(tmp_path, stopping=lambda: True)
    with pytest.raises(run_state.Interrupted):
        loop.train(run)
    assert run.checkpoints.paths() == [] and lines(tmp_path) == []


def saves(run, monkeypatch):
    """Environment steps at which checkpoints are made, in a list that grows."""
    save, at = run.checkpoints.save, []

    def note(variables, counters, stopped):
        at.append(counters.steps)
        return save(variables, counters, stopped)

    monkeypatch.setattr(run.checkpoints, "save", note)
    return at


@pytest.mark.parametrize(
    "every, expected",
    [(1, [20, 40, 60, 80, 100, 120, 140, 140]), (50, [60, 120, 140]), (40, [40, 80, 120, 140]),
     (1000, [140])],
)  # fmt: skip
def test_checkpoints_are_made_every_so_many_steps(tmp_path, monkeypatch, every, expected):
    run = start(tmp_path, save_every=every)
    at = saves(run, monkeypatch)
    loop.train(run)
    assert at == expected


@pytest.mark.parametrize(
    "every, seconds, expected", [(0, 25.0, [60, 120, 140]), (40, 25.0, [40, 80, 120, 140]),
                                 (100, 25.0, [60, 120, 140])],
)  # fmt: skip
def test_or_every_so_many_seconds(tmp_path, monkeypatch, every, seconds, expected):
    """Each episode takes ten seconds here."""
    run = start(tmp_path, save_every=every, save_seconds=seconds)
    run.saved_time = 0.0
    monkeypatch.setattr(run_state.time, "monotonic", lambda: run.counters.steps / 2)
    at = saves(run, monkeypatch)
    loop.train(run)
    assert at == expected


def test_what_is_gathered_is_logged_at_the_end(tmp_path):
    run = start(tmp_path, steps=120, log_every=1000)
    loop.train(run)
    [last] = [row for row in lines(tmp_path) if "actor_loss" in row]
    assert last["step"] == 120 and last["actor_loss"] == np.mean(range(14))
    run.logger.close()
    before = (tmp_path / "metrics.jsonl").read_bytes()
    loop.train(start(tmp_path, steps=120, log_every=1000))  # It is done.
    assert (tmp_path / "metrics.jsonl").read_bytes() == before
    loop.train(start(tmp_path, steps=160, log_every=1000))
    logged = [row for row in lines(tmp_path) if "actor_loss" in row]
    assert logged[0] == last and [row["step"] for row in logged] == [120, 160]
    assert logged[1]["actor_loss"] == np.mean(range(14, 20))


def test_going_back_does_not_depend_on_stops(tmp_path):
    options = {"save_every": 50, "max_bad_updates": 2, "skips": lambda n: n in (9, 10)}
    whole = start(tmp_path / "whole", **options)
    loop.train(whole)
    assert whole.counters.rollbacks == 1
    # Right before the second bad update, after the checkpoint at 60 steps.
    pieces = in_pieces(tmp_path / "pieces", [(65, run_state.Interrupted)], **options)
    assert pieces.counters.rollbacks == 1 and result(pieces) == result(whole)


def test_overlap_makes_the_same_updates_one_episode_earlier(tmp_path):
    plain, overlapped = start(tmp_path / "plain"), start(tmp_path / "overlapped", overlap=True)
    for run in (plain, overlapped):
        loop.train(run)
    assert overlapped.agent.updates == plain.agent.updates
    assert overlapped.counters.steps == plain.counters.steps
    # The first episode is collected after the first phase, as without overlap; the next ones
    # while the updates are made: with the weights from before them.
    assert result(overlapped)[1]["000002-11.npz"] == result(plain)[1]["000002-11.npz"]
    assert result(overlapped)[1]["000003-11.npz"] != result(plain)[1]["000003-11.npz"]


def test_a_failed_update_beside_an_episode_leaves_no_thread_in_the_environment(tmp_path):
    run = start(tmp_path, overlap=True, skips=lambda update: update > 6, max_bad_updates=2)
    with pytest.raises(update_phase.BadNumbers):
        loop.train(run)
    # Broken off episodes were not kept, and the environment answers again. Files of what the run
    # went back from stay until an episode of their number comes.
    names = sorted(path.name for path in (tmp_path / "episodes").glob("*.npz"))
    assert names == [f"{number:06d}-11.npz" for number in range(4)]
    assert len(run.replay) == run.counters.episodes == 3
    assert run.train_envs.envs[0].reset(7)["image"].shape == (64, 64, 3)


def test_several_updates_in_a_call_make_the_same_run(tmp_path):
    one, several = start(tmp_path / "one"), start(tmp_path / "several", updates_per_call=2)
    for run in (one, several):
        loop.train(run)
    assert several.agent.updates == one.agent.updates
    assert result(several) == result(one)


def test_a_finished_run_does_nothing_more(tmp_path):
    first = start(tmp_path)
    loop.train(first)
    before = result(first)
    again = start(tmp_path)
    loop.train(again)
    assert again.agent.updates == [] and result(again) == before


def test_a_smaller_period_of_evaluations_or_logs_begins_at_once(tmp_path):
    loop.train(start(tmp_path, steps=60, eval_every=100, log_every=100))
    loop.train(start(tmp_path, steps=140, eval_every=20, log_every=20))
    rows = lines(tmp_path)
    tested = [row["step"] for row in rows if "test/return" in row]
    assert tested == [40, 60, 80, 100, 120, 140]
    assert [row["step"] for row in rows if "actor_loss" in row] == [60, 100, 120, 140]


def test_more_steps_go_on(tmp_path):
    loop.train(start(tmp_path, steps=100))
    run = start(tmp_path, steps=140)
    loop.train(run)
    assert run.train_envs.envs[0].episodes == [5, 6]
    assert [row["step"] for row in lines(tmp_path) if "train/return" in row] == list(
        range(20, 141, 20)
    )


def test_a_failed_episode_is_done_again_with_the_same_outcome(tmp_path):
    whole, run = start(tmp_path / "whole"), start(tmp_path / "broken", fails=[1, 3, 3])
    for r in (whole, run):
        loop.train(r)
    assert run.train_envs.envs[0].episodes == [0, 1, 1, 2, 3, 3, 3, 4, 5, 6]
    assert run.counters.env_failures == 3
    assert result(run)[:2] == result(whole)[:2]
    counted = [row["env_failures"] for row in lines(run.folder) if "env_failures" in row]
    assert counted == [0, 1, 1, 3, 3, 3, 3]


def test_an_episode_that_always_fails_is_skipped_and_counted(tmp_path, caplog):
    run = start(tmp_path, broken={0, 1, 4}, broken_tests={1}, env_restarts=2)
    loop.train(run)
    played = run.train_envs.envs[0].episodes
    assert played == [0, 0, 0, 1, 1, 1, 2, 3, 4, 4, 4, 5, 6, 7, 8, 9]
    assert run.test_envs.envs[0].episodes == [0, 1, 1, 1, 2, 3, 4]
    counters = run.checkpoints.load_newest()[1]
    assert (counters.episodes, counters.test_episodes, counters.steps) == (7, 5, 140)
    assert (counters.skipped_episodes, counters.skipped_tests) == (3, 1)
    assert counters.env_failures == 4 * 3
    counted = [row["skipped_episodes"] for row in lines(tmp_path) if "skipped_episodes" in row]
    assert counted == [2, 2, 3, 3, 4, 4, 4]
    for episode in ("training episode 0", "training episode 4", "evaluation episode 1"):
        text = f"{episode} failed 3 times: always at 0x"
        [told] = [line for line in caplog.messages if text in line]
        assert told.endswith("; it is skipped")
    # Files and noise go on by their own count.
    assert sorted(result(run)[1]) == [f"{n:06d}-11.npz" for n in range(7)]
    numbers = [acted[1] for acted in run.agent.acted if acted[0]]
    assert set(numbers) == {4, 5, 6, 7, 8, 9}


@pytest.mark.parametrize("envs, overlap", [(1, False), (1, True), (3, False), (3, True)])
def test_a_run_with_skipped_episodes_goes_on_as_it_would_have(tmp_path, envs, overlap):
    options = {"envs": envs, "overlap": overlap, "steps": 300}
    options |= {"broken": {0, 1, 4, 5, 8, 13}, "broken_tests": {0, 2}}
    whole = start(tmp_path / "whole", **options)
    loop.train(whole)
    assert whole.counters.skipped_episodes == 6 and whole.counters.skipped_tests == 2
    calls = iter(range(10**6))
    for patience in (7, 60, 100, 10**6):
        last = next(calls) + patience
        run = start(tmp_path / "cut", lambda last=last: next(calls) > last, **options)
        try:
            loop.train(run)
        except run_state.Interrupted:
            continue
    assert result(run) == result(whole)
    timed = {"sums": {}, "metrics_bytes": 0}
    assert vars(run.counters) | timed == vars(whole.counters) | timed


def test_stops_between_the_tries_of_an_episode_count_no_failure_twice(tmp_path):
    whole = start(tmp_path / "whole", broken={3})
    loop.train(whole)
    for moment in range(46, 66, 2):
        run = in_pieces(tmp_path / str(moment), [(moment, run_state.Interrupted)], broken={3})
        assert result(run) == result(whole), moment


def test_workers_that_end_with_the_run_are_no_failure(tmp_path):
    """As where a scheduler sends SIGTERM to all processes of a job."""
    run = start(tmp_path, fails=[3], env_restarts=0)
    env, real = run.train_envs.envs[0], run.train_envs.envs[0].step

    def step(action):
        if env.episodes[-1] == 3:
            run.stopping = lambda: True
            raise WorkerError("died with signal SIGTERM", episode=3)
        return real(action)

    env.step = step
    with pytest.raises(run_state.Interrupted):
        loop.train(run)
    assert run.train_envs.envs == [env] and run.counters.env_failures == 0
    assert run.checkpoints.load_newest()[1].episodes == 3


def test_a_video_whose_process_ends_with_the_run_is_no_failure(tmp_path, monkeypatch):
    run = start(tmp_path, video="mp4")

    def save_video(*_):
        run.stopping = lambda: True
        raise OSError("ffmpeg wrote no video")

    monkeypatch.setattr(loop.video_files, "save_video", save_video)
    with pytest.raises(run_state.Interrupted):
        loop.train(run)
    assert run.counters.evaluated_at is None


def test_without_its_video_an_evaluation_counts_all_the_same(tmp_path, monkeypatch, caplog):
    run = start(tmp_path, video="mp4")

    def save_video(*_):
        raise OSError("ffmpeg wrote no video: Killed")

    monkeypatch.setattr(loop.video_files, "save_video", save_video)
    loop.train(run)
    assert run.counters.evaluated_at == run.counters.steps
    told = "no video of this evaluation: ffmpeg wrote no video: Killed (--video=none makes none)"
    assert set(caplog.messages) == {told}


def test_many_skipped_updates_are_warned_of(tmp_path, caplog):
    """Also where never so many in a row are skipped that the run would go back."""
    run = start(tmp_path, skips=lambda update: update % 3 == 2)
    loop.train(run)
    assert len(caplog.messages) > 1
    for line in caplog.messages:
        assert re.fullmatch(r"\d+ of the last \d+ updates were skipped: .* not finite", line), line


def test_one_failing_episode_of_a_round_is_made_up_for(tmp_path):
    run = start(tmp_path, envs=3, prefill=60, steps=60, broken={1, 3})
    loop.train(run)
    kept = [np.load(path)["image"][0, 0, 0, 0] for path in sorted(tmp_path.glob("episodes/*"))]
    assert kept == [0, 2, 4] and run.counters.skipped_episodes == 2


def test_an_episode_that_fails_in_other_ways_is_not_skipped(tmp_path):
    """Twice in one way and twice in another: no way has come three times."""
    run = start(tmp_path, fails=[2, 2], broken=set())
    env, times = run.train_envs.envs[0], iter(range(2))
    real = env.reset

    def reset(episode):
        if episode == 2 and next(times, None) is not None:
            raise WorkerError("no room", episode=episode)
        return real(episode)

    env.reset = reset
    loop.train(run)
    assert run.counters.env_failures == 4 and run.counters.skipped_episodes == 0


@pytest.mark.parametrize("allowed", [0, 1, 2])
def test_how_often_an_episode_may_fail(tmp_path, allowed):
    run = start(tmp_path, broken={3}, episode_failures=allowed, env_restarts=4)
    if allowed == 0:
        with pytest.raises(WorkerError, match="5 failures within an hour, the last: always"):
            loop.train(run)
    else:
        loop.train(run)
        assert run.counters.env_failures == allowed and run.counters.skipped_episodes == 1


def test_an_environment_that_can_play_no_episode_ends_the_run(tmp_path):
    run = start(tmp_path, broken=range(2, 1000), env_restarts=8)
    with pytest.raises(WorkerError, match="9 episodes in a row failed, the last: always at 0x"):
        loop.train(run)
    assert run.counters.env_failures == 9 * 3 and run.checkpoints.load_newest()[1].episodes == 2


def test_too_many_failures_stop_the_run_at_its_checkpoint(tmp_path):
    run = start(tmp_path, fails=[3] * 5, env_restarts=4, episode_failures=0)
    with pytest.raises(WorkerError, match="5 failures within an hour, the last: the fake broke"):
        loop.train(run)
    _, counters = run.checkpoints.load_newest()
    assert counters.episodes == 3 and counters.steps == 60


def test_failures_longer_ago_than_an_hour_are_forgiven(monkeypatch):
    times = iter([0.0, 10.0, 20.0, 3600 + 15.0, 3600 + 16.0])
    clock = SimpleNamespace(monotonic=lambda: next(times))
    monkeypatch.setattr("clion_tf.envs.supervised_envs.time", clock)
    failing = CountingEnv(fails=[0] * 4)
    env = SupervisedEnvs(lambda: failing, 3, same_way=0)

    def task(envs):
        envs[0].reset(0)
        return [envs[0].step(np.zeros(2)) for _ in range(4)]

    assert env.attempt(task, lambda: None)[3][1] == 4.0


def test_skipped_updates_are_counted_and_leave_the_means_alone(tmp_path):
    run = start(tmp_path, skips=lambda update: update in (0, 3, 6))
    loop.train(run)
    logged = [row for row in lines(tmp_path) if "skipped_updates" in row]
    assert [row["skipped_updates"] for row in logged] == [2, 1, 0]
    assert logged[0]["actor_loss"] == np.mean([1, 2, 4])
    assert run.counters.rollbacks == 0


def test_a_run_of_bad_updates_goes_back_once_and_draws_other_batches(tmp_path):
    run = start(tmp_path, max_bad_updates=2, skips=lambda update: update in (6, 7))
    run.folder.diagnostics.mkdir()
    there = [run.folder.diagnostics / f"{steps:09d}.json" for steps in (60, 61)]
    for path in there:
        path.write_text("{}")
    loop.train(run)
    assert [path.exists() for path in there] == [True, False]  # What comes after is taken back.
    # Updates 5 to 7 were the phase at 60 steps; it is done again under other numbers.
    assert run.agent.updates[:8] == list(range(8))
    assert run.agent.updates[8:11] == [(1 << 32) + n for n in (5, 6, 7)]
    assert run.counters.steps == 140 and run.counters.updates == 17
    trains = [row["step"] for row in lines(tmp_path) if "train/return" in row]
    assert trains == list(range(20, 141, 20))


def test_it_goes_back_to_before_the_bad_updates_began(tmp_path):
    """Checkpoints that were made among them are no good, and would come back after a stop."""
    run = start(tmp_path, max_bad_updates=4, skips=lambda update: 8 <= update < 1 << 32)
    loop.train(run)
    # The phase at 80 steps is bad, and so is the first update of that at 100.
    assert run.agent.updates[:12] == list(range(12))
    assert run.agent.updates[12:15] == [(1 << 32) + n for n in (8, 9, 10)]
    assert run.counters.rollbacks == 1 and run.counters.steps == 140


def test_no_stop_brings_back_what_came_before_going_back(tmp_path):
    """A checkpoint of a stop has more steps than the one that bad numbers lead back to."""
    options = {"save_every": 50, "max_bad_updates": 2, "skips": lambda update: update in (12, 13)}
    whole = start(tmp_path / "whole", **options)
    loop.train(whole)
    # Stopped before those updates, at 100 steps; and after going back from them to 60, at 80.
    moments = [(82, run_state.Interrupted), (15, run_state.Interrupted)]
    again = in_pieces(tmp_path / "again", moments, **options)
    assert whole.counters.rollbacks == again.counters.rollbacks == 1
    assert result(again) == result(whole)
    rows = map(json.loads, whole.folder.metrics_file.read_text().splitlines())
    made = [round(row["updates_per_second"] * row["loop_seconds"]) for row in rows if "fps" in row]
    assert made == [5, 6, 6]  # And not those since the line that was taken back.


def test_bad_numbers_for_the_second_time_stop_with_a_dump(tmp_path):
    run = start(tmp_path, max_bad_updates=2, skips=lambda update: update & 0xFFFFFFFF in (6, 7))
    with pytest.raises(update_phase.BadNumbers, match=r"update 7\).*bad-update-000000007.npz"):
        loop.train(run)
    with np.load(tmp_path / "bad-update-000000007.npz") as dump:
        expected = run.replay.sample(2, (1 << 32) + 7)
        assert all(np.array_equal(dump[key], value) for key, value in expected.items())
        assert "--max_bad_updates=2" in str(dump["options"])
    assert run.checkpoints.load_newest()[1].steps == 60


def test_capacity_bounds_the_files(tmp_path):
    run = start(tmp_path, replay_capacity=60, keep_checkpoints=1, steps=240)
    run.replay.capacity = 30  # What assemble passes: transitions, not environment steps.
    loop.train(run)
    names = sorted(p.name for p in (tmp_path / "episodes").glob("*.npz"))
    assert names == [f"{n:06d}-11.npz" for n in (9, 10, 11)]
    assert len(run.replay) == 3


def test_an_older_checkpoint_finds_its_episodes(tmp_path):
    run = start(tmp_path, replay_capacity=60, keep_checkpoints=3, steps=240)
    run.replay.capacity = 30
    loop.train(run)
    _, oldest = load(run.checkpoints.paths()[-1], arrays=False)
    assert oldest.episodes == 10
    replay = Replay(tmp_path / "episodes", 4, shapes=SHAPES, capacity=30)
    assert replay.load(oldest.episodes) == 3
    assert [p.name[:6] for p in sorted((tmp_path / "episodes").glob("*.npz"))] == [
        f"{n:06d}" for n in range(7, 12)
    ]


def test_a_run_made_longer_is_not_evaluated_twice_at_its_former_end(tmp_path):
    loop.train(start(tmp_path, steps=120))
    loop.train(start(tmp_path, steps=160))
    tests = [row["step"] for row in lines(tmp_path) if "test/return" in row]
    assert tests == [40, 80, 120, 160]


def test_evaluations_do_not_lag_behind_long_rounds(tmp_path):
    run = start(tmp_path, envs=4, eval_every=20, prefill=80, steps=640)
    loop.train(run)
    assert run.counters.next_eval > run.counters.steps - 80
    tests = [row["step"] for row in lines(tmp_path) if "test/return" in row]
    assert tests == list(range(80, 641, 80))


def test_exploration_decays_to_its_minimum():
    config = Config(expl_amount=0.4, expl_decay=100.0, expl_min=0.05)
    assert config.exploration(0) == 0.4
    assert config.exploration(100) == pytest.approx(0.2)
    assert config.exploration(10**6) == 0.05
    assert Config().exploration(10**6) == 0.3


def test_going_back_is_going_on_from_the_checkpoint(tmp_path):
    options = {"save_every": 50, "max_bad_updates": 2}
    back = start(tmp_path / "back", skips=lambda update: update in (9, 10), **options)
    loop.train(back)
    cut = start(tmp_path / "on", stopping=asked_at(65, Killed), **options)
    with pytest.raises(Killed):
        loop.train(cut)
    cut.logger.close()
    on = start(tmp_path / "on", **options)
    on.counters.rollbacks = 1  # Other numbers, so other batches.
    loop.train(on)
    assert back.counters.rollbacks == 1 and result(back) == result(on)


def test_bad_updates_that_are_not_in_a_row_are_only_skipped(tmp_path):
    run = start(tmp_path, max_bad_updates=2, skips=lambda update: update % 2 == 0)
    loop.train(run)
    assert run.counters.rollbacks == 0 and run.agent.updates == list(range(17))


def test_an_evaluation_is_the_mean_over_episodes_of_their_own(tmp_path):
    run = start(tmp_path, eval_episodes=3)
    env = run.test_envs.envs[0]
    step = env.step

    def worth_its_number(action):
        observation, _, *rest = step(action)
        return observation, float(env.episodes[-1]), *rest

    env.step = worth_its_number
    loop.train(run)
    assert env.episodes == list(range(12))
    returns = [row["test/return"] for row in lines(tmp_path) if "test/return" in row]
    assert returns == [10.0, 40.0, 70.0, 100.0]
