"""Makes updates of the original Dreamer, in a checkout and an interpreter that are the user's.

    PYTHON original_updates.py CHECKOUT OPTIONS

OPTIONS is JSON, {"actions": A, "config": {the original's name of an option: value}}. The protocol,
which `our_updates` speaks, too: once the first update is made, a line

    {"ready": seconds since the process started, "tensorflow": version, "device": a line}

on stdout, and then for each line `N` on stdin N updates and

    {"seconds": of one update, the mean of N, "memory": peak resident bytes}

Run by path, by the Python 3.8 that the original's TensorFlow needs: so this file imports nothing
of this package and is written for that version.
"""

import importlib
import json
import os
import queue
import sys
import threading
import time
import types

import numpy as np

# What the original imports for its environments only.
UNUSED = ("gym", "PIL", "PIL.Image")


def main(checkout, options):
    """Builds the original's agent, which makes its first update, and serves."""
    parent = Parent()
    options = json.loads(options)
    # Not this folder, whose modules have names that others may have, too.
    sys.path[0] = checkout
    tf = importlib.import_module("tensorflow")
    for name in UNUSED:
        sys.modules[name] = types.ModuleType(name)
    sys.modules["PIL"].Image = sys.modules["PIL.Image"]
    dreamer = importlib.import_module("dreamer")
    gpus = tf.config.experimental.list_physical_devices("GPU")
    for gpu in gpus:
        tf.config.experimental.set_memory_growth(gpu, True)
    config = dreamer.define_config()
    unknown = sorted(set(options["config"]) - set(config))
    if unknown:
        sys.exit(f"its define_config has no {', '.join(unknown)}")
    config.update(options["config"])
    agent = build(tf, dreamer, config, options["actions"])

    def train(count):
        with agent._strategy.scope():
            for _ in range(count):
                agent.train(next(agent._dataset), False)
        agent._actor.variables[0].numpy()  # On a GPU, waits until all is computed.

    device = f"{len(gpus)} GPU" if gpus else "CPU"
    device += f", precision {config.precision}"
    parent.serve(train, tensorflow=tf.__version__, device=device)


def build(tf, dreamer, config, actions):
    """The original's agent on one fixed batch in memory, its first update made.

    The batch is preprocessed once, which the original does with every batch beside its updates:
    what that would take from the updates' cores is spared it.
    """
    batch = random_batch(config.batch_size, config.batch_length, actions)
    batch = dreamer.preprocess({k: tf.constant(v) for k, v in batch.items()}, config)
    dataset = tf.data.Dataset.from_tensors(batch).repeat()
    dreamer.load_dataset = lambda directory, config: dataset
    dreamer.count_steps = lambda directory, config: 0
    space = types.SimpleNamespace(shape=(actions,))
    return dreamer.Dreamer(config, None, space, None)


def random_batch(size, length, actions):
    """A batch [B, L, ...] as the replay gives it; what is in it does not change an update's cost.

    Returns:
      {image: uint8 [B, L, 64, 64, 3], action: [B, L, A] in [-1, 1], reward, discount: [B, L]}
    """
    random = np.random.default_rng(0)
    shape = (size, length)
    return {
        "image": random.integers(0, 256, (*shape, 64, 64, 3), dtype=np.uint8),
        "action": random.uniform(-1, 1, (*shape, actions)).astype(np.float32),
        "reward": random.uniform(0, 1, shape).astype(np.float32),
        "discount": np.ones(shape, np.float32),
    }


class Parent:
    """Who asks, at the other end of stdin and stdout; this process ends with it.

    Whatever else writes to stdout writes to stderr from now on.
    """

    def __init__(self):
        self._out = os.fdopen(os.dup(1), "w")
        os.dup2(2, 1)
        self._lines = queue.SimpleQueue()
        threading.Thread(target=self._listen, daemon=True).start()

    def serve(self, train, **versions):
        """Says that the first update is made, and makes more: `train(N)` makes N of them."""
        self._tell(ready=seconds_since_start(), **versions)
        while True:
            count = int(self._lines.get())
            start = time.perf_counter()
            train(count)
            seconds = (time.perf_counter() - start) / count
            self._tell(seconds=seconds, memory=memory())

    def _listen(self):
        # Without a buffer: its lock, held here, would be an error when the interpreter ends.
        with open(0, "rb", buffering=0, closefd=False) as lines:
            for line in lines:
                self._lines.put(line)
        os._exit(0)  # Also in the middle of an update.

    def _tell(self, **what):
        self._out.write(json.dumps(what) + "\n")
        self._out.flush()


# Of use to the other benchmarks, too; here because this file can import none of them.


def seconds_since_start():
    """Seconds since this process was started (Linux)."""
    with open("/proc/self/stat") as file:
        ticks = int(file.read().rpartition(")")[2].split()[19])
    return time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")


def memory(key="VmHWM"):
    """Bytes from /proc/self/status: VmHWM, the peak resident memory, or RssAnon, what is ours."""
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith(key))


if __name__ == "__main__":
    main(*sys.argv[1:])
