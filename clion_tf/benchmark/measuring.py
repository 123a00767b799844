"""How speed is measured: the machine, our agent on random frames, the original beside ours.

As a command it makes updates as `clion_tf.dreamer.original_code` does, whose protocol it speaks.
"""

import contextlib
import dataclasses
import json
import os
import pathlib
import platform
import re
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from clion_tf import config as configuration
from clion_tf.command import UsageError, progress
from clion_tf.config import Config, parse, to_flagfile
from clion_tf.console import quiet_import
from clion_tf.dreamer.original_code import ACTIONS, own_stdout, random_batch, serve_updates
from clion_tf.dreamer.original_process import Child, original
from clion_tf.files import python_path

MATRIX = 3072  # Large enough for the peak, small enough to be measured between two updates.
PREFIXES = ((1e12, " T"), (1e9, " G"), (1e6, " M"))
ORIGINAL, DREAMER, CLION, DOUBLED = "original", "Dreamer mode", "CLION", "Doubled-Dreamer"
# Options that the original has under the same name, and that make an update what it is.
SHARED = (
    "batch_size", "batch_length", "horizon", "deter_size", "stoch_size", "num_units", "cnn_depth",
    "dense_act", "cnn_act", "pcont", "pcont_scale", "free_nats", "kl_scale", "discount", "disclam",
    "action_init_std", "model_lr", "value_lr", "actor_lr", "grad_clip",
)  # fmt: skip


def describe() -> str:
    """Processor, cores, memory and system, one line."""
    text = pathlib.Path("/proc/cpuinfo").read_text()
    named = re.search(r"^model name\s*: (.+)$", text, re.MULTILINE)
    name = named[1] if named else platform.machine()
    known = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")
    units = ", ".join(unit for unit in known if unit in text.split())
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    cores = len(os.sched_getaffinity(0))
    return f"{name} ({units or 'no vector units known'}), {cores} cores, {memory:.0f} GiB"


def seconds_of(call: Callable[[], object]) -> float:
    """How long a call takes."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, smallest and largest of several measurements."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def table(figures: dict[str, Any], indent: str = "", of_memory: bool = False) -> list[str]:
    """Nested figures as lines; numbers of one kind are on one. Bytes of memory are in GiB."""
    lines = []
    for name, value in figures.items():
        label, in_bytes = f"{indent}{name.replace('_', ' ')}", of_memory or "memory" in name
        rows = {str(i): one for i, one in enumerate(value, 1)} if type(value) is list else value
        if isinstance(rows, dict) and any(isinstance(one, dict | tuple) for one in rows.values()):
            lines += [label, *table(rows, f"{indent}  ", in_bytes)]
        else:
            lines.append(f"{label:20} {_text(value, in_bytes)}")
    return lines


def _text(value: Any, in_bytes: bool = False) -> str:
    if isinstance(value, dict):
        named = (f"{k} {_text(one, in_bytes or k == 'memory')}" for k, one in value.items())
        return ", ".join(named) or "not known"
    if isinstance(value, list | tuple):
        return ", ".join(map(_text, value))
    if not isinstance(value, int | float):
        return str(value)
    if in_bytes and isinstance(value, int):  # Exponents of memory are no bytes.
        return f"{value / 2**30:.3g} GiB"
    size, prefix = next((pair for pair in PREFIXES if abs(value) >= pair[0]), (1, ""))
    return f"{value / size:.4g}{prefix}"


class Timed(NamedTuple):
    """What updates are measured with."""

    agent: Any  # `clion_tf.agents.clion.Agent`.
    batch: dict[str, np.ndarray]  # [B, L, ...]
    dtype: str  # That the agent multiplies in.
    device: str

    def update(self) -> None:
        """Makes one, and waits for it."""
        self.agent.train(self.batch, 0)

    def beside_products(self, count: int) -> tuple[list[float], list[float]]:
        """Seconds of updates, and FLOP/s of a large matrix product after each."""
        import tensorflow as tf

        x = tf.random.stateless_uniform([MATRIX, MATRIX], [0, 0], -1.0, 1.0)
        x = tf.cast(x, self.dtype)
        product = tf.function(lambda: tf.reduce_sum(tf.matmul(x, x)[0]))
        product()
        seconds, rates = [], []
        for _ in range(count):
            seconds.append(seconds_of(self.update))
            rates.append(2 * MATRIX**3 / seconds_of(lambda: product().numpy()))
        return seconds, rates


def prepared(config: Config) -> Timed:
    """An agent of these options; no update is made yet."""
    with quiet_import():
        from clion_tf.agents.base import KERAS_DTYPES
        from clion_tf.agents.clion import Agent
        from clion_tf.training import hardware
    precision, jit, device = hardware.prepare(config)
    agent = Agent(config, ACTIONS, precision=precision, jit=jit)
    batch = random_batch(config.batch_size, config.batch_length)
    return Timed(agent, batch, KERAS_DTYPES[precision].removeprefix("mixed_"), device)


def compare(config: Config, checkout: pathlib.Path, python: str, rounds: int, updates: int) -> dict:
    """Measures the original, in a `checkout` that `python` runs, and ours at CLION's options.

    Returns all measurements, for JSON: seconds, ratios (medians over the rounds) and bytes. Raises
    UsageError if they cannot be compared, or one fails. For `rounds` and `updates` see `measure`.
    """
    if config.hidden_size != config.deter_size:
        text = f"the original has as many as --deter_size, {config.deter_size}"
        raise UsageError(f"--hidden_size={config.hidden_size}: {text}")
    if config.batch_length < 6:  # Its pictures show the first 5.
        raise UsageError(f"--batch_length={config.batch_length}: the original needs at least 6")
    # The sizes and constants that both have, as the original takes them.
    sizes = {name: getattr(config, name) for name in SHARED} | {"pcont": config.predicts_discount}
    found = measure(_contenders(config, sizes, checkout, python), rounds, updates)
    seconds = {name: one["seconds"] for name, one in found.items()}
    for one in found.values():
        one["update"] = spread(one["seconds"])
        one["ratio"] = ratio(one["seconds"], seconds[ORIGINAL])
    pairs = (CLION, DREAMER), (CLION, DOUBLED)
    return {
        "machine": describe(), "sizes": sizes, "updates_a_round": updates, "contenders": found,
        "ratios": {f"{a} / {b}": ratio(seconds[a], seconds[b]) for a, b in pairs},
    }  # fmt: skip


def measure(contenders: Iterable[tuple[str, Child]], rounds: int, updates: int) -> dict[str, dict]:
    """What each says of its first update, and `seconds` of one update, one for each round.

    The rounds, of so many updates, come after one update that is not counted. Only one contender
    works at a time; each has made its first update before the next is started.
    """
    found, children = {}, {}
    with contextlib.ExitStack() as stack:
        for name, child in contenders:
            children[name] = stack.enter_context(contextlib.closing(child))
            found[name] = child.read("first_update", "tensorflow", "device") | {"seconds": []}
            progress(f"{name}: first update after {found[name]['first_update']:.1f} s")
        for name, child in children.items():
            progress(f"{name}: {child.ask(1, 'seconds')['seconds']:.3f} s, not counted")
        for number in range(rounds):
            # To and fro, so that a machine that gets slower does so for all.
            for name in list(children)[:: 1 if number % 2 == 0 else -1]:
                answer = children[name].ask(updates, "seconds", "memory")
                found[name]["seconds"].append(answer["seconds"])
                found[name]["memory"] = answer["memory"]
                progress(f"{name}: {answer['seconds']:.3f} s in round {number + 1} of {rounds}")
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
    words = "dreamer.py", python, "updates", json.dumps({**sizes, "precision": 32})
    yield ORIGINAL, original(checkout, *words, gpus=config.device != "cpu")
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": python_path()}
    module = [sys.executable, "-m", "clion_tf.benchmark.measuring"]
    for name, mode in modes(config).items():
        yield name, Child(name, module + to_flagfile(mode).splitlines(), environment)


def main(arguments: Sequence[str]) -> None:
    """Builds the agent, makes its first update, and serves."""
    out = own_stdout()
    timed = prepared(parse(arguments))
    import tensorflow as tf

    def train(count: int) -> None:
        for _ in range(count):
            timed.update()

    train(1)
    serve_updates(out, train, tf.__version__, timed.device)


if __name__ == "__main__":
    main(sys.argv[1:])
