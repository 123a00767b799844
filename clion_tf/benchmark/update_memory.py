"""Memory of a compiled update, from XLA's own plan of its buffers (the "buffer assignment").

    python -m clion_tf.benchmark.update_memory FLAGS

compiles one update for this machine's device, makes none, and prints the figures as JSON. What the
plan lacks: docs/gpu.md.
"""

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Sequence

from clion_tf.benchmark.measuring import prepared
from clion_tf.config import Config, parse, to_flagfile

# The plan is made before machine code, which needs not be fast to be thrown away.
QUICKLY = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"


def planned(function, *arguments) -> dict[str, int]:
    """Bytes that a `tf.function(jit_compile=True)` needs for one call, which is not made.

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
        if buffer.is_thread_local:  # Of a CPU's stack.
            continue
        kind = "results" if buffer.maybe_live_out else "temporary"
        if buffer.is_entry_computation_parameter:
            kind = "arguments"
        elif buffer.is_constant:
            kind = "constants"
        sizes[kind] += buffer.size
    return {**sizes, "all": sum(sizes.values())}


def of_update(agent, batch: dict) -> dict[str, int]:
    """`planned` of one update of an agent with `jit`, and the bytes of its `batch`."""
    import tensorflow as tf

    from clion_tf.learning import noise

    agent.build_optimizers()
    data = {key: tf.constant(value) for key, value in agent.with_schedule(batch, 0).items()}
    sizes = planned(agent._train, data, tf.constant(noise.key(0, "update", 0)))
    return sizes and {**sizes, "batch": sum(value.nbytes for value in batch.values())}


def of_each_precision(config: Config) -> dict[str, dict[str, int]]:
    """By precision `of_update`, from a process of its own; {} where XLA does not compile it."""
    found = {}
    environment = {**os.environ, "XLA_FLAGS": f"{QUICKLY} {os.environ.get('XLA_FLAGS', '')}"}
    for precision in ("32", "bf16"):
        options = to_flagfile(dataclasses.replace(config, precision=precision)).splitlines()
        command = [sys.executable, "-m", "clion_tf.benchmark.update_memory", *options]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        found[precision] = {} if done.returncode else json.loads(done.stdout.splitlines()[-1])
    return found


def main(arguments: Sequence[str]) -> None:
    """Compiles, and prints one line of JSON."""
    timed = prepared(dataclasses.replace(parse(arguments), jit="on"))
    sys.stdout.write(json.dumps(of_update(timed.agent, timed.batch)) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
