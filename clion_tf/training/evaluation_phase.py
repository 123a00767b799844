"""Evaluations during training: returns, a video, and what the model makes of unseen data."""

import json

import numpy as np

from clion_tf.files import atomic_write
from clion_tf.pictures import video_files
from clion_tf.replay.episode_player import AgentPolicy
from clion_tf.training.run_state import Run

FPS = 20  # Of saved videos, in agent steps a second.


def evaluate_if_due(run: Run) -> None:
    """Evaluates every `eval_every` environment steps, the first time before anything is learned."""
    config, counters = run.config, run.counters
    if counters.next_eval is None:
        counters.next_eval = counters.steps
    if counters.steps < counters.next_eval:
        return
    if counters.evaluated_at != counters.steps:  # A run's end is evaluated in any case.
        with run.watch("evaluate"):
            evaluate(run)
    # With several environments a round may be longer than `eval_every`.
    periods = (counters.steps - counters.next_eval) // config.eval_every + 1
    counters.next_eval += periods * config.eval_every


def evaluate(run: Run) -> None:
    """Episodes with the evaluation policy: returns, a video, pictures of what the model sees.

    The counters change only at the end, so that an evaluation that is broken off is made again.
    """
    config, counters = run.config, run.counters
    policy = AgentPolicy(run.agent, training=False, amount=config.eval_noise)
    returns, lengths, skipped = [], [], 0
    for number in range(config.eval_episodes):
        first = counters.test_episodes + number + skipped
        [episode], more = run.play(run.test_envs, policy, first)
        skipped += more
        returns.append(float(episode["reward"].sum()))
        lengths.append(len(episode["reward"]) - 1)
        if number == 0:
            frames = episode.get("image")
    if frames is not None:
        run.logger.video(counters.steps, "test/video", frames, FPS)
        if config.video != "none":
            path = run.folder.videos / f"test-{counters.steps:09d}.{config.video}"
            video_files.save_video(path, frames, FPS)
    counters.test_episodes += config.eval_episodes + skipped
    counters.skipped_tests += skipped
    counters.test_return = float(np.mean(returns))
    counters.evaluated_at = counters.steps
    groups = {"test": {"return": counters.test_return, "length": float(np.mean(lengths))}}
    groups[""] = {"episodes": counters.episodes}
    groups |= _unseen(run)
    run.logger.scalars(counters.steps, groups)
    run.progress.note(test=counters.test_return)
    run.progress.message(f"[{counters.steps}] test return {counters.test_return:.1f}")


def _unseen(run: Run) -> dict[str, dict[str, float]]:
    """Saves pictures and diagnostics of unseen data; returns the numbers for the log."""
    if run.look is None:
        return {}
    steps, updates = run.counters.steps, run.counters.updates
    scalars, pictures, diagnostics = run.look(updates)
    for tag, frames in pictures.items():
        run.logger.video(steps, tag, frames, FPS)
    run.folder.diagnostics.mkdir(exist_ok=True)
    with atomic_write(run.folder.diagnostics / f"{steps:09d}.json") as file:
        line = {"steps": steps, "updates": updates, **diagnostics}
        file.write(json.dumps(line).encode() + b"\n")
    return scalars
