"""Algorithm 1: seed episodes; then for ever evaluate, update, interact, save at times.

The loop counts, logs and saves; it never sees a network or a renderer. Everything it does is a
function of the options and the counters, so that a run continued from a checkpoint repeats what
the interrupted one did.
"""

import concurrent.futures
import contextlib
import math
import threading
import time
from collections.abc import Callable, Iterator

from clion_tf.config import Config
from clion_tf.envs import EnvError
from clion_tf.logdir.checkpoints import CheckpointError, Counters
from clion_tf.replay.episode_files import Episode
from clion_tf.replay.episode_player import AgentPolicy, Policy, RandomPolicy, TimedPolicy
from clion_tf.replay.stopwatch import PARTS
from clion_tf.training.evaluation_phase import evaluate, evaluate_if_due
from clion_tf.training.run_state import Interrupted, Played, Run, play_episodes
from clion_tf.training.update_phase import BadNumbers, go_back, update_if_due

# Environment steps and updates per second, and seconds: of all and of each part.
Clock = Callable[[], dict[str, float]]


def train(run: Run) -> None:
    """Until `steps` environment steps are done.

    Raises:
      Interrupted: when asked to stop.
      WorkerError: when an environment fails too often.
      BadNumbers: when losses or gradients stay not finite after going back to a checkpoint.
    """
    clock = _clock(run)
    try:
        # One thread for the whole run: a worker process ends with the thread that started it.
        with concurrent.futures.ThreadPoolExecutor(1) as beside:
            while run.counters.steps < run.config.steps:
                try:
                    _iteration(run, clock, beside)
                except BadNumbers as error:
                    go_back(run, error)
        _finish(run, clock)
    except (Interrupted, EnvError):
        _stop(run, clock)
        raise


def _finish(run: Run, clock: Clock) -> None:
    """The evaluation at the end, the last line of metrics, the last checkpoint."""
    counters = run.counters
    if counters.evaluated_at != counters.steps and counters.updates:
        evaluate(run)
    if counters.sums_count or counters.skipped:
        run.logger.scalars(counters.steps, _gathered(run, clock))
        _begin_gathering(counters)
    if run.done != run.saved:
        save(run)


def _stop(run: Run, clock: Clock) -> None:
    """Saves where the run stands, if it can go on from there, and what it has gathered.

    The line comes after the checkpoint, so that a resumed run takes it back and writes the whole.
    """
    if run.resumable and run.done != run.saved:
        save(run, stopped=True)
    if run.counters.sums_count or run.counters.skipped:
        run.logger.scalars(run.counters.steps, _gathered(run, clock), events=False)


def _iteration(run: Run, clock: Clock, beside: concurrent.futures.Executor) -> None:
    """Evaluation and updates if due, an episode in each environment, a checkpoint if due."""
    config, counters = run.config, run.counters
    run.resumable = True
    # Seed episodes come first, also for an agent that was trained elsewhere (clion_tf.dreamer).
    if counters.steps - counters.begun_at < config.prefill:
        policy = RandomPolicy(run.agent.sizes.action_size, run.agent.sizes.discrete, config.seed)
        _collect(run, policy)
    else:
        evaluate_if_due(run)
        amount = exploration(config, counters.steps)
        # The first phase comes before the first episode in any case: nothing is learned yet.
        if config.overlap and counters.last_train is not None and not counters.updates_due:
            run.agent.remember()
            policy = AgentPolicy(run.agent, training=True, amount=amount, earlier=True)
            _collect_beside(run, policy, beside)
        else:
            update_if_due(run)
            _collect(run, AgentPolicy(run.agent, training=True, amount=amount))
    _write_metrics(run, clock)
    if _save_is_due(run):
        save(run)


def exploration(config: Config, steps: int) -> float:
    """Exploration amount after so many environment steps (Dreamer)."""
    amount = config.expl_amount
    if config.expl_decay:
        amount *= 0.5 ** (steps / config.expl_decay)
    return max(config.expl_min, amount)


def _save_is_due(run: Run) -> bool:
    config, steps = run.config, run.counters.steps - run.counters.saved_at
    if config.save_every and steps >= config.save_every:
        return True
    return 0 < config.save_seconds <= time.monotonic() - run.saved_time


def save(run: Run, stopped: bool = False) -> None:
    """Writes a checkpoint of everything that a resumed run needs.

    Args:
      stopped: because the run stops; the next one that is due comes when it would have come.
    """
    with run.watch("save"):
        if not stopped:
            run.counters.saved_at, run.saved_time = run.counters.steps, time.monotonic()
        run.counters.metrics_bytes = run.logger.position
        variables = {name: v.numpy() for name, v in run.agent.named_state().items()}
        run.checkpoints.save(variables, run.counters, stopped)
        run.saved = run.done
        if run.config.replay_capacity:
            with contextlib.suppress(CheckpointError):  # A damaged one soon makes way.
                run.replay.prune(run.checkpoints.oldest().episodes)


def _round(run: Run) -> int:
    """How many episodes to play side by side: no more than seeding or the run's end asks for."""
    config, counters = run.config, run.counters
    done, length = counters.steps - counters.begun_at, config.time_limit
    if counters.episodes and done:
        length = done / counters.episodes  # As long as they usually are.
    left = config.steps - counters.steps
    if done < config.prefill:
        left = min(left, config.prefill - done)
    return max(1, min(config.envs, math.ceil(left / length)))


def _collect(run: Run, policy: Policy) -> None:
    """Episodes into the replay, one from each environment."""
    before = run.counters.steps

    def advance(step: int) -> None:
        run.progress.advance(before + step * run.config.action_repeat)

    with run.watch("environment"):
        policy = TimedPolicy(policy, run.watch)
        played = play_episodes(run, run.train_envs, policy, _next(run), _round(run), advance)
    _add_episodes(run, played)


def _collect_beside(run: Run, policy: Policy, beside: concurrent.futures.Executor) -> None:
    """Episodes in another thread while the updates are made that are due before them.

    Meanwhile a checkpoint would lack the networks from before the updates, which act.
    """
    given_up = threading.Event()
    run.resumable = False

    def go_on(step: int) -> None:
        if given_up.is_set():
            raise Interrupted

    first, count = _next(run), _round(run)
    future = beside.submit(play_episodes, run, run.train_envs, policy, first, count, go_on)
    try:
        update_if_due(run)
    except BaseException:
        given_up.set()
        concurrent.futures.wait([future])  # The environments must be free for what comes next.
        raise
    with run.watch("environment"):
        played = future.result()
    _add_episodes(run, played)


def _next(run: Run) -> int:
    """The number of the next training episode."""
    return run.counters.episodes + run.counters.skipped_episodes


def _add_episodes(run: Run, played: Played) -> None:
    run.counters.skipped_episodes += played.skipped
    for episode in played.episodes:
        _add_episode(run, episode)
    run.resumable = True


def _add_episode(run: Run, episode: Episode) -> None:
    config, counters = run.config, run.counters
    run.replay.add(episode)
    length = len(episode["reward"]) - 1
    counters.episodes += 1
    counters.steps += length * config.action_repeat
    counters.train_return = float(episode["reward"].sum())
    groups = {"train": {"return": counters.train_return, "length": length}}
    groups[""] = {
        "episodes": counters.episodes,
        "env_failures": counters.env_failures,
        "skipped_episodes": counters.skipped_episodes + counters.skipped_tests,
    }
    run.logger.scalars(counters.steps, groups)
    run.progress.note(train=counters.train_return)
    run.progress.advance(counters.steps)


def _write_metrics(run: Run, clock: Clock) -> None:
    """One line with the mean of the updates' metrics, every `log_every` environment steps."""
    config, counters = run.config, run.counters
    text = f"[{counters.steps}] train return {counters.train_return:.1f}"
    if counters.next_log is None:
        counters.next_log = counters.steps + config.log_every
    if (counters.sums_count or counters.skipped) and counters.steps >= counters.next_log:
        counters.next_log += config.log_every
        groups = _gathered(run, clock)
        run.logger.scalars(counters.steps, groups)
        text += "".join(_loss(groups))
        text += f", {groups['speed']['fps']:.1f} steps/s"
        _begin_gathering(counters)
    run.progress.message(text)


def _gathered(run: Run, clock: Clock) -> dict[str, dict[str, float]]:
    """By group and name, the means of the updates' metrics since the last line."""
    counters = run.counters
    groups: dict[str, dict[str, float]] = {"": {"updates": counters.updates}}
    for name, total in counters.sums.items():
        group, leaf = name.split("/", 1)
        groups.setdefault(group, {})[leaf] = total / counters.sums_count
    groups["speed"] = clock()
    if steps := counters.steps - counters.logged_at:
        made = counters.sums_count + counters.skipped
        groups["speed"]["updates_per_env_step"] = made / steps
    groups.setdefault("model", {})["skipped_updates"] = counters.skipped
    groups.setdefault("behaviour", {})["expl_amount"] = exploration(run.config, counters.steps)
    return groups


def _begin_gathering(counters: Counters) -> None:
    counters.sums, counters.sums_count, counters.skipped = {}, 0, 0
    counters.logged_at = counters.steps


def _loss(groups: dict[str, dict[str, float]]) -> Iterator[str]:
    """What a line shows of the updates: an agent has one of these losses."""
    for group, name in (("model", "model_loss"), ("behaviour", "critic_loss")):
        if name in groups.get(group, {}):
            value = groups[group][name]
            yield f", {name.replace('_', ' ')} {value:{'.1f' if abs(value) >= 100 else '.3g'}}"


def _clock(run: Run) -> Clock:
    """How fast the run was since it was last asked, and where the time went."""
    last = [run.counters.steps, run.counters.updates]
    run.watch.take()

    def ask() -> dict[str, float]:
        now = [run.counters.steps, run.counters.updates]
        seconds, parts = run.watch.take()
        steps, updates = (new - old for new, old in zip(now, last, strict=True))
        last[:] = now
        each = {f"{part}_seconds": parts.get(part, 0.0) for part in PARTS}
        speeds = {"fps": steps / seconds, "updates_per_second": updates / seconds}
        return {**speeds, "loop_seconds": seconds, **each}

    return ask
