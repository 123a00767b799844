"""Algorithm 1: seed episodes; then for ever evaluate, update, interact, save at times.

The loop never sees a network or a renderer. Everything it does is a function of the options and
the counters, so that a run continued from a checkpoint repeats what the interrupted one did.
"""

import concurrent.futures
import threading

from clion_tf.envs import EnvError
from clion_tf.replay.episode_player import Policy, TimedPolicy
from clion_tf.training.evaluation_phase import evaluate, evaluate_if_due
from clion_tf.training.run_state import BadNumbers, Interrupted, Run
from clion_tf.training.update_phase import update_if_due


def train(run: Run) -> None:
    """Until `steps` environment steps are done.

    Raises:
      Interrupted: when asked to stop.
      WorkerError: when an environment fails too often.
      BadNumbers: when losses or gradients stay not finite after going back to a checkpoint.
    """
    run.gathered.start()
    try:
        # One thread for the whole run: a worker process ends with the thread that started it.
        with concurrent.futures.ThreadPoolExecutor(1) as beside:
            while not run.finished:
                try:
                    _iteration(run, beside)
                except BadNumbers as error:
                    run.roll_back(error)
        _finish(run)
    except (Interrupted, EnvError):
        _stop(run)
        raise


def _iteration(run: Run, beside: concurrent.futures.Executor) -> None:
    """Evaluation and updates if due, an episode in each environment, a checkpoint if due."""
    run.resumable = True
    # Seed episodes come first, also for an agent that was trained elsewhere (clion_tf.dreamer).
    if run.seeding:
        _collect(run, run.random_policy())
    else:
        evaluate_if_due(run)
        # The first phase comes before the first episode in any case: nothing is learned yet.
        counters = run.counters
        if run.config.overlap and counters.last_train is not None and not counters.updates_due:
            run.agent.remember()
            _collect_beside(run, run.exploring_policy(earlier=True), beside)
        else:
            update_if_due(run)
            _collect(run, run.exploring_policy())
    run.log_if_due()
    run.save_if_due()


def _collect(run: Run, policy: Policy) -> None:
    """Episodes into the replay, one from each environment."""
    before = run.counters.steps

    def advance(step: int) -> None:
        run.progress.advance(before + step * run.config.action_repeat)

    with run.watch("environment"):
        played = run.play_round(TimedPolicy(policy, run.watch), advance)
    run.add(played)


def _collect_beside(run: Run, policy: Policy, beside: concurrent.futures.Executor) -> None:
    """Episodes in another thread while the updates are made that are due before them.

    Meanwhile a checkpoint would lack the networks from before the updates, which act.
    """
    given_up = threading.Event()
    run.resumable = False

    def go_on(step: int) -> None:
        if given_up.is_set():
            raise Interrupted

    future = beside.submit(run.play_round, policy, go_on)
    try:
        update_if_due(run)
    except BaseException:
        given_up.set()
        concurrent.futures.wait([future])  # The environments must be free for what comes next.
        raise
    with run.watch("environment"):
        played = future.result()
    run.add(played)


def _finish(run: Run) -> None:
    """The evaluation at the end, the last line of metrics, the last checkpoint."""
    if run.counters.evaluated_at != run.counters.steps and run.counters.updates:
        evaluate(run)
    run.log_rest()
    if run.unsaved:
        run.save()


def _stop(run: Run) -> None:
    """Saves where the run stands, if it can go on from there, and what it has gathered.

    The line comes after the checkpoint, so that a resumed run takes it back and writes the whole.
    """
    if run.resumable and run.unsaved:
        run.save(stopped=True)
    run.log_rest(final=False)
