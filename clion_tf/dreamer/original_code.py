"""The original Dreamer's side of a comparison, in a checkout and an interpreter of the user's.

    PYTHON original_code.py CHECKOUT updates CONFIG
    PYTHON original_code.py CHECKOUT episodes

Answers each line of JSON on stdin with one on stdout, see `serve_updates` and `episodes`. CONFIG is
JSON, {the original's name of an option: value}.

It is run by path, with the Python 3.8 that the original's TensorFlow needs. So it imports nothing
of this package and uses no newer syntax. Our side speaks the same protocol and uses parts of it.
"""

import ctypes
import importlib
import json
import os
import pathlib
import select
import signal
import sys
import time
import types

import numpy as np

ACTIONS = 6  # As walker has.
# What the original imports for its environments only.
UNUSED = ("gym", "PIL", "PIL.Image")


def main(checkout, what, config="{}"):
    """Serves until stdin ends."""
    out = own_stdout()
    # Not this folder, whose modules have names that others may have, too.
    sys.path[0] = checkout
    for name in UNUSED:
        sys.modules[name] = types.ModuleType(name)
    sys.modules["PIL"].Image = sys.modules["PIL.Image"]
    if what == "updates":
        updates(out, json.loads(config))
    else:
        tools = importlib.import_module("tools")
        serve(out, lambda request: episodes(tools, **request))


def updates(out, options):
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
    batch = random_batch(config.batch_size, config.batch_length)
    # Once; the original does so with every batch, beside its updates.
    batch = dreamer.preprocess({k: tf.constant(v) for k, v in batch.items()}, config)
    dataset = tf.data.Dataset.from_tensors(batch).repeat()
    dreamer.load_dataset = lambda directory, config: dataset
    dreamer.count_steps = lambda directory, config: 0
    agent = dreamer.Dreamer(config, None, types.SimpleNamespace(shape=(ACTIONS,)), None)

    def train(count):
        with agent._strategy.scope():
            for _ in range(count):
                agent.train(next(agent._dataset), False)
        agent._actor.variables[0].numpy()  # On a GPU, waits until all is computed.

    device = f"{len(gpus)} GPU" if gpus else "CPU"
    serve_updates(out, train, tf.__version__, f"{device}, precision {config.precision}")


def random_batch(*shape):
    """Frames [*shape] as the replay gives them, with uint8 images; what they show costs nothing."""
    random = np.random.default_rng(0)
    return {
        "image": random.integers(0, 256, (*shape, 64, 64, 3), dtype=np.uint8),
        "action": random.uniform(-1, 1, (*shape, ACTIONS)).astype(np.float32),
        "reward": random.uniform(0, 1, shape).astype(np.float32),
        "discount": np.ones(shape, np.float32),
    }


def episodes(tools, folder, length):
    """Reads the episode of a folder, and a sequence of so many frames, as the original does.

    Has it write both again, into `read` and `drawn` below, and count what is in the folder.
    """
    folder = pathlib.Path(folder)
    episode = next(tools.load_episodes(folder, 1))
    tools.save_episodes(folder / "read", [episode])
    # From a shorter one its generator would look for a sequence for ever.
    if len(episode["reward"]) > length:
        drawn = next(tools.load_episodes(folder, 1, length))
        tools.save_episodes(folder / "drawn", [drawn])
    count, steps = tools.count_episodes(folder)
    return {"episodes": count, "steps": steps}


def own_stdout():
    """What was stdout; all other output goes to stderr now. The process ends with its parent."""
    # By SIGKILL, as nothing else ends an update in its middle (Linux).
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    stdin = select.poll()
    stdin.register(0, 0)
    if stdin.poll(0):  # It ended before, and with it the pipe.
        sys.exit("its parent is gone")
    out = os.fdopen(os.dup(1), "w", 1)  # Line by line.
    os.dup2(2, 1)
    return out


def serve(out, answer):
    """Answers requests."""
    for line in sys.stdin:
        out.write(json.dumps(answer(json.loads(line))) + "\n")


def serve_updates(out, train, tensorflow, device):
    """Says that the first update is made, and makes N more by `train(N)` when asked for N.

    `first_update` is in seconds since the process started, `device` a line, `seconds` of one
    update, the mean of N, `memory` the peak of resident bytes.
    """

    def answer(count):
        start = time.perf_counter()
        train(count)
        return {"seconds": (time.perf_counter() - start) / count, "memory": memory()}

    first = {"first_update": seconds_since_start(), "tensorflow": tensorflow, "device": device}
    out.write(json.dumps(first) + "\n")
    serve(out, answer)


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
