"""Algorithm 1: seed episodes; then until `--steps` evaluate if due, update, play, save if due.

Everything is a function of the options and the counters, so that a run continued from a checkpoint
repeats what the interrupted one did.
"""

import concurrent.futures
import json
import logging
import math
import threading

import numpy as np

from clion_tf.envs import EnvError
from clion_tf.files import atomic_write
from clion_tf.pictures import video_files
from clion_tf.replay.episode_player import AgentPolicy, OnStep, Policy, RandomPolicy
from clion_tf.training.run_state import BadNumbers, Interrupted, Played, Run
from clion_tf.training.update_phase import log_gathered, log_if_due, update_if_due

_log = logging.getLogger(__name__)
FPS = 20  # Of saved videos, in agent steps a second.


def train(run: Run) -> None:
    """Until `steps` environment steps are done; raises Interrupted, EnvError or BadNumbers."""
    try:
        # One thread for the whole run: a worker process ends with the thread that started it.
        with concurrent.futures.ThreadPoolExecutor(1) as beside:
            while run.counters.steps < run.config.steps:
                try:
                    _iteration(run, beside)
                except BadNumbers as error:
                    run.roll_back(error)
        if run.counters.evaluated_at != run.counters.steps and run.counters.updates:
            evaluate(run)
        log_gathered(run)
        if run.unsaved:
            run.save()
    except (Interrupted, EnvError):
        if run.resumable and run.unsaved:
            run.save(stopped=True)
        # After the checkpoint, so that a resumed run takes it back and writes the whole.
        log_gathered(run, stopped=True)
        raise


def _iteration(run: Run, beside: concurrent.futures.Executor) -> None:
    """Evaluation and updates if due, an episode in each environment, a checkpoint if due."""
    run.resumable = True
    config, counters, agent = run.config, run.counters, run.agent
    # Seed episodes come first, also for an agent that was trained elsewhere (clion_tf.dreamer).
    if run.seeding:
        _collect(run, RandomPolicy(agent.action_size, agent.discrete, config.seed))
    else:
        evaluate_if_due(run)
        amount = config.exploration(counters.steps)
        # The first phase comes before the first episode in any case: nothing is learned yet.
        if config.overlap and counters.last_train is not None and not counters.updates_due:
            agent.snapshot_networks()
            _collect_beside(run, AgentPolicy(agent, True, amount, earlier=True), beside)
        else:
            update_if_due(run)
            _collect(run, AgentPolicy(agent, True, amount, watch=run.watch))
    log_if_due(run)
    run.save_if_due()


def _collect(run: Run, policy: Policy) -> None:
    """Episodes into the replay, one from each environment."""
    before = run.counters.steps

    def advance(step: int) -> None:
        run.progress.show(before + step * run.config.action_repeat)

    with run.watch("environment"):
        played = _play_round(run, policy, advance)
    run.add(played)


def _collect_beside(run: Run, policy: Policy, beside: concurrent.futures.Executor) -> None:
    """Episodes in another thread while the updates are made that are due before them."""
    given_up = threading.Event()
    run.resumable = False  # A checkpoint would lack the networks from before the updates.

    def go_on(step: int) -> None:
        if given_up.is_set():
            raise Interrupted

    future = beside.submit(_play_round, run, policy, go_on)
    try:
        update_if_due(run)
    except BaseException:
        given_up.set()
        concurrent.futures.wait([future])  # The environments must be free for what comes next.
        raise
    with run.watch("environment"):
        played = future.result()
    run.add(played)


def _play_round(run: Run, policy: Policy, on_step: OnStep) -> Played:
    """The next training episodes, side by side: no more than seeding or the run's end needs."""
    config, counters = run.config, run.counters
    length: float = config.time_limit
    if counters.episodes and run.own_steps:
        length = run.own_steps / counters.episodes  # As long as they usually are.
    left = config.steps - counters.steps
    if run.seeding:
        left = min(left, config.prefill - run.own_steps)
    count = max(1, min(config.envs, math.ceil(left / length)))
    first = counters.episodes + counters.skipped_episodes
    return run.play(run.train_envs, policy, first, count, on_step)


def evaluate_if_due(run: Run) -> None:
    """Every `eval_every` environment steps, the first time before anything is learned."""
    config, counters = run.config, run.counters
    if counters.next_eval is None:
        counters.next_eval = counters.steps
    # A resumed run's period may be a smaller one than before.
    counters.next_eval = min(counters.next_eval, counters.steps + config.eval_every)
    if counters.steps < counters.next_eval:
        return
    if counters.evaluated_at != counters.steps:  # A run's end is evaluated in any case.
        with run.watch("evaluate"):
            evaluate(run)
    # With several environments a round may be longer than `eval_every`.
    periods = (counters.steps - counters.next_eval) // config.eval_every + 1
    counters.next_eval += periods * config.eval_every


def evaluate(run: Run) -> None:
    """Episodes with the evaluation policy: returns, a video, pictures of what the model sees."""
    config, counters = run.config, run.counters
    policy = AgentPolicy(run.agent, training=False, amount=config.eval_noise)
    returns, lengths, skipped, failures = [], [], 0, 0
    for number in range(config.eval_episodes):
        first = counters.test_episodes + number + skipped
        played = run.play(run.test_envs, policy, first)
        [episode] = played.episodes
        skipped, failures = skipped + played.skipped, failures + played.failures
        returns.append(float(episode["reward"].sum()))
        lengths.append(len(episode["reward"]) - 1)
        if number == 0:
            frames = episode.get("image")
    if frames is not None:
        run.logger.video(counters.steps, "test/video", frames, FPS)
        if config.video != "none":
            path = run.folder.video_file("test", counters.steps, config.video)
            try:
                video_files.save_video(path, frames, FPS)
            except OSError as error:
                if run.stopping():  # Its process may have been stopped too.
                    raise Interrupted from error
                _log.warning("no video of this evaluation: %s (--video=none makes none)", error)
    # Only now, so that an evaluation that is broken off is made again.
    counters.test_episodes += config.eval_episodes + skipped
    counters.skipped_tests += skipped
    counters.env_failures += failures
    counters.test_return = float(np.mean(returns))
    counters.evaluated_at = counters.steps
    test = {"return": counters.test_return, "length": float(np.mean(lengths))}
    groups: dict[str, dict[str, float]] = {"test": test, "": {"episodes": counters.episodes}}
    run.logger.scalars(counters.steps, groups | _heldout(run))
    run.progress.show(counters.steps, test=counters.test_return)
    run.progress.message(f"[{counters.steps}] test return {counters.test_return:.1f}")


def _heldout(run: Run) -> dict[str, dict[str, float]]:
    """Saves pictures and diagnostics of unseen data; returns the numbers for the log."""
    if not run.config.log_images or not run.agent.has_world_model:
        return {}
    from clion_tf.training import heldout_diagnostics  # Here, as it loads TensorFlow.

    steps, updates = run.counters.steps, run.counters.updates
    scalars, pictures, diagnostics = heldout_diagnostics.diagnose_newest_episode(
        run.agent, run.replay, updates
    )
    for name, frames in pictures.items():
        run.logger.video(steps, f"model/{name}", frames, FPS)
        earlier = run.folder.video_files(name)
        video_files.save_clips(run.folder.video_file(name, steps, "gif"), [frames], FPS)
        for made, path in earlier:  # Of the model the newest picture is kept.
            if made != steps:
                path.unlink()
    run.folder.diagnostics.mkdir(exist_ok=True)
    with atomic_write(run.folder.diagnostics_file(steps)) as file:
        line = {"steps": steps, "updates": updates, **diagnostics}
        file.write(json.dumps(line).encode() + b"\n")
    return scalars
