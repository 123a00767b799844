"""Time, arithmetic and memory of updates and actions. Each returns figures, and rows of a table."""

import collections
import concurrent.futures
import dataclasses
import functools
import multiprocessing
import pathlib
import re
import tempfile

import numpy as np

from clion_tf.benchmark import update_memory
from clion_tf.benchmark.measuring import Rows, prepared, seconds_of, spread
from clion_tf.command import Failure
from clion_tf.config import Config
from clion_tf.console import quiet_import
from clion_tf.dreamer.original_code import memory, seconds_since_start

LARGEST = 12  # Operations that are listed.
# oneDNN's names of an operation: _MklNativeFusedConv2D, _FusedMatMul, ...
DECORATION = re.compile(r"^_(Mkl)?(Native)?(Fused)?|WithBias$")
# What `growth` varies, by which factors of (B L), H and 1 + A.
AXES = {"batch_size": (0.5, 1, 2), "horizon": (0.5, 1, 2), "augmentations": (0.5, 1, 1.5)}


def train_step(config: Config, count: int) -> tuple[dict, Rows]:
    """Of `count` updates, each beside a large matrix product of the same type.

    `update` in seconds, `rate` and `matrix_rate` in FLOP/s, `share` (median of the pairs' ratios),
    `flops` by kind, `first_update` in seconds since the process was started, `memory` (peak
    resident bytes), `xla_memory` of a compiled update, see `update_memory.of_each_precision`.
    """
    timed = prepared(config)
    from clion_tf.benchmark import graph_flops

    timed.update()
    first = seconds_since_start()
    flops = graph_flops.of_update(timed.agent, timed.batch)
    timed.update()
    peak = memory()
    seconds, rates = timed.beside_products(count)
    update, products, total = spread(seconds), spread(rates), flops.total()
    rate = total / update["median"]
    share = float(np.median(total / (np.array(seconds) * rates)))
    planned = update_memory.of_each_precision(config) if timed.agent.jit else {}
    figures = {
        "device": timed.device, "update": update, "flops": {**flops, "all": total}, "rate": rate,
        "matrix_rate": products, "share": share, "first_update": first, "memory": peak,
        "xla_memory": planned,
    }  # fmt: skip
    return figures, [
        ("device", timed.device),
        ("one update", f"{update['median']:.3f} s ({update['min']:.3f} to {update['max']:.3f})"),
        ("arithmetic", f"{total / 1e12:.3f} TFLOP"),
        ("rate", f"{rate / 1e9:.0f} GFLOP/s"),
        ("large matrix product", f"{products['median'] / 1e9:.0f} GFLOP/s"),
        ("share of it", f"{100 * share:.0f} %"),
        ("peak memory", f"{peak / 2**30:.2f} GiB"),
        ("process start to first update", f"{first:.1f} s"),
        *update_memory.table(planned),
    ]


def profile(config: Config, count: int) -> tuple[dict, Rows]:
    """Where the time of an update goes, of `count` under TensorFlow's profiler.

    Operations run one after the other here, each on all cores, so that their times add up.
    `kinds` have the seconds of an update, the FLOP counted in its graph and the rate; `largest` are
    operations with their seconds; `update` is in seconds without the profiler, `matrix_rate` of a
    large product in between.
    """
    with quiet_import():
        import tensorflow as tf
    tf.config.threading.set_inter_op_parallelism_threads(1)
    timed = prepared(config)
    from clion_tf.benchmark import graph_flops

    for _ in range(2):
        timed.update()
    seconds, rates = map(spread, timed.beside_products(count))
    with tempfile.TemporaryDirectory() as folder:
        tf.profiler.experimental.start(folder)
        for _ in range(count):
            timed.update()
        tf.profiler.experimental.stop()
        operations = _operations(pathlib.Path(folder), count)
    flops = graph_flops.of_update(timed.agent, timed.batch)
    times: collections.Counter = collections.Counter()
    for name, each in operations.items():
        kind = DECORATION.sub("", name.rpartition(":")[2])
        times[graph_flops.KINDS.get(kind, "everything else")] += each
    kinds = {
        kind: {"seconds": total, "flops": flops[kind], "rate": flops[kind] / total}
        for kind, total in times.most_common()
    }
    rate, whole = rates["median"], times.total()
    rows = [
        ("device", timed.device),
        ("one update, not profiled", f"{seconds['median']:.3f} s"),
        ("its operations, profiled", f"{whole:.3f} s"),
        ("large matrix product", f"{rate / 1e9:.0f} GFLOP/s"),
        ("time at that rate", f"{flops.total() / rate:.3f} s"),
    ]
    for name, kind in kinds.items():
        text = f"{kind['seconds']:.3f} s, {100 * kind['seconds'] / whole:.0f} %"
        if kind["flops"]:
            text += f", {kind['flops'] / 1e9:.0f} GFLOP at {kind['rate'] / 1e9:.0f} GFLOP/s"
            text += f", {100 * kind['rate'] / rate:.0f} % of the large product"
        rows.append((name, text))
    largest = operations.most_common(LARGEST)
    rows += [("largest operations", ""), *((f"  {n}", f"{each:.3f} s") for n, each in largest)]
    figures = {"device": timed.device, "update": seconds, "matrix_rate": rates, "kinds": kinds}
    return {**figures, "largest": largest}, rows


def _operations(folder: pathlib.Path, count: int) -> collections.Counter:
    """Seconds of an update by 'name:type' of all operations in a trace of so many."""
    from tensorflow.tsl.profiler.protobuf import xplane_pb2

    total: collections.Counter = collections.Counter()
    for path in folder.rglob("*.xplane.pb"):
        space = xplane_pb2.XSpace.FromString(path.read_bytes())
        for plane in (plane for plane in space.planes if "CPU" in plane.name):
            for event in (event for line in plane.lines for event in line.events):
                name = plane.event_metadata[event.metadata_id].name
                # 'name:Type' is an operation; the executor's own events have blanks or '::'.
                if re.fullmatch(r"[^: ]+:[^: ]+", name):
                    total[name] += event.duration_ps / 1e12 / count
    return total


def policy(config: Config, count: int) -> tuple[dict, Rows]:
    """Milliseconds from an image to an action in one environment: median, 95 and 99 per cent."""
    agent, batch, _, device = prepared(config)
    figures, rows = {"device": device}, [("device", device)]
    for name, training in (("training", True), ("evaluation", False)):
        how = {"image": batch["image"][0, :1]}, agent.initial(1), (0, 0), training
        act = functools.partial(agent.policy, *how, config.expl_amount)
        seconds = [seconds_of(act) for _ in range(10 + count)]
        a, b, c = np.percentile(1e3 * np.array(seconds[10:]), [50, 95, 99]).tolist()
        figures[name] = {"50": a, "95": b, "99": c}
        rows.append((f"{name} action", f"{a:.2f} ms median, {b:.2f} ms 95 %, {c:.2f} ms 99 %"))
    return figures, rows


def growth(config: Config, count: int) -> tuple[dict, Rows]:
    """By option `points`, each with its value, median seconds of an update and peak bytes.

    The exponents of time and memory are fitted by least squares in logarithms. Raises Failure if
    a point cannot be measured.
    """
    axes, rows = {}, []
    keys = ("seconds", "memory")
    for name, factors in AXES.items():
        # Augmented copies come beside the originals, so 1 + A is what grows.
        extra, points = (1 if name == "augmentations" else 0), []
        for factor in factors:
            size = round((getattr(config, name) + extra) * factor)
            value = size - extra
            found = _alone(dataclasses.replace(config, **{name: value}), count)
            seconds, peak = found["update"]["median"], found["memory"]
            points.append({"value": value, "size": size, "seconds": seconds, "memory": peak})
            rows.append((f"{name} {value}", f"{seconds:.3f} s, {peak / 2**30:.2f} GiB"))
        sizes, *logs = (np.log([point[key] for point in points]) for key in ("size", *keys))
        slopes = [float(np.polyfit(sizes, log, 1)[0]) for log in logs]
        axes[name] = {"points": points, "exponents": dict(zip(keys, slopes, strict=True))}
        text = "time {:.2f}, memory {:.2f}".format(*slopes) + " (of 1 + A)" * extra
        rows.append(("  exponents", text))
    return {"count": count, "axes": axes}, rows


def _alone(config: Config, count: int) -> dict:
    """Figures of `train_step` in a process of its own, for its memory."""
    spawn = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, spawn) as pool:
        try:
            return pool.submit(train_step, config, count).result()[0]
        except Exception as error:  # Whatever ends it; the memory may be too little.
            raise Failure(f"{type(error).__name__}: {error}") from error
