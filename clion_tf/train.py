"""Algorithm 1: seed episodes; then for ever evaluate, update, interact, save.

The loop counts, logs and saves; it never sees a network or a renderer. Everything it does is a
function of the options and the counters, so that a run continued from a checkpoint repeats what
the interrupted one did.
"""

import concurrent.futures
import contextlib
import dataclasses
import itertools
import pathlib
import threading
import time
from collections.abc import Callable

import numpy as np

from clion_tf import report, video
from clion_tf.checkpoint import Checkpoints, Counters, restore
from clion_tf.config import Config, to_flagfile
from clion_tf.envs import SupervisedEnv
from clion_tf.episodes import Episode
from clion_tf.files import atomic_write
from clion_tf.interaction import (
    AgentPolicy,
    OnStep,
    Policy,
    RandomPolicy,
    TimedPolicy,
    run_episode,
)
from clion_tf.logger import Logger, Progress
from clion_tf.replay import Batch, Replay, prefetch
from clion_tf.stopwatch import PARTS, Stopwatch

FPS = 20  # Of saved videos, in agent steps a second.
SKIPPED = "model/skipped"  # The metric that says that an update was not made.

# Environment steps and updates per second, and seconds: of all and of each part.
Clock = Callable[[], dict[str, float]]


class BadNumbers(Exception):
    """Too many updates in a row were skipped; the message is one line."""


class Interrupted(Exception):
    """The run was asked to stop; its last checkpoint is where it goes on from."""


@dataclasses.dataclass
class Run:
    """What a run works with; see `clion_tf.run` for how it is put together.

    `stopping` answers whether the run was asked to stop.
    """

    config: Config
    logdir: pathlib.Path
    agent: object
    train_env: SupervisedEnv
    test_env: SupervisedEnv
    replay: Replay
    logger: Logger
    progress: Progress
    checkpoints: Checkpoints
    counters: Counters
    stopping: Callable[[], bool]
    updates_per_call: int = 1
    watch: Stopwatch = dataclasses.field(default_factory=Stopwatch)


def train(run: Run) -> None:
    """Until `steps` environment steps are done.

    Raises:
      Interrupted: when asked to stop.
      WorkerError: when an environment fails too often.
      BadNumbers: when losses or gradients stay not finite after going back to a checkpoint.
    """
    config, counters = run.config, run.counters
    clock = _clock(run)
    # One thread for the whole run: a worker process ends with the thread that started it.
    with concurrent.futures.ThreadPoolExecutor(1) as beside:
        while counters.steps < config.steps:
            try:
                _iteration(run, clock, beside)
            except BadNumbers as error:
                _go_back(run, error)
    if counters.evaluated_at != counters.steps and counters.updates:
        evaluate(run)
        save(run)


def _iteration(run: Run, clock: Clock, beside: concurrent.futures.Executor) -> None:
    """Evaluation and updates if due, one episode, a checkpoint."""
    config, counters = run.config, run.counters
    if counters.steps < config.prefill:
        policy = RandomPolicy(run.agent.sizes.action_size, run.agent.sizes.discrete, config.seed)
        _collect(run, policy)
    else:
        _evaluate_if_due(run)
        amount = exploration(config, counters.steps)
        # The first phase comes before the first episode in any case: nothing is learned yet.
        if config.overlap and counters.last_train is not None:
            run.agent.remember()
            policy = AgentPolicy(run.agent, training=True, amount=amount, earlier=True)
            _collect_beside(run, policy, beside)
        else:
            _update_if_due(run)
            _collect(run, AgentPolicy(run.agent, training=True, amount=amount))
    _write_metrics(run, clock)
    save(run)


def exploration(config: Config, steps: int) -> float:
    """Exploration amount after so many environment steps (Dreamer)."""
    amount = config.expl_amount
    if config.expl_decay:
        amount *= 0.5 ** (steps / config.expl_decay)
    return max(config.expl_min, amount)


def save(run: Run) -> None:
    """Writes a checkpoint of everything that a resumed run needs."""
    with run.watch("save"):
        run.counters.metrics_bytes = run.logger.position
        variables = {name: v.numpy() for name, v in run.agent.named_state().items()}
        run.checkpoints.save(variables, run.counters)
        run.replay.prune(spare=run.config.keep_checkpoints)


def evaluate(run: Run) -> None:
    """Episodes with the evaluation policy: returns, a video, pictures of what the model sees."""
    config, counters = run.config, run.counters
    policy = AgentPolicy(run.agent, training=False, amount=config.eval_noise)
    returns, lengths = [], []
    for number in range(config.eval_episodes):
        episode = _episode(run, run.test_env, policy, counters.test_episodes)
        counters.test_episodes += 1
        returns.append(float(episode["reward"].sum()))
        lengths.append(len(episode["reward"]) - 1)
        if number == 0:
            _save_video(run, episode)
    counters.test_return = float(np.mean(returns))
    counters.evaluated_at = counters.steps
    groups = {"test": {"return": counters.test_return, "length": float(np.mean(lengths))}}
    groups[""] = {"episodes": counters.episodes}
    if config.log_images:
        scalars, pictures = report.newest_episode(run.agent, run.replay, config, counters.updates)
        groups |= scalars
        for tag, frames in pictures.items():
            run.logger.video(counters.steps, tag, frames, FPS)
    run.logger.scalars(counters.steps, groups)
    run.progress.note(test=counters.test_return)
    run.progress.message(f"[{counters.steps}] test return {counters.test_return:.1f}")


def _save_video(run: Run, episode: Episode) -> None:
    run.logger.video(run.counters.steps, "test/video", episode["image"], FPS)
    if run.config.video != "none":
        path = run.logdir / "videos" / f"test-{run.counters.steps:09d}.{run.config.video}"
        video.save_video(path, episode["image"], FPS)


def _evaluate_if_due(run: Run) -> None:
    config, counters = run.config, run.counters
    if counters.next_eval is None or counters.steps >= counters.next_eval:
        first = counters.steps if counters.next_eval is None else counters.next_eval
        counters.next_eval = first + config.eval_every
        with run.watch("evaluate"):
            evaluate(run)


def _update_if_due(run: Run) -> None:
    config, counters = run.config, run.counters
    if counters.last_train is None:
        counters.last_train = counters.steps
        _update(run, config.pretrain)
    # More than one phase is due after episodes longer than train_every.
    while counters.steps >= counters.last_train + config.train_every:
        counters.last_train += config.train_every
        _update(run, config.train_steps)


def _update(run: Run, count: int) -> None:
    """A phase of updates; their mean metrics are added to what the next log line shows."""
    config, counters = run.config, run.counters
    start = time.perf_counter()
    draw = run.replay.sample_fn(config.batch_size)
    # After going back the same batches and noise would lead to the same bad numbers.
    first = counters.updates + (counters.rollbacks << 32)
    numbers = range(first, first + count)
    each = run.updates_per_call
    with contextlib.closing(prefetch(draw, numbers, depth=2 * each)) as batches:
        while True:
            with run.watch("wait"):
                due = list(itertools.islice(batches, each))
            if not due:
                return
            _check_stop(run)
            with run.watch("update"):
                rows = _train(run, due)
            for (number, _), metrics in zip(due, rows, strict=True):
                counters.updates += 1
                named = dict(zip(run.agent.metric_names, metrics, strict=True))
                _add_metrics(run, named, number)
            done = counters.updates + (counters.rollbacks << 32) - first
            speed = done / (time.perf_counter() - start)
            run.progress.note(train=counters.train_return, updates_per_second=speed)


def _train(run: Run, due: list[tuple[int, Batch]]) -> list[list[float]]:
    """The updates' metrics, in order; in one call if there are as many as a call makes."""
    if run.updates_per_call > 1 and len(due) == run.updates_per_call:
        numbers, batches = zip(*due, strict=True)
        return run.agent.train_several(batches, numbers).numpy().tolist()
    return [run.agent.train(batch, number).numpy().tolist() for number, batch in due]


def _add_metrics(run: Run, metrics: dict[str, float], number: int) -> None:
    counters = run.counters
    if not metrics.pop(SKIPPED):
        counters.bad_run = 0
        counters.sums_count += 1
        for name, value in metrics.items():
            counters.sums[name] = counters.sums.get(name, 0.0) + value
        return
    counters.skipped += 1
    counters.bad_run += 1
    if counters.bad_run >= run.config.max_bad_updates:
        raise BadNumbers(
            f"{counters.bad_run} updates in a row had losses or gradients that are not finite "
            f"(update {number & 0xFFFFFFFF})",
            number,
        )


def _go_back(run: Run, error: BadNumbers) -> None:
    """Once, to the newest checkpoint, to go on with other batches; then give up with a dump."""
    text, number = error.args
    found = run.checkpoints.load_newest()
    if run.counters.rollbacks or found is None:
        path = run.logdir / f"bad-update-{number & 0xFFFFFFFF:09d}.npz"
        batch = run.replay.sample(run.config.batch_size, number)
        with atomic_write(path) as file:
            np.savez(file, options=np.array(to_flagfile(run.config)), **batch)
        raise BadNumbers(f"{text}; its batch and the options are in {path}") from error
    arrays, counters = found
    restore(run.agent.named_state(), arrays)
    vars(run.counters).update(vars(counters), rollbacks=1)
    run.replay.load(counters.episodes)
    run.logger.rewind(counters.metrics_bytes)
    run.progress.advance(counters.steps)
    run.progress.message(f"{text}; going back to {counters.steps} environment steps, once")


def _episode(
    run: Run, env: SupervisedEnv, policy: Policy, number: int, on_step: OnStep = lambda _: None
) -> Episode:
    """One episode, begun again if the environment fails."""

    def checked(step: int) -> None:
        _check_stop(run)
        on_step(step)

    def count_failure() -> None:
        run.counters.env_failures += 1

    return env.attempt(lambda e: run_episode(e, policy, number, checked), count_failure)


def _collect(run: Run, policy: Policy) -> None:
    """One episode into the replay."""
    before = run.counters.steps

    def advance(step: int) -> None:
        run.progress.advance(before + step * run.config.action_repeat)

    with run.watch("environment"):
        policy = TimedPolicy(policy, run.watch)
        episode = _episode(run, run.train_env, policy, run.counters.episodes, advance)
    _add_episode(run, episode)


def _collect_beside(run: Run, policy: Policy, beside: concurrent.futures.Executor) -> None:
    """One episode in another thread while the updates are made that are due before it."""
    given_up = threading.Event()

    def go_on(step: int) -> None:
        if given_up.is_set():
            raise Interrupted

    number = run.counters.episodes
    episode = beside.submit(_episode, run, run.train_env, policy, number, go_on)
    try:
        _update_if_due(run)
    except BaseException:
        given_up.set()
        concurrent.futures.wait([episode])  # The environment must be free for what comes next.
        raise
    with run.watch("environment"):
        _add_episode(run, episode.result())


def _add_episode(run: Run, episode: Episode) -> None:
    config, counters = run.config, run.counters
    run.replay.add(episode)
    length = len(episode["reward"]) - 1
    counters.episodes += 1
    counters.steps += length * config.action_repeat
    counters.train_return = float(episode["reward"].sum())
    groups = {"train": {"return": counters.train_return, "length": length}}
    groups[""] = {"episodes": counters.episodes, "env_failures": counters.env_failures}
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
        groups: dict[str, dict[str, float]] = {"": {"updates": counters.updates}}
        for name, total in counters.sums.items():
            group, leaf = name.split("/", 1)
            groups.setdefault(group, {})[leaf] = total / counters.sums_count
        groups["speed"] = clock()
        groups.setdefault("model", {})["skipped_updates"] = counters.skipped
        groups.setdefault("behaviour", {})["expl_amount"] = exploration(config, counters.steps)
        run.logger.scalars(counters.steps, groups)
        text += f", model loss {groups['model'].get('model_loss', float('nan')):.1f}"
        text += f", {groups['speed']['fps']:.1f} steps/s"
        counters.sums, counters.sums_count, counters.skipped = {}, 0, 0
    run.progress.message(text)


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


def _check_stop(run: Run) -> None:
    if run.stopping():
        raise Interrupted
