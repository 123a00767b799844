"""Environment steps per second, and where their time goes. Needs no TensorFlow."""

import dataclasses
import time
from collections.abc import Callable

import gymnasium
import numpy as np

from clion_tf.config import Config
from clion_tf.envs import EnvSpec, RemoteEnv
from clion_tf.envs.make_env import make

WARM_UP = 5  # Steps before the clock runs.


def measure(config: Config, workers: int, count: int) -> dict:
    """Random actions in 1, 2, 4, ... `workers` workers, `count` agent steps each.

    Returns:
      `agent_step`: milliseconds of physics (all repeats), rendering and transfer between the
      processes; `workers`: {number: environment steps per second of all together}.
    """
    spec = EnvSpec(
        task=config.task, seed=config.seed, action_repeat=config.action_repeat,
        time_limit=config.time_limit, index=0, rotation_degrees=config.rotation_degrees,
    )  # fmt: skip
    counts = sorted({2**k for k in range(16) if 2**k < workers} | {workers})
    step = _one_step(spec, count)
    return {
        "renderer": step.pop("renderer"),
        "agent_step": step,
        "workers": {number: _together(spec, number, count) for number in counts},
    }


def _one_step(spec: EnvSpec, count: int) -> dict:
    """Medians in milliseconds of an agent step here and, alternating, in a worker."""
    env = make(spec)
    base, times = env.unwrapped, {name: [] for name in ("physics", "rendering", "transfer")}
    try:
        with RemoteEnv(spec) as remote:
            env.reset(seed=0)
            remote.reset(0)
            for number in range(-WARM_UP, count):
                action = env.action_space.sample()
                here = _timed(lambda a=action: _step(env, a))
                there = _timed(lambda a=action: _step(remote, a))
                # The whole step again, in its parts.
                own = base.action_space.sample()
                physics = sum(
                    _timed(lambda a=own: _step(base, a)) for _ in range(spec.action_repeat)
                )
                rendering = _timed(base.render) if hasattr(base, "render") else 0.0
                if number >= 0:
                    for name, seconds in (
                        ("physics", physics),
                        ("rendering", rendering),
                        ("transfer", there - here),
                    ):
                        times[name].append(1e3 * seconds)
        renderer = str(getattr(base, "renderer", ""))
    finally:
        env.close()
    return {"renderer": renderer, **{k: float(np.median(v)) for k, v in times.items()}}


def _together(spec: EnvSpec, workers: int, count: int) -> float:
    """Environment steps per second of so many workers, asked all at once."""
    envs = [RemoteEnv(dataclasses.replace(spec, index=i)) for i in range(workers)]
    try:
        for env in envs:
            env.wait_ready()
            env.reset(0)
        seconds, episode = 0.0, 0
        for number in range(-WARM_UP, count):
            action = envs[0].action_space.sample()
            start = time.perf_counter()
            for env in envs:
                env.send_step(action)
            answers = [env.receive_step() for env in envs]
            ended = any(any(answer[2:4]) for answer in answers)
            seconds += time.perf_counter() - start if number >= 0 else 0.0
            if ended:
                episode += 1
                for env in envs:
                    env.reset(episode)
    finally:
        for env in envs:
            env.close()
    return workers * spec.action_repeat * count / seconds


def _step(env: gymnasium.Env | RemoteEnv, action: np.ndarray) -> None:
    _, _, terminated, truncated, _ = env.step(action)
    if terminated or truncated:
        env.reset(0) if isinstance(env, RemoteEnv) else env.reset()


def _timed(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def table(result: dict) -> list[tuple[str, str]]:
    """Rows of (what, figure)."""
    step = result["agent_step"]
    rows = [("renderer", result["renderer"])]
    rows += [
        (name, f"{step[name]:.2f} ms an agent step")
        for name in ("physics", "rendering", "transfer")
    ]
    return rows + [
        (f"{count} worker{'s' * (count > 1)}", f"{rate:.1f} environment steps/s")
        for count, rate in result["workers"].items()
    ]
