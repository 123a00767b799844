"""Phases of updates: when they are due, what they add to the log, and bad numbers."""

import contextlib
import itertools
import time

import numpy as np

from clion_tf.config import to_flagfile
from clion_tf.files import atomic_write
from clion_tf.logdir.checkpoints import restore
from clion_tf.replay.replay_buffer import Batch, prefetch
from clion_tf.training.run_state import Run, check_stop

SKIPPED = "model/skipped"  # The metric that says that an update was not made.


class BadNumbers(Exception):
    """Too many updates in a row were skipped; the message is one line."""


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
            check_stop(run)
            with run.watch("update"):
                run.announce(run, [number for number, _ in due], numbers[-1])
                rows = _train(run, due)
            for (number, _), metrics in zip(due, rows, strict=True):
                counters.updates += 1
                counters.updates_due -= 1
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


def go_back(run: Run, error: BadNumbers) -> None:
    """Once, to the newest checkpoint, to go on with other batches; then give up with a dump.

    Not to one that a stop made: an outcome must not depend on stops.
    """
    text, number = error.args
    found = run.checkpoints.load_newest(stops=False)
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
