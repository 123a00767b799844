"""Puts a run together: device, agent, replay, logger, and the checkpoint that it goes on from."""

import math
import pathlib
import shutil
from collections.abc import Callable

import gymnasium
import numpy as np

from clion_tf.agents import make_agent
from clion_tf.agents.base import Learner
from clion_tf.config import Config, ConfigError
from clion_tf.envs import SupervisedEnvs, nvidia_gpus
from clion_tf.logdir import code_versions
from clion_tf.logdir.checkpoints import Checkpoints, Counters, restore
from clion_tf.logdir.metrics_log import Logger, Progress
from clion_tf.logdir.run_folder import LogdirError, save_task
from clion_tf.replay.observation_shapes import DTYPES, Shapes, shapes_of
from clion_tf.replay.replay_buffer import Replay
from clion_tf.training import hardware, rehearsal
from clion_tf.training.run_state import Run, Team

NUMBERS_BYTES = 100  # Room for a frame's action, reward and discount.


def assemble(
    config: Config,
    logdir: pathlib.Path,
    train_envs: SupervisedEnvs,
    test_envs: SupervisedEnvs,
    stopping: Callable[[], bool],
    team: Team | None = None,
) -> Run:
    """A run that is ready to start, or to go on where its newest checkpoint left it.

    With a team its replicas make the updates.

    Raises:
      ConfigError, CheckpointError, LogdirError, WorkerError: in one line.
    """
    env = train_envs.envs[0]
    size, discrete = action_space(env.action_space)
    _check_exploration(config, discrete)
    observed = shapes_of(env.observation_space)
    if team is None:
        precision, jit, device = hardware.prepare(config)
        agent = make_agent.make(config, size, discrete, precision, jit, observed)
    else:
        agent, device = team.agent(size, discrete, observed), team.device
    checkpoints = Checkpoints(logdir / "checkpoints", config.keep_checkpoints)
    found = checkpoints.load_newest()
    counters = Counters()
    if found is not None:
        arrays, counters = found
        restore(agent.named_state(), arrays)
    replay = Replay(
        logdir / "episodes",
        agent.sequence,
        config.seed,
        config.dataset_balance,
        {**agent.observed, "action": (size,)},
        config.replay_capacity // config.action_repeat if config.replay_capacity else None,
        agent.lead,
    )
    if not replay.load(counters.episodes) and counters.episodes:
        raise LogdirError(
            f"{logdir}: the checkpoint knows {counters.episodes} episodes, but none can be read"
        )
    code_versions.record(logdir, counters.steps)
    save_task(logdir, env.description)
    logger = Logger(logdir, None if found is None else counters.metrics_bytes)
    progress = Progress(config.steps, counters.steps)
    for line in _introduction(config, logdir, agent, counters, device, env.renderer):
        progress.message(line)
    updates_per_call = hardware.updates_per_call(config)
    if team is None:
        rehearsal.rehearse(agent, config, size, updates_per_call, progress.message)
    run = Run(
        config,
        logdir,
        agent,
        train_envs,
        test_envs,
        replay,
        logger,
        progress,
        checkpoints,
        counters,
        stopping,
        updates_per_call,
    )
    if team is not None:
        run.announce = team.announce
    return run


def action_space(space: gymnasium.Space) -> tuple[int, bool]:
    """(size, discrete) of an action space.

    Raises:
      ConfigError: if it is neither a vector nor discrete.
    """
    if isinstance(space, gymnasium.spaces.Box) and len(space.shape) == 1:
        return space.shape[0], False
    if isinstance(space, gymnasium.spaces.Discrete):
        return int(space.n), True
    raise ConfigError(f"actions must be a vector or discrete, not {space}")


def _check_exploration(config: Config, discrete: bool) -> None:
    """Refuses noise that makes no actions of the task's kind, which only the task tells."""
    kind, other = ("discrete", "additive_gaussian") if discrete else ("boxes", "epsilon_greedy")
    if config.expl == other:
        fitting = "epsilon_greedy" if discrete else "additive_gaussian"
        raise ConfigError(
            f"--expl={other}: the actions of {config.task} are {kind}; "
            f"use auto, {fitting} or completely_random"
        )


def _introduction(config, logdir, agent, counters, device, renderer) -> list[str]:
    counts = ", ".join(f"{name} {n:,}" for name, n in agent.parameter_counts().items())
    begun = f"going on at {counters.steps} environment steps" if counters.steps else "new run"
    return [
        f"{config.task} in {logdir}: {begun}",
        f"learner on {device}" + (f"; rendering by {renderer}" if renderer else ""),
        *filter(None, [nvidia_gpus.slow_rendering(renderer)]),
        *_remarks(config, agent),
        f"parameters: {counts}",
        _disk_use(config, logdir, agent.observed),
        *agent.summary(config.summary),
    ]


def _remarks(config: Config, agent: Learner) -> list[str]:
    """What follows from the task and not from an option."""
    found = []
    if not agent.world_model:
        return found
    if config.pcont == "auto" and config.predicts_discount:
        found.append("the task may terminate: predicting the discount (--pcont=False does not)")
    if "image" not in agent.observed and config.beta1 > 0:
        found.append("no images: without the embedding constraint, which rotates them")
    return found


def _disk_use(config: Config, logdir: pathlib.Path, observed: Shapes) -> str:
    """What the replay will take on disk, and a warning if that is more than there is."""
    steps = config.steps
    if config.replay_capacity:
        # Between checkpoints: a whole number of rounds, by time only at least one.
        rounds = max(1, math.ceil(config.save_every / (config.envs * config.time_limit)))
        kept = config.keep_checkpoints * rounds * config.envs * config.time_limit
        steps = min(steps, config.replay_capacity + kept)
    frame = NUMBERS_BYTES + sum(
        math.prod(shape) * np.dtype(DTYPES[key]).itemsize for key, shape in observed.items()
    )
    need = steps / config.action_repeat * frame / 1e9
    free = shutil.disk_usage(logdir).free / 1e9
    text = f"replay: up to {need:.1f} GB of episodes, {free:.1f} GB free here"
    return text if need < free else f"{text}; --replay_capacity bounds it"
