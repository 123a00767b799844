"""The original Dreamer's side of a comparison, in a checkout and an interpreter of the user's.

    PYTHON original_code.py CHECKOUT updates CONFIG
    PYTHON original_code.py CHECKOUT episodes

Answers each line of JSON on stdin with one on stdout, as `Parent` says. `updates`: CONFIG is JSON,
{the original's name of an option: value}. The first line comes unasked, when one update is made,

    {"first_update": seconds since the process started, "tensorflow": version, "device": a line}

then for each number N, once N updates are made,

    {"seconds": of one update, the mean of N, "memory": peak resident bytes}

`episodes`: {"folder": with one episode's file, "length": frames of a sequence, "save": a folder to
write it into again, or null} is answered by `describe`, {"count": folder} by how many are in it.

Run by path, by the Python 3.8 that the original's TensorFlow needs: so this file imports nothing
of this package and is written for that version. Ours, which speaks so too, uses parts of it.
"""

import hashlib
import importlib
import json
import os
import pathlib
import queue
import sys
import threading
import time
import types

import numpy as np

ACTIONS = 6  # As walker has.
KEYS = ("image", "action", "reward", "discount")
# What the original imports for its environments only.
UNUSED = ("gym", "PIL", "PIL.Image")


def main(checkout, what, config="{}"):
    """Serves until stdin ends."""
    parent = Parent()
    # Not this folder, whose modules have names that others may have, too.
    sys.path[0] = checkout
    for name in UNUSED:
        sys.modules[name] = types.ModuleType(name)
    sys.modules["PIL"].Image = sys.modules["PIL.Image"]
    if what == "updates":
        updates(parent, json.loads(config))
    tools = importlib.import_module("tools")
    parent.serve(lambda request: episodes(tools, request))


def updates(parent, options):
    """Builds the original's agent, which makes its first update, and serves."""
    tf = importlib.import_module("tensorflow")
    dreamer = importlib.import_module("dreamer")
    gpus = tf.config.experimental.list_physical_devices("GPU")
    for gpu in gpus:
        tf.config.experimental.set_memory_growth(gpu, True)
    config = dreamer.define_config()
    unknown = sorted(set(options) - set(config))
    if unknown:
        sys.exit(f"its define_config has no {', '.join(unknown)}")
    config.update(options)
    agent = build(tf, dreamer, config)

    def train(count):
        with agent._strategy.scope():
            for _ in range(count):
                agent.train(next(agent._dataset), False)
        agent._actor.variables[0].numpy()  # On a GPU, waits until all is computed.

    device = f"{len(gpus)} GPU" if gpus else "CPU"
    device += f", precision {config.precision}"
    parent.serve_updates(train, tf.__version__, device)


def build(tf, dreamer, config):
    """The original's agent on one fixed batch in memory, its first update made.

    The batch is preprocessed once, which the original does with every batch beside its updates:
    what that would take from the updates' cores is spared it.
    """
    batch = random_batch(config.batch_size, config.batch_length)
    batch = dreamer.preprocess({k: tf.constant(v) for k, v in batch.items()}, config)
    dataset = tf.data.Dataset.from_tensors(batch).repeat()
    dreamer.load_dataset = lambda directory, config: dataset
    dreamer.count_steps = lambda directory, config: 0
    return dreamer.Dreamer(config, None, types.SimpleNamespace(shape=(ACTIONS,)), None)


def random_batch(*shape):
    """Frames [*shape] as the replay gives them; what is in them does not change an update's cost.

    Returns:
      {image: uint8 [..., 64, 64, 3], action: [..., A] in [-1, 1], reward, discount: [...]}
    """
    random = np.random.default_rng(0)
    return {
        "image": random.integers(0, 256, (*shape, 64, 64, 3), dtype=np.uint8),
        "action": random.uniform(-1, 1, (*shape, ACTIONS)).astype(np.float32),
        "reward": random.uniform(0, 1, shape).astype(np.float32),
        "discount": np.ones(shape, np.float32),
    }


def episodes(tools, request):
    """Answers a request by the original's own functions, of its module `tools`."""
    if "count" in request:
        count, steps = tools.count_episodes(pathlib.Path(request["count"]))
        return {"episodes": count, "steps": steps}
    folder, length = pathlib.Path(request["folder"]), request["length"]
    episode = next(tools.load_episodes(folder, 1))
    answer = describe(episode)
    # From a shorter one its generator would look for a sequence for ever.
    if answer["frames"] > length:
        drawn = next(tools.load_episodes(folder, 1, length))
        answer["sequence"] = is_part(drawn, episode, length)
    if request["save"]:
        tools.save_episodes(pathlib.Path(request["save"]), [episode])
    return answer


def describe(episode):
    """{frames, dtypes by key, digest of all values, return}: equal for episodes that are equal.

    Rewards, actions and discounts are compared as float32, which the original may store as
    float16. Other keys than ours, which the original has, are left out.
    """
    total = hashlib.sha256()
    for key in KEYS:
        kind = "uint8" if key == "image" else "float32"
        array = np.ascontiguousarray(np.asarray(episode[key]).astype(kind))
        total.update(f"{key} {array.shape}\n".encode())
        total.update(array.tobytes())
    return {
        "frames": len(episode["reward"]),
        "dtypes": {key: str(episode[key].dtype) for key in KEYS},
        "digest": total.hexdigest(),
        "return": float(np.sum(np.asarray(episode["reward"], "float32"), dtype="float64")),
    }


def is_part(drawn, episode, length):
    """Whether some `length` frames of the episode are those that were drawn."""
    starts = range(len(episode["reward"]) - length + 1)
    return any(
        all(np.array_equal(drawn[k], episode[k][start : start + length]) for k in reversed(KEYS))
        for start in starts
    )


class Parent:
    """Who asks, at the other end of stdin and stdout; this process ends with it.

    Whatever else writes to stdout writes to stderr from now on.
    """

    def __init__(self):
        self._out = os.fdopen(os.dup(1), "w")
        os.dup2(2, 1)
        self._lines = queue.SimpleQueue()
        threading.Thread(target=self._listen, daemon=True).start()

    def serve_updates(self, train, tensorflow, device):
        """Says that the first update is made, and makes more: `train(N)` makes N of them."""

        def answer(count):
            start = time.perf_counter()
            train(count)
            seconds = (time.perf_counter() - start) / count
            return {"seconds": seconds, "memory": memory()}

        first = {"first_update": seconds_since_start(), "tensorflow": tensorflow, "device": device}
        self.serve(answer, first)

    def serve(self, answer, first=None):
        """Answers requests for ever."""
        while True:
            if first is not None:
                self._out.write(json.dumps(first) + "\n")
                self._out.flush()
            first = answer(json.loads(self._lines.get()))

    def _listen(self):
        # Without a buffer: its lock, held here, would be an error when the interpreter ends.
        with open(0, "rb", buffering=0, closefd=False) as lines:
            for line in lines:
                self._lines.put(line)
        os._exit(0)  # Also in the middle of an update.


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
