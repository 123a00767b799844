"""Where an update's time goes, by kind of operation, and at which rate each kind computes.

Operations run one after the other here, each on all cores, so that their times add up.
"""

import collections
import pathlib
import re
import tempfile
import time

import tensorflow as tf

from clion_tf.agents.base import DTYPES
from clion_tf.agents.clion import Agent
from clion_tf.benchmark import graph_flops, machine
from clion_tf.benchmark.original_updates import random_batch
from clion_tf.benchmark.our_updates import ACTIONS
from clion_tf.config import Config
from clion_tf.training.hardware import prepare

LARGEST = 12  # Operations, and types of uncounted ones, that are listed.
# oneDNN's names of an operation: _MklNativeFusedConv2D, _FusedMatMul, ...
DECORATION = re.compile(r"^_(Mkl)?(Native)?(Fused)?|WithBias$")


def measure(config: Config, count: int) -> dict:
    """Figures of `count` updates under TensorFlow's profiler, after two without it.

    Returns:
      `update`, seconds without the profiler; `kinds`, each with the seconds of an update, the
      FLOP counted in its graph (0 for what is not counted) and its rate; `rest`, the types of
      operations that are not counted, and `largest`, single operations, with their seconds;
      `matrix_rate`, of a large product measured in between.
    """
    tf.config.threading.set_inter_op_parallelism_threads(1)
    precision, jit, device = prepare(config)
    agent = Agent(config, ACTIONS, False, precision, jit)
    batch = random_batch(config.batch_size, config.batch_length, ACTIONS)
    for number in range(2):
        agent.train(batch, number).numpy()
    product = machine.MatrixProduct(DTYPES[precision].removeprefix("mixed_"))
    seconds, rates = [], []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(count):
            start = time.perf_counter()
            agent.train(batch, 2 + number).numpy()
            seconds.append(time.perf_counter() - start)
            rates.append(product.rate())
        tf.profiler.experimental.start(folder)
        for number in range(count):
            agent.train(batch, 2 + count + number).numpy()
        tf.profiler.experimental.stop()
        operations = _operations(pathlib.Path(folder))
    flops = graph_flops.of_update(agent, batch)
    each = {name: total / count for name, total in operations.items()}
    seconds_of_types = _by_type(each)
    rest = {kind: s for kind, s in seconds_of_types.items() if kind not in graph_flops.KINDS}
    return {
        "device": device,
        "update": machine.spread(seconds),
        "matrix_rate": machine.spread(rates),
        "kinds": _by_kind(seconds_of_types, flops),
        "rest": collections.Counter(rest).most_common(LARGEST),
        "largest": collections.Counter(each).most_common(LARGEST),
    }


def _operations(folder: pathlib.Path) -> collections.Counter:
    """Seconds by 'name:type' of all operations in a trace."""
    from tensorflow.tsl.profiler.protobuf import xplane_pb2

    total: collections.Counter = collections.Counter()
    for path in folder.rglob("*.xplane.pb"):
        space = xplane_pb2.XSpace.FromString(path.read_bytes())
        for plane in (plane for plane in space.planes if "CPU" in plane.name):
            for event in (event for line in plane.lines for event in line.events):
                name = plane.event_metadata[event.metadata_id].name
                # 'name:Type' is an operation; the executor's own events have blanks or '::'.
                if re.fullmatch(r"[^: ]+:[^: ]+", name):
                    total[name] += event.duration_ps / 1e12
    return total


def _by_type(operations: dict[str, float]) -> collections.Counter:
    """Seconds by type, under the name that the graph has for it."""
    seconds: collections.Counter = collections.Counter()
    for name, each in operations.items():
        seconds[DECORATION.sub("", name.rpartition(":")[2])] += each
    return seconds


def _by_kind(types: dict[str, float], flops: collections.Counter) -> dict[str, dict]:
    seconds: collections.Counter = collections.Counter()
    for name, each in types.items():
        seconds[graph_flops.KINDS.get(name, "everything else")] += each
    return {
        kind: {"seconds": total, "flops": flops[kind], "rate": flops[kind] / total}
        for kind, total in seconds.most_common()
    }


def table(result: dict) -> list[tuple[str, str]]:
    """Rows of (what, figure)."""
    rate = result["matrix_rate"]["median"]
    whole = sum(kind["seconds"] for kind in result["kinds"].values())
    flops = sum(kind["flops"] for kind in result["kinds"].values())
    rows = [
        ("device", result["device"]),
        ("one update, not profiled", f"{result['update']['median']:.3f} s"),
        ("its operations, profiled", f"{whole:.3f} s"),
        ("large matrix product", f"{rate / 1e9:.0f} GFLOP/s"),
        ("time at that rate", f"{flops / rate:.3f} s"),
    ]
    for name, kind in result["kinds"].items():
        text = f"{kind['seconds']:.3f} s, {100 * kind['seconds'] / whole:.0f} %"
        if kind["flops"]:
            share = f"{100 * kind['rate'] / rate:.0f} % of the large product"
            text += (
                f", {kind['flops'] / 1e9:.0f} GFLOP at {kind['rate'] / 1e9:.0f} GFLOP/s, {share}"
            )
        rows.append((name, text))
    for title, part in (("everything else, by type", "rest"), ("largest operations", "largest")):
        rows.append((title, ""))
        rows += [(f"  {name}", f"{seconds:.3f} s") for name, seconds in result[part]]
    return rows
