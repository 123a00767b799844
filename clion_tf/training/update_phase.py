"""Phases of updates: when they are due, bad numbers, and the log.

A line of the log has means over the updates since the last one, the speed, and where time went. The
sums are in the counters, so that a resumed run has them too.
"""

import contextlib
import functools
import itertools
import time
from collections.abc import Mapping

from clion_tf.replay.replay_buffer import prefetch
from clion_tf.replay.stopwatch import PARTS
from clion_tf.training.run_state import BadNumbers, Run

SKIPPED = "model/skipped"  # The metric that says that an update was not made.


def update_if_due(run: Run) -> None:
    """The phases that are due, C updates for every T environment steps (Algorithm 1).

    What is left of a phase that a stop broke off comes first.
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
    counters, each = run.counters, run.updates_per_call
    start = time.perf_counter()
    draw = functools.partial(run.replay.sample, run.config.batch_size)
    # After going back the same batches and noise would lead to the same bad numbers.
    first = counters.updates + (counters.rollbacks << 32)
    numbers = range(first, first + counters.updates_due)
    with contextlib.closing(prefetch(draw, numbers, depth=2 * each)) as batches:
        while True:
            with run.watch("wait"):
                due = list(itertools.islice(batches, each))
            if not due:
                return
            run.check_stop()
            with run.watch("update"):
                which, drawn = zip(*due, strict=True)
                run.announce(run, which, numbers[-1])
                if each > 1 and len(due) == each:
                    rows = run.agent.train_several(drawn, which).numpy()
                else:
                    rows = [run.agent.train(batch, number).numpy() for number, batch in due]
            for number, row in zip(which, rows, strict=True):
                named = dict(zip(run.agent.metric_names, row.tolist(), strict=True))
                _count(run, named, number)
            speed = (number + 1 - first) / (time.perf_counter() - start)
            run.progress.note(train=counters.train_return, updates_per_second=speed)


def _count(run: Run, metrics: dict[str, float], number: int) -> None:
    """Notes that an update was made, with its metrics for the log, or skipped."""
    counters = run.counters
    counters.updates += 1
    counters.updates_due -= 1
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


def log_if_due(run: Run) -> None:
    """Every `log_every` environment steps what was gathered; a line on the console always."""
    counters, every = run.counters, run.config.log_every
    text = f"[{counters.steps}] train return {counters.train_return:.1f}"
    if counters.next_log is None:
        counters.next_log = counters.steps + every
    if counters.steps >= counters.next_log and (groups := log_rest(run)):
        counters.next_log += every
        text += f"{loss_text(groups)}, {groups['speed']['fps']:.1f} steps/s"
    run.progress.message(text)


def loss_text(groups: Mapping[str, Mapping[str, float]]) -> str:
    """What a line on the console shows of the updates: an agent has one of these losses."""
    for group, name in (("model", "model_loss"), ("behaviour", "critic_loss")):
        if name in groups.get(group, {}):
            value = groups[group][name]
            return f", {name.replace('_', ' ')} {value:{'.1f' if abs(value) >= 100 else '.3g'}}"
    return ""


def log_rest(run: Run, final: bool = True) -> dict[str, dict[str, float]]:
    """Logs what was gathered since the last line, by group and name; nothing if there is nothing.

    With a stop (not `final`) TensorBoard, which could not forget it, is not told, and the run
    that is resumed takes it back.
    """
    counters = run.counters
    if not counters.sums_count and not counters.skipped:
        return {}
    groups: dict[str, dict[str, float]] = {"": {"updates": counters.updates}}
    for name, total in counters.sums.items():
        group, leaf = name.split("/", 1)
        groups.setdefault(group, {})[leaf] = total / counters.sums_count
    seconds, parts = run.watch.take()
    steps, updates = counters.steps - run.timed_from[0], counters.updates - run.timed_from[1]
    run.timed_from = counters.steps, counters.updates
    groups["speed"] = {
        "fps": steps / seconds,
        "updates_per_second": updates / seconds,
        "loop_seconds": seconds,
        **{f"{part}_seconds": parts.get(part, 0.0) for part in PARTS},
    }
    if logged := counters.steps - counters.logged_at:
        made = counters.sums_count + counters.skipped
        groups["speed"]["updates_per_env_step"] = made / logged
    groups.setdefault("model", {})["skipped_updates"] = counters.skipped
    amount = run.config.exploration(counters.steps)
    groups.setdefault("behaviour", {})["expl_amount"] = amount
    run.logger.scalars(counters.steps, groups, events=final)
    if final:
        counters.sums, counters.sums_count, counters.skipped = {}, 0, 0
        counters.logged_at = counters.steps
    return groups
