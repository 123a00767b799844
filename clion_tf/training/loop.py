"""Algorithm 1: seed episodes; then for ever evaluate, update, interact, save at times.

The loop never sees a network or a renderer. Everything it does is a function of the options and
the counters, so that a run continued from a checkpoint repeats what the interrupted one did.
"""

import concurrent.futures
import math
import threading

from clion_tf.envs import EnvError
from clion_tf.replay.episode_files import Episode
from clion_tf.replay.episode_player import AgentPolicy, OnStep, Policy, RandomPolicy
from clion_tf.training.evaluation_phase import evaluate, evaluate_if_due
from clion_tf.training.run_state import BadNumbers, Interrupted, Run
from clion_tf.training.update_phase import log_if_due, log_rest, update_if_due


def train(run: Run) -> None:
    """Until `steps` environment steps are done.

    Raises Interrupted when asked to stop, WorkerError when an environment fails too often,
    BadNumbers when losses stay not finite after going back to a checkpoint.
    """
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
        log_rest(run)
        if run.unsaved:
            run.save()
    except (Interrupted, EnvError):
        if run.resumable and run.unsaved:
            run.save(stopped=True)
        # After the checkpoint, so that a resumed run takes it back and writes the whole.
        log_rest(run, final=False)
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
            agent.remember()
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
        run.progress.advance(before + step * run.config.action_repeat)

    with run.watch("environment"):
        played = _play_round(run, policy, advance)
    run.add(*played)


def _collect_beside(run: Run, policy: Policy, beside: concurrent.futures.Executor) -> None:
    """Episodes in another thread while the updates are made that are due before them.

    Meanwhile a checkpoint would lack the networks from before the updates, which act.
    """
    given_up = threading.Event()
    run.resumable = False

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
    run.add(*played)


def _play_round(run: Run, policy: Policy, on_step: OnStep) -> tuple[list[Episode], int]:
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
