"""The original Dreamer against ours: seconds of an update, measured in turn in one run.

Every contender is a process. Only one works at a time, the others wait for a line on their stdin.
"""

import contextlib
import dataclasses
import json
import os
import pathlib
import statistics
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence

from clion_tf import config as configuration
from clion_tf.benchmark.measuring import describe, spread
from clion_tf.command import UsageError
from clion_tf.config import Config, to_flagfile
from clion_tf.dreamer.original_process import Child, original
from clion_tf.files import python_path

ORIGINAL, DREAMER, CLION, DOUBLED = "original", "Dreamer mode", "CLION", "Doubled-Dreamer"
RATIOS = ((CLION, DREAMER), (CLION, DOUBLED))

# Options that the original has under the same name, and that make an update what it is.
SHARED = (
    "batch_size", "batch_length", "horizon", "deter_size", "stoch_size", "num_units", "cnn_depth",
    "dense_act", "cnn_act", "pcont", "pcont_scale", "free_nats", "kl_scale", "discount", "disclam",
    "action_init_std", "model_lr", "value_lr", "actor_lr", "grad_clip",
)  # fmt: skip


def compare(
    config: Config,
    checkout: pathlib.Path,
    python: str,
    rounds: int,
    updates: int,
    tell: Callable[[str], None],
) -> dict:
    """Measures the original and ours at the sizes of `config`, CLION's options.

    Args:
      checkout, python: the original's folder, and the interpreter that runs it.
      rounds, updates, tell: see `measure`.

    Returns:
      All that was measured, for JSON: seconds, ratios (of medians' pairs) and bytes.

    Raises:
      UsageError: if they cannot be compared, or one fails.
    """
    hidden, length = config.hidden_size, config.batch_length
    if hidden != config.deter_size:
        text = f"the original has as many as --deter_size, {config.deter_size}"
        raise UsageError(f"--hidden_size={hidden}: {text}")
    if length < 6:
        text = "the original needs at least 6, of which its pictures show the first 5"
        raise UsageError(f"--batch_length={length}: {text}")
    # The sizes and constants that both have, as the original takes them.
    sizes = {name: getattr(config, name) for name in SHARED} | {"pcont": config.predicts_discount}
    found = measure(_contenders(config, sizes, checkout, python), rounds, updates, tell)
    seconds = {name: one["seconds"] for name, one in found.items()}
    for one in found.values():
        one["update"] = spread(one["seconds"])
        one["ratio"] = ratio(one["seconds"], seconds[ORIGINAL])
    return {
        "machine": describe(),
        "sizes": sizes,
        "updates_a_round": updates,
        "contenders": found,
        "ratios": {f"{a} / {b}": ratio(seconds[a], seconds[b]) for a, b in RATIOS},
    }


def measure(
    contenders: Iterable[tuple[str, Child]], rounds: int, updates: int, tell: Callable[[str], None]
) -> dict[str, dict]:
    """What each says of its first update, and `seconds` of one update, one for each round.

    Args:
      contenders: by name; each has made its first update before the next is started.
      rounds, updates: of all, after one that is not measured; and in a round, of each.
      tell: takes a line at every step, for who waits.
    """
    found, children = {}, {}
    with contextlib.ExitStack() as stack:
        for name, child in contenders:
            children[name] = stack.enter_context(contextlib.closing(child))
            found[name] = child.read("first_update", "tensorflow", "device") | {"seconds": []}
            tell(f"{name}: first update after {found[name]['first_update']:.1f} s")
        for name, child in children.items():
            seconds = child.ask(1, "seconds", "memory")["seconds"]
            tell(f"{name}: {seconds:.3f} s, not counted")
        for number in range(rounds):
            # To and fro, so that a machine that gets slower does so for all.
            for name in list(children)[:: 1 if number % 2 == 0 else -1]:
                answer = children[name].ask(updates, "seconds", "memory")
                found[name]["seconds"].append(answer["seconds"])
                found[name]["memory"] = answer["memory"]
                tell(f"{name}: {answer['seconds']:.3f} s in round {number + 1} of {rounds}")
    return found


def ratio(seconds: Sequence[float], others: Sequence[float]) -> float:
    """Median of the rounds' ratios of these seconds to another's."""
    return statistics.median(a / b for a, b in zip(seconds, others, strict=True))


def modes(config: Config) -> dict[str, Config]:
    """Ours: with the parts of CLION off, as given, and off with twice the batch."""
    dreamer = dataclasses.replace(config, **configuration.DREAMER)
    doubled = dataclasses.replace(dreamer, batch_size=2 * config.batch_size)
    return {DREAMER: dreamer, CLION: config, DOUBLED: doubled}


def _contenders(
    config: Config, sizes: dict, checkout: pathlib.Path, python: str
) -> Iterator[tuple[str, Child]]:
    """The original first, which is the likeliest to fail."""
    options = json.dumps({**sizes, "precision": 32})
    gpus = config.device != "cpu"
    words = "dreamer.py", python, "updates", options
    yield ORIGINAL, original(checkout, *words, gpus=gpus)
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": python_path()}
    module = [sys.executable, "-m", "clion_tf.benchmark.measuring"]
    for name, mode in modes(config).items():
        yield name, Child(name, module + to_flagfile(mode).splitlines(), environment)


def table(result: dict) -> list[str]:
    """The lines of a table of what `compare` returned."""
    sizes, count = result["sizes"], result["updates_a_round"]
    rounds = len(result["contenders"][ORIGINAL]["seconds"])
    lines = [
        result["machine"],
        f"batch {sizes['batch_size']} x {sizes['batch_length']}, horizon {sizes['horizon']}; "
        f"{rounds} rounds of {count} update{'s' * (count > 1)}, in turn",
        f"{'':15}  {'seconds an update':>26}  {'of the':>8}  {'start to':>12}  {'peak':>10}",
        f"{'':15}  {'median':>8} {'min':>8} {'max':>8}  {'original':>8}  {'first update':>12}  "
        f"{'memory':>10}  computed by",
    ]
    for name, one in result["contenders"].items():
        update = one["update"]
        lines.append(
            f"{name:15}  {update['median']:8.3f} {update['min']:8.3f} {update['max']:8.3f}  "
            f"{one['ratio']:8.3f}  {one['first_update']:10.1f} s  {one['memory'] / 2**30:6.2f} GiB"
            f"  TensorFlow {one['tensorflow']}, {one['device']}"
        )
    return lines + [f"{name}: {value:.3f}" for name, value in result["ratios"].items()]
