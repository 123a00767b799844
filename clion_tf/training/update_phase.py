"""Phases of updates: when they are due, skipped updates, and the log of metrics' means."""

import contextlib
import functools
import itertools
import logging
import time
from collections.abc import Iterable

import numpy as np

from clion_tf.replay.replay_buffer import prefetch
from clion_tf.replay.stopwatch import PARTS
from clion_tf.training.run_state import BadNumbers, Interrupted, Run

_log = logging.getLogger(__name__)
MANY = 0.05  # A larger part of skipped updates is warned of.


def update_if_due(run: Run) -> None:
    """The phases that are due, C updates for every T environment steps (Algorithm 1)."""
    config, counters = run.config, run.counters
    if counters.last_train is None:
        counters.last_train = counters.steps
        counters.updates_due += config.pretrain
    # More than one phase is due after episodes longer than train_every.
    phases = (counters.steps - counters.last_train) // config.train_every
    counters.last_train += phases * config.train_every
    counters.updates_due += phases * config.train_steps
    if counters.updates_due:
        _update(run)


def _update(run: Run) -> None:
    counters, each = run.counters, run.updates_per_call
    start = time.perf_counter()
    draw = functools.partial(run.replay.sample, run.config.batch_size)
    first = run.next_update
    numbers = range(first, first + counters.updates_due)
    with contextlib.closing(prefetch(draw, numbers, depth=2 * each)) as batches:
        while True:
            with run.watch("wait"):
                due = list(itertools.islice(batches, each))
            if not due:
                return
            if run.stopping():
                raise Interrupted
            with run.watch("update"):
                which, drawn = zip(*due, strict=True)
                if run.team is not None:
                    run.team.announce(run, which, numbers[-1])
                rows: Iterable[np.ndarray]
                if each > 1 and len(due) == each:
                    rows = run.agent.train_several(drawn, which)
                else:
                    rows = [run.agent.train(batch, number) for number, batch in due]
            for row in rows:
                _count(run, dict(zip(run.agent.metric_names, row.tolist(), strict=True)))
            speed = (run.next_update - first) / (time.perf_counter() - start)
            run.progress.show(counters.steps, updates_per_second=speed)


def _count(run: Run, metrics: dict[str, float]) -> None:
    """Notes that an update was made, with its metrics for the log, or skipped."""
    counters = run.counters
    counters.updates += 1
    counters.updates_due -= 1
    if not metrics.pop("model/skipped"):
        counters.bad_run = 0
        counters.sums_count += 1
        for name, value in metrics.items():
            counters.sums[name] = counters.sums.get(name, 0.0) + value
        return
    counters.skipped += 1
    counters.bad_run += 1
    if counters.bad_run >= run.config.max_bad_updates:
        what = "updates in a row had losses or gradients that are not finite"
        raise BadNumbers(f"{counters.bad_run} {what} (update {counters.updates - 1})")


def log_if_due(run: Run) -> None:
    """Every `log_every` environment steps what was gathered; a line on the console always."""
    counters, every = run.counters, run.config.log_every
    text = f"[{counters.steps}] train return {counters.train_return:.1f}"
    if counters.next_log is None:
        counters.next_log = counters.steps + every
    counters.next_log = min(counters.next_log, counters.steps + every)
    made, skipped = counters.sums_count + counters.skipped, counters.skipped
    if counters.steps >= counters.next_log and (groups := log_gathered(run)):
        counters.next_log += every
        losses = groups["behaviour"] | groups["model"]
        for name in ("critic_loss", "model_loss"):  # An agent has one of them.
            if name in losses:
                text += f", {name.replace('_', ' ')} {losses[name]:.5g}"
        if "fps" in groups["speed"]:
            text += f", {groups['speed']['fps']:.1f} steps/s"
        if skipped > MANY * made:
            why = "losses or gradients were not finite"
            _log.warning("%d of the last %d updates were skipped: %s", skipped, made, why)
    run.progress.message(text)


def log_gathered(run: Run, stopped: bool = False) -> dict[str, dict[str, float]]:
    """Logs and returns the means since the last line, {group: {name: value}}, {} if none."""
    counters = run.counters
    made = counters.sums_count + counters.skipped
    if not made:
        return {}
    groups: dict[str, dict[str, float]] = {
        "": {"updates": counters.updates},
        "model": {"skipped_updates": counters.skipped},
        "behaviour": {"expl_amount": run.config.exploration(counters.steps)},
    }
    for name, total in counters.sums.items():
        group, leaf = name.split("/", 1)
        groups.setdefault(group, {})[leaf] = total / counters.sums_count
    seconds, parts = run.watch.take()
    steps, updates = counters.steps - run.timed_from[0], counters.updates - run.timed_from[1]
    run.timed_from = counters.steps, counters.updates
    groups["speed"] = {
        "updates_per_second": updates / seconds,
        "loop_seconds": seconds,
        **{f"{part}_seconds": parts.get(part, 0.0) for part in PARTS},
    }
    # No fps if some of the updates came before a resume, or no step came since the last line.
    if steps and updates >= made:
        groups["speed"]["fps"] = steps / seconds
    if logged := counters.steps - counters.logged_at:
        groups["speed"]["updates_per_env_step"] = made / logged
    # A resumed run removes the line of a stop. TensorBoard cannot, so it does not get that line.
    run.logger.scalars(counters.steps, groups, events=not stopped)
    if not stopped:
        counters.sums, counters.sums_count, counters.skipped = {}, 0, 0
        counters.logged_at = counters.steps
    return groups
