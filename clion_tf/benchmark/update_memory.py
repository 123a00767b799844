"""Memory of a compiled update, from XLA's own plan of its buffers (the "buffer assignment").

    python -m clion_tf.benchmark.update_memory FLAGS

compiles one update for this machine's device, makes none, and prints the figures as JSON. On a
machine without a GPU the plan is the CPU's: a GPU's fuses and orders operations otherwise, and its
convolutions take workspaces, which no plan has. What the driver, the code and the growth of
TensorFlow's pool take comes on top.
"""

import json
import os
import subprocess
import sys
from collections.abc import Sequence

from clion_tf.config import Config, parse, to_flagfile
from clion_tf.console import quiet_import

PRECISIONS = ("32", "bf16")
# The plan is made before machine code, which needs not be fast to be thrown away.
QUICKLY = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
GIB = 2**30


def planned(function, *arguments) -> dict[str, int]:
    """Bytes that a `tf.function(jit_compile=True)` needs for one call; it is not called.

    Returns:
      `arguments` (with the variables that it reads or writes), `temporary`, `results` (those that
      take no argument's place), `constants`, and `all` of them; {} if XLA keeps its plan to itself.
    """
    from tensorflow.compiler.xla.service import hlo_pb2

    compiled = function.experimental_get_compiler_ir(*arguments)
    program = hlo_pb2.HloProto.FromString(compiled(stage="optimized_hlo_proto_serialized"))
    if not program.HasField("buffer_assignment"):
        return {}
    sizes = dict.fromkeys(("arguments", "temporary", "results", "constants"), 0)
    for buffer in program.buffer_assignment.buffer_allocations:
        if not buffer.is_thread_local:  # Of a CPU's stack.
            sizes[_kind(buffer)] += buffer.size
    return {**sizes, "all": sum(sizes.values())}


def _kind(buffer) -> str:
    if buffer.is_entry_computation_parameter:
        return "arguments"
    if buffer.is_constant:
        return "constants"
    return "results" if buffer.maybe_live_out else "temporary"


def of_update(agent, batch: dict) -> dict[str, int]:
    """`planned` of one update of an agent with `jit`, and the bytes of its `batch`."""
    import tensorflow as tf

    from clion_tf.learning import noise

    data = {key: tf.constant(value) for key, value in agent.numbered(batch, 0).items()}
    sizes = planned(agent._train, data, tf.constant(noise.key(0, "update", 0)))
    return sizes and {**sizes, "batch": sum(value.nbytes for value in batch.values())}


def of_each_precision(config: Config) -> dict[str, dict[str, int]]:
    """By precision the figures of `of_update`, each from a process of its own.

    {} for one that XLA does not compile.
    """
    return {precision: _child(config, precision) for precision in PRECISIONS}


def _child(config: Config, precision: str) -> dict[str, int]:
    options = [*to_flagfile(config).splitlines(), f"--precision={precision}", "--jit=on"]
    flags = f"{QUICKLY} {os.environ.get('XLA_FLAGS', '')}"
    done = subprocess.run(
        [sys.executable, "-m", "clion_tf.benchmark.update_memory", *options],
        env={**os.environ, "XLA_FLAGS": flags},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    return json.loads(done.stdout.splitlines()[-1]) if done.returncode == 0 else {}


def table(found: dict[str, dict[str, int]]) -> list[tuple[str, str]]:
    """Rows of (what, figure)."""
    return [(f"XLA's buffers, precision {p}", _text(sizes)) for p, sizes in found.items()]


def _text(sizes: dict[str, int]) -> str:
    if not sizes:
        return "not told by XLA"
    parts = ", ".join(f"{kind} {sizes[kind] / GIB:.2f}" for kind in ("arguments", "temporary"))
    more = f"; each further update in a call {sizes['batch'] / GIB:.2f}"
    return f"{sizes['all'] / GIB:.2f} GiB ({parts}{more})"


def main(arguments: Sequence[str]) -> None:
    """Compiles, and prints one line of JSON."""
    config = parse(arguments)
    with quiet_import():
        from clion_tf.agents.clion import Agent
        from clion_tf.benchmark.original_updates import random_batch
        from clion_tf.benchmark.our_updates import ACTIONS
        from clion_tf.training.hardware import prepare
    precision, _, _ = prepare(config)
    agent = Agent(config, ACTIONS, False, precision, jit=True)
    batch = random_batch(config.batch_size, config.batch_length, ACTIONS)
    sys.stdout.write(json.dumps(of_update(agent, batch)) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
