"""Algorithm 1: seed episodes; then for ever evaluate, update, interact, save.

The loop counts, logs and saves; it never sees a network or a renderer. Everything it does is a
function of the options and the counters, so that a run continued from a checkpoint repeats what
the interrupted one did.
"""

import dataclasses
import pathlib
import time
from collections.abc import Callable

import numpy as np

from clion_tf import report, video
from clion_tf.checkpoint import Checkpoints, Counters
from clion_tf.config import Config
from clion_tf.episodes import Episode
from clion_tf.interaction import AgentPolicy, Policy, RandomPolicy, run_episode
from clion_tf.logger import Logger, Progress
from clion_tf.replay import Replay, prefetch

FPS = 20  # Of saved videos, in agent steps a second.


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
    train_env: object
    test_env: object
    replay: Replay
    logger: Logger
    progress: Progress
    checkpoints: Checkpoints
    counters: Counters
    stopping: Callable[[], bool]


def train(run: Run) -> None:
    """Until `steps` environment steps are done.

    Raises:
      Interrupted: when asked to stop.
      WorkerError: when an environment fails.
    """
    config, counters = run.config, run.counters
    started = _clock(run)
    while counters.steps < config.steps:
        if counters.steps < config.prefill:
            policy = RandomPolicy(
                run.agent.sizes.action_size, run.agent.sizes.discrete, config.seed
            )
        else:
            _prepare_phase(run)
            policy = AgentPolicy(
                run.agent, training=True, amount=exploration(config, counters.steps)
            )
        _collect(run, policy)
        _write_metrics(run, started)
        save(run)
    if counters.evaluated_at != counters.steps and counters.updates:
        evaluate(run)
        save(run)


def exploration(config: Config, steps: int) -> float:
    """Exploration amount after so many environment steps (Dreamer)."""
    amount = config.expl_amount
    if config.expl_decay:
        amount *= 0.5 ** (steps / config.expl_decay)
    return max(config.expl_min, amount)


def save(run: Run) -> None:
    """Writes a checkpoint of everything that a resumed run needs."""
    run.counters.metrics_bytes = run.logger.position
    variables = {name: v.numpy() for name, v in run.agent.named_state().items()}
    run.checkpoints.save(variables, run.counters)


def evaluate(run: Run) -> None:
    """Episodes with the evaluation policy: returns, a video, pictures of what the model sees."""
    config, counters = run.config, run.counters
    policy = AgentPolicy(run.agent, training=False, amount=config.eval_noise)
    returns, lengths = [], []
    for number in range(config.eval_episodes):
        episode = run_episode(
            run.test_env, policy, counters.test_episodes, lambda _: _check_stop(run)
        )
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


def _prepare_phase(run: Run) -> None:
    """Before an episode with the agent: an evaluation and updates, when they are due."""
    config, counters = run.config, run.counters
    if counters.next_eval is None or counters.steps >= counters.next_eval:
        first = counters.steps if counters.next_eval is None else counters.next_eval
        counters.next_eval = first + config.eval_every
        evaluate(run)
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
    begin, start = counters.updates, time.perf_counter()
    vectors = []
    draw = run.replay.sample_fn(config.batch_size)
    for update, batch in prefetch(draw, range(begin, begin + count)):
        _check_stop(run)
        vectors.append(run.agent.train(batch, update))
        counters.updates += 1
        speed = len(vectors) / (time.perf_counter() - start)
        run.progress.note(train=counters.train_return, updates_per_second=speed)
    if vectors:
        total = np.sum([vector.numpy() for vector in vectors], 0, dtype=np.float64)
        for name, value in zip(run.agent.metric_names, total.tolist(), strict=True):
            counters.sums[name] = counters.sums.get(name, 0.0) + value
        counters.sums_count += count


def _collect(run: Run, policy: Policy) -> None:
    """One episode into the replay."""
    config, counters = run.config, run.counters
    before = counters.steps

    def on_step(step: int) -> None:
        _check_stop(run)
        run.progress.advance(before + step * config.action_repeat)

    episode = run_episode(run.train_env, policy, counters.episodes, on_step)
    run.replay.add(episode)
    length = len(episode["reward"]) - 1
    counters.episodes += 1
    counters.steps += length * config.action_repeat
    counters.train_return = float(episode["reward"].sum())
    groups = {"train": {"return": counters.train_return, "length": length}}
    run.logger.scalars(counters.steps, {**groups, "": {"episodes": counters.episodes}})
    run.progress.note(train=counters.train_return)
    run.progress.advance(counters.steps)


def _write_metrics(run: Run, clock: Callable[[], tuple[float, float]]) -> None:
    """One line with the mean of the updates' metrics, every `log_every` environment steps."""
    config, counters = run.config, run.counters
    text = f"[{counters.steps}] train return {counters.train_return:.1f}"
    if counters.next_log is None:
        counters.next_log = counters.steps + config.log_every
    if counters.sums_count and counters.steps >= counters.next_log:
        counters.next_log += config.log_every
        groups: dict[str, dict[str, float]] = {}
        for name, total in counters.sums.items():
            group, leaf = name.split("/", 1)
            groups.setdefault(group, {})[leaf] = total / counters.sums_count
        steps_per_second, updates_per_second = clock()
        groups["speed"] = {"fps": steps_per_second, "updates_per_second": updates_per_second}
        groups["behaviour"]["expl_amount"] = exploration(config, counters.steps)
        groups[""] = {"updates": counters.updates}
        run.logger.scalars(counters.steps, groups)
        text += f", model loss {groups['model']['model_loss']:.1f}"
        text += f", {steps_per_second:.1f} steps/s"
        counters.sums, counters.sums_count = {}, 0
    run.progress.message(text)


def _clock(run: Run) -> Callable[[], tuple[float, float]]:
    """Environment steps and updates per second since it was last asked."""
    last = [time.perf_counter(), run.counters.steps, run.counters.updates]

    def ask() -> tuple[float, float]:
        now = [time.perf_counter(), run.counters.steps, run.counters.updates]
        seconds, steps, updates = (new - old for new, old in zip(now, last, strict=True))
        last[:] = now
        return steps / seconds, updates / seconds

    return ask


def _check_stop(run: Run) -> None:
    if run.stopping():
        raise Interrupted
