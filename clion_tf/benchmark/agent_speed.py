"""Time, arithmetic and memory of updates and actions. Each command returns its figures."""

import collections
import concurrent.futures
import dataclasses
import functools
import multiprocessing
import pathlib
import re
import tempfile
from collections.abc import Mapping

import numpy as np

from clion_tf.benchmark import update_memory
from clion_tf.benchmark.measuring import prepared, seconds_of, spread
from clion_tf.config import Config
from clion_tf.console import UserError, quiet_import
from clion_tf.dreamer.original_code import memory, seconds_since_start

# oneDNN's names of an operation: _MklNativeFusedConv2D, _FusedMatMul, ...
DECORATION = re.compile(r"^_(Mkl)?(Native)?(Fused)?|WithBias$")
# The operations whose arithmetic counts, by what they are called in tables.
KINDS = {
    "MatMul": "matrix products",
    "Conv2D": "convolutions",
    "Conv2DBackpropInput": "transposed convolutions and gradients of inputs",
    "Conv2DBackpropFilter": "gradients of filters",
}
LOOPS = ("While", "StatelessWhile")
# Of operations that run a graph, which attribute names it.
INNER = {**dict.fromkeys(LOOPS, "body"), "PartitionedCall": "f", "StatefulPartitionedCall": "f"}
# What `growth` varies, by which factors of (B L), H and 1 + A.
AXES = {"batch_size": (0.5, 1, 2), "horizon": (0.5, 1, 2), "augmentations": (0.5, 1, 1.5)}


def train_step(config: Config, count: int) -> dict:
    """Of `count` updates, each beside a large matrix product of the same type.

    `update` in seconds, `rate` and `matrix_rate` in FLOP/s, `share` (median of the pairs' ratios),
    `flops` by kind, `first_update` in seconds since the process was started, `memory` (peak
    resident bytes), of a compiled update `xla_memory`, see `update_memory.of_each_precision`.
    """
    timed = prepared(config)
    timed.update()
    first = seconds_since_start()
    flops = update_flops(timed.agent, timed.batch)
    timed.update()
    peak = memory()
    seconds, rates = timed.beside_products(count)
    update, total = spread(seconds), flops.total()
    return {
        "device": timed.device, "update": update, "flops": {**flops, "all": total},
        "rate": total / update["median"], "matrix_rate": spread(rates),
        "share": float(np.median(total / (np.array(seconds) * rates))),
        "first_update": first, "memory": peak,
        **({"xla_memory": update_memory.of_each_precision(config)} if timed.agent.jit else {}),
    }  # fmt: skip


def profile(config: Config, count: int) -> dict:
    """Where the time of an update goes, of `count` under TensorFlow's profiler.

    Operations run one after the other here, each on all cores, so that their times add up. `kinds`
    have the seconds of an update, the FLOP counted in its graph and the rate, `largest` are single
    operations; `update` is without the profiler, `matrix_rate` of a large product in between.
    """
    with quiet_import():
        import tensorflow as tf
    tf.config.threading.set_inter_op_parallelism_threads(1)
    timed = prepared(config)
    for _ in range(2):
        timed.update()
    update, matrix = map(spread, timed.beside_products(count))
    with tempfile.TemporaryDirectory() as folder:
        tf.profiler.experimental.start(folder)
        for _ in range(count):
            timed.update()
        tf.profiler.experimental.stop()
        operations = _operations(pathlib.Path(folder), count)
    flops = update_flops(timed.agent, timed.batch)
    times: collections.Counter = collections.Counter()
    for name, seconds in operations.items():
        kind = DECORATION.sub("", name.rpartition(":")[2])
        times[KINDS.get(kind, "everything else")] += seconds
    kinds = {}
    for kind, seconds in times.most_common():
        share, rate = seconds / times.total(), flops[kind] / seconds
        kinds[kind] = {"seconds": seconds, "share": share, "flops": flops[kind], "rate": rate}
    figures = {"device": timed.device, "update": update, "matrix_rate": matrix, "kinds": kinds}
    return {**figures, "largest": operations.most_common(12)}


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


def policy(config: Config, count: int) -> dict:
    """Milliseconds from an image to an action in one environment: median, 95 and 99 per cent."""
    agent, batch, _, device = prepared(config)
    figures = {"device": device}
    for name, training in (("training", True), ("evaluation", False)):
        how = {"image": batch["image"][0, :1]}, agent.initial(1), (0, 0), training
        act = functools.partial(agent.policy, *how, config.expl_amount)
        seconds = [seconds_of(act) for _ in range(10 + count)]
        found = np.percentile(1e3 * np.array(seconds[10:]), [50, 95, 99]).tolist()
        figures[name] = dict(zip(("median", "p95", "p99"), found, strict=True))
    return figures


def growth(config: Config, count: int) -> dict:
    """How time and memory of an update grow with each option of AXES, by option in `axes`.

    `points`: value, size, median `seconds`, peak `memory` in bytes. `exponents`: of seconds and
    memory in size (augmentations: 1 + A), by least squares in logarithms. May raise UserError.
    """
    axes, keys = {}, ("seconds", "memory")
    for name, factors in AXES.items():
        # Augmented copies come beside the originals, so 1 + A is what grows.
        extra, points = (1 if name == "augmentations" else 0), []
        for factor in factors:
            size = round((getattr(config, name) + extra) * factor)
            found = _alone(dataclasses.replace(config, **{name: size - extra}), count)
            measured = dict(zip(keys, (found["update"]["median"], found["memory"]), strict=True))
            points.append({"value": size - extra, "size": size, **measured})
        sizes, *logs = (np.log([point[key] for point in points]) for key in ("size", *keys))
        slopes = [float(np.polyfit(sizes, log, 1)[0]) for log in logs]
        axes[name] = {"points": points, "exponents": dict(zip(keys, slopes, strict=True))}
    return {"count": count, "axes": axes}


def _alone(config: Config, count: int) -> dict:
    """Figures of `train_step` in a process of its own, for its memory."""
    with concurrent.futures.ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        try:
            return pool.submit(train_step, config, count).result()
        except Exception as error:  # Whatever ends it; the memory may be too little.
            raise UserError(f"{type(error).__name__}: {error}") from error


def update_flops(agent, batch: Mapping[str, np.ndarray]) -> collections.Counter:
    """Operations by kind of one update of a CLION agent on a batch [B, L, ...]."""
    import tensorflow as tf

    from clion_tf.learning import noise

    data = {key: tf.constant(value) for key, value in batch.items()}
    agent.build_optimizers()
    return graph_flops(agent._train.get_concrete_function(data, noise.key(0, "update", 0)).graph)


def graph_flops(graph, given: dict | None = None) -> collections.Counter:
    """FLOP of a graph by kind (the values of KINDS); a loop's body counts once for each iteration.

    `given` maps the graph's inputs to the caller's tensors. TensorFlow's own profiler adds up the
    same numbers (tested), but ignores loops and counts operations that no output needs.
    """
    given = given or {}
    total: collections.Counter = collections.Counter()
    for op in _needed(graph):
        if op.type in KINDS:
            total[KINDS[op.type]] += operation_flops(op)
        elif op.type in INNER:
            # All loops of ours reach their maximum of iterations.
            often = _number(op.inputs[1], given) if op.type in LOOPS else 1
            for kind, count in graph_flops(*_inner(op, given)).items():
                total[kind] += often * count
    return total


def _needed(graph) -> set:
    found, stack = set(), [t.op for t in graph.outputs] + list(graph.control_outputs)
    while stack:
        op = stack.pop()
        if op not in found:
            found.add(op)
            stack += [t.op for t in op.inputs] + list(op.control_inputs)
    return found


def operation_flops(op) -> int:
    """Of one operation of KINDS; all shapes must be known."""
    if op.type == "MatMul":
        rows = op.inputs[0].shape[0 if op.get_attr("transpose_a") else 1]
        return 2 * rows * op.outputs[0].shape.num_elements()
    # A gradient costs what the convolution does whose gradient it is.
    result = op.outputs[0] if op.type == "Conv2D" else op.inputs[2]
    kernel = op.outputs[0] if op.type == "Conv2DBackpropFilter" else op.inputs[1]
    positions = result.shape.num_elements() // result.shape[-1]
    return 2 * positions * kernel.shape.num_elements()


def _inner(op, given: dict) -> tuple:
    """The graph that an operation runs, and what its inputs are."""
    function = op.graph._get_function(op.get_attr(INNER[op.type]).name).graph
    outside = [given.get(t.ref(), t) for t in op.inputs]
    return function, {t.ref(): o for t, o in zip(function.inputs, outside, strict=True)}


def _number(tensor, given: dict) -> int:
    """The value of a maximum of iterations."""
    from tensorflow import get_static_value

    tensor = given.get(tensor.ref(), tensor)
    if tensor.op.type in LOOPS:  # A gradient runs as often as its loop did.
        return _number(tensor.op.inputs[1], given)
    if tensor.op.type in INNER:
        function, known = _inner(tensor.op, given)
        return _number(function.outputs[tensor.value_index], known)
    return int(get_static_value(tensor))
