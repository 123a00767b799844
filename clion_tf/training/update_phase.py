"""Phases of updates: when they are due, what they add to the log, and bad numbers."""

import contextlib
import itertools
import time

from clion_tf.replay.replay_buffer import Batch, prefetch
from clion_tf.training.run_state import BadNumbers, Run

SKIPPED = "model/skipped"  # The metric that says that an update was not made.


def update_if_due(run: Run) -> None:
    """The phases that are due, C updates for every T environment steps (Algorithm 1).

    What is left of a phase that a stop broke off comes first.

    Raises:
      BadNumbers: when too many updates in a row are skipped.
    """
    config, counters = run.config, run.counters
    if counters.last_train is None:
        counters.last_train = counters.steps
        counters.updates_due += config.pretrain
    # More than one phase is due after episodes longer than train_every.
    while counters.steps >= counters.last_train + config.train_every:
        counters.last_train += config.train_every
        counters.updates_due += config.train_steps
    if counters.updates_due:
        _update(run)


def _update(run: Run) -> None:
    """The updates that are due; their mean metrics are added to what the next log line shows."""
    config, counters = run.config, run.counters
    start = time.perf_counter()
    draw = run.replay.sample_fn(config.batch_size)
    # After going back the same batches and noise would lead to the same bad numbers.
    first = counters.updates + (counters.rollbacks << 32)
    numbers = range(first, first + counters.updates_due)
    each = run.updates_per_call
    with contextlib.closing(prefetch(draw, numbers, depth=2 * each)) as batches:
        while True:
            with run.watch("wait"):
                due = list(itertools.islice(batches, each))
            if not due:
                return
            run.check_stop()
            with run.watch("update"):
                run.announce(run, [number for number, _ in due], numbers[-1])
                rows = _train(run, due)
            for (number, _), metrics in zip(due, rows, strict=True):
                named = dict(zip(run.agent.metric_names, metrics, strict=True))
                _count(run, named, number)
            done = counters.updates + (counters.rollbacks << 32) - first
            speed = done / (time.perf_counter() - start)
            run.progress.note(train=counters.train_return, updates_per_second=speed)


def _train(run: Run, due: list[tuple[int, Batch]]) -> list[list[float]]:
    """The updates' metrics, in order; in one call if there are as many as a call makes."""
    if run.updates_per_call > 1 and len(due) == run.updates_per_call:
        numbers, batches = zip(*due, strict=True)
        return run.agent.train_several(batches, numbers).numpy().tolist()
    return [run.agent.train(batch, number).numpy().tolist() for number, batch in due]


def _count(run: Run, metrics: dict[str, float], number: int) -> None:
    """Notes that an update was made, or skipped."""
    counters = run.counters
    counters.updates += 1
    counters.updates_due -= 1
    if not metrics.pop(SKIPPED):
        counters.bad_run = 0
        run.gathered.add(metrics)
        return
    counters.skipped += 1
    counters.bad_run += 1
    if counters.bad_run >= run.config.max_bad_updates:
        raise BadNumbers(
            f"{counters.bad_run} updates in a row had losses or gradients that are not finite "
            f"(update {number & 0xFFFFFFFF})",
            number,
        )
