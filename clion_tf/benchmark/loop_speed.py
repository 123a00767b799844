"""Environments, replay and the whole loop. Each returns figures; imports no TensorFlow."""

import contextlib
import dataclasses
import functools
import signal
import subprocess
import sys
import tempfile
import time

import gymnasium
import numpy as np

from clion_tf.analysis.curves import metrics_files
from clion_tf.benchmark.measuring import seconds_of, spread
from clion_tf.config import Config, to_flagfile
from clion_tf.console import UserError
from clion_tf.dreamer.original_code import memory, random_batch
from clion_tf.envs import EnvSpec, RemoteEnv
from clion_tf.envs.make_env import make
from clion_tf.logdir.run_folder import RunFolder
from clion_tf.replay.replay_buffer import Replay
from clion_tf.replay.stopwatch import PARTS
from clion_tf.training.training_process import specs

WARM_UP = 5  # Steps before the clock runs.
STEP = ("physics", "rendering", "transfer")


def env(config: Config, workers: int, count: int) -> dict:
    """Random actions in 1, 2, 4, ... `workers` workers, `count` agent steps each.

    `agent_step`: milliseconds of physics (all repeats), rendering and transfer between processes;
    `workers`: {number: environment steps per second of all together}.
    """
    spec, _ = specs(config)
    counts = sorted({2**k for k in range(16) if 2**k < workers} | {workers})
    renderer, step = _one_step(spec, count)
    together = {number: _together(spec, number, count) for number in counts}
    return {"renderer": renderer, "agent_step": step, "workers": together}


def _one_step(spec: EnvSpec, count: int) -> tuple[str, dict[str, float]]:
    """The renderer; medians in milliseconds of an agent step here and, alternating, in a worker."""
    env, times = make(spec), []
    base, draws = env.unwrapped, env.get_wrapper_attr("plan").rendered
    with contextlib.closing(env), RemoteEnv(spec) as remote:
        env.reset(seed=0)
        remote.reset(0)
        for _ in range(WARM_UP + count):
            action = env.action_space.sample()
            here, there = (seconds_of(functools.partial(_step, e, action)) for e in (env, remote))
            # The whole step again, in its parts.
            step = functools.partial(_step, base, base.action_space.sample())
            physics = sum(seconds_of(step) for _ in range(spec.action_repeat))
            rendering = seconds_of(base.render) if draws else 0.0
            times.append((physics, rendering, there - here))
        medians = 1e3 * np.median(times[WARM_UP:], axis=0)
        return str(getattr(base, "renderer", "")), dict(zip(STEP, medians.tolist(), strict=True))


def _step(env: gymnasium.Env | RemoteEnv, action: np.ndarray) -> None:
    _, _, terminated, truncated, _ = env.step(action)
    if terminated or truncated:
        env.reset(0) if isinstance(env, RemoteEnv) else env.reset()


def _together(spec: EnvSpec, workers: int, count: int) -> float:
    """Environment steps per second of so many workers, asked all at once."""
    seconds, episode = [], 0
    with contextlib.ExitStack() as stack:
        specs = [dataclasses.replace(spec, index=i) for i in range(workers)]
        envs = [stack.enter_context(RemoteEnv(one)) for one in specs]
        ended = True
        for _ in range(WARM_UP + count):
            for env in envs if ended else ():
                env.reset(episode)
            episode += ended
            action = envs[0].action_space.sample()
            start = time.perf_counter()
            for env in envs:
                env.send("step", action)
            answers = [env.receive() for env in envs]
            seconds.append(time.perf_counter() - start)
            ended = any(any(answer[2:4]) for answer in answers)
    return workers * spec.action_repeat * count / sum(seconds[WARM_UP:])


def replay(config: Config, episodes: int, count: int) -> dict:
    """Draws 5 * `count` batches from `episodes` random episodes on disk, in one thread.

    `batches_per_second` spread over five parts, `memory_growth` in bytes while they were drawn,
    and the batch's shape and bytes.
    """
    with tempfile.TemporaryDirectory() as folder:
        buffer = Replay(folder, config.batch_length, config.seed, config.dataset_balance)
        episode = random_batch(501)  # 1000 environment steps at action repeat 2.
        for _ in range(episodes):
            buffer.add(episode)

        def draw(part: int) -> None:
            for number in range(count):
                buffer.sample(config.batch_size, part * count + number)

        batch = buffer.sample(config.batch_size, 0)
        draw(0)  # From now on the files are in the cache.
        before = memory("RssAnon")
        rate = spread([count / seconds_of(functools.partial(draw, part)) for part in range(5)])
        grown = memory("RssAnon") - before
    return {
        "batch": [*batch["image"].shape[:2]], "batch_bytes": sum(v.nbytes for v in batch.values()),
        "episodes": episodes, "batches_per_second": rate, "memory_growth": grown,
    }  # fmt: skip


def run(config: Config, count: int) -> dict:
    """Trains `time_limit + count` environment steps after the seed episodes, in a temporary folder.

    Returns `fps` (environment steps per second) and seconds of each part of the loop, both without
    the first log line, in which the graph is built. Raises UserError if the run fails.
    """
    with tempfile.TemporaryDirectory() as folder:
        steps = config.prefill + config.time_limit + count
        own = [f"--logdir={folder}/run", f"--steps={steps}", "--log_every=1", "--pretrain=1"]
        own += [f"--eval_every={10**9}", "--video=none"]
        command = [sys.executable, "-m", "clion_tf.run", *to_flagfile(config).splitlines(), *own]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if (code := done.returncode) < 0:
            raise UserError(f"the run was killed by {signal.Signals(-code).name}")
        if code:
            raise UserError([f"exit code {code}", *done.stderr.strip().splitlines()][-1])
        points = metrics_files.read(RunFolder(f"{folder}/run").metrics_file).points
    names = ("fps", "loop_seconds", *(f"{part}_seconds" for part in PARTS))
    fps, loop, *parts = (points[name][1][1:] if name in points else np.zeros(0) for name in names)
    if not fps.size:
        raise UserError("the run was too short to be measured: give it a larger --count")
    at = points["fps"][0]
    seconds, steps = float(loop.sum()), int(at[-1] - at[0])
    times = {name: float(values.sum()) for name, values in zip(PARTS, parts, strict=True)}
    times["other"] = seconds - sum(times.values())
    return {"env_steps": steps, "seconds": seconds, "fps": steps / seconds, "parts": times}
