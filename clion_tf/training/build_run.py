"""Puts a run together: device, agent, replay, logger, and the checkpoint that it goes on from."""

import functools
import math
import shutil
from collections.abc import Callable, Iterator
from typing import Any

import gymnasium
import numpy as np

from clion_tf.agents import KINDS
from clion_tf.agents.base import Learner
from clion_tf.agents.clion import Agent
from clion_tf.config import Config, ConfigError
from clion_tf.envs import SupervisedEnvs, nvidia_gpus
from clion_tf.logdir import code_versions
from clion_tf.logdir.checkpoints import Checkpoints, Counters, restore
from clion_tf.logdir.metrics_log import Logger, Progress
from clion_tf.logdir.run_folder import LogdirError, RunFolder
from clion_tf.replay.observation_shapes import DTYPES, Shapes, shapes_of
from clion_tf.replay.replay_buffer import Replay
from clion_tf.training import hardware, heldout_diagnostics, rehearsal
from clion_tf.training.run_state import Run

NUMBERS_BYTES = 100  # Room for a frame's action, reward and discount.


def assemble(
    config: Config,
    folder: RunFolder,
    train_envs: SupervisedEnvs,
    test_envs: SupervisedEnvs,
    stopping: Callable[[], bool],
    team: Any = None,
) -> Run:
    """A run that is ready to start, or to go on where its newest checkpoint left it.

    With a `distributed.processes.Team` its replicas make the updates. Raises ConfigError,
    CheckpointError or LogdirError in one line.
    """
    env = train_envs.envs[0]
    size, discrete = _actions(config, env.action_space)
    observed = shapes_of(env.observation_space)
    agent: Learner
    if team is None:
        precision, jit, device = hardware.prepare(config)
        agent = KINDS[config.agent](config, size, discrete, precision, jit, observed)
    else:
        agent, device = team.agent(size, discrete, observed), team.device
    checkpoints = Checkpoints(folder.checkpoints, config.keep_checkpoints)
    found, counters = checkpoints.load_newest(), Counters()
    if found is not None:
        arrays, counters = found
        restore(agent.named_state(), arrays)
    replay = Replay(
        folder.episodes,
        agent.sequence,
        config.seed,
        config.dataset_balance,
        {**agent.observed, "action": (size,)},
        config.replay_transitions,
        agent.lead,
    )
    if not replay.load(counters.episodes) and counters.episodes:
        raise LogdirError(
            f"{folder}: the checkpoint knows {counters.episodes} episodes, but none can be read"
        )
    code_versions.record(folder, counters.steps)
    folder.save_task(env.description)
    logger = Logger(folder, None if found is None else counters.metrics_bytes)
    progress = Progress(config.steps, counters.steps)
    rendering = f"; rendering by {env.renderer}" if env.renderer else ""
    for line in _introduction(config, folder, agent, counters, f"learner on {device}{rendering}"):
        progress.message(line)
    if slow := nvidia_gpus.slow_rendering(env.renderer):
        progress.message(slow)
    each = hardware.updates_per_call(config)
    if team is None:
        rehearsal.rehearse(agent, config, each, progress.message)
    run = Run(
        config, folder, agent, train_envs, test_envs, replay, logger, progress, checkpoints,
        counters, stopping, each,
    )  # fmt: skip
    if team is not None:
        run.announce = team.announce
    if config.log_images and isinstance(agent, Agent):
        run.look = functools.partial(heldout_diagnostics.newest_episode, agent, replay)
    return run


def _actions(config: Config, space: gymnasium.Space) -> tuple[int, bool]:
    """(size, discrete); refuses actions or noise that no agent makes, as only the task tells."""
    if isinstance(space, gymnasium.spaces.Box) and len(space.shape) == 1:
        size, discrete = space.shape[0], False
        kind, fitting, other = "boxes", "additive_gaussian", "epsilon_greedy"
    elif isinstance(space, gymnasium.spaces.Discrete):
        size, discrete = int(space.n), True
        kind, fitting, other = "discrete", "epsilon_greedy", "additive_gaussian"
    else:
        raise ConfigError(f"actions must be a vector or discrete, not {space}")
    if config.expl == other:
        raise ConfigError(
            f"--expl={other}: the actions of {config.task} are {kind}; "
            f"use auto, {fitting} or completely_random"
        )
    return size, discrete


def _introduction(
    config: Config, folder: RunFolder, agent: Learner, counters: Counters, learner: str
) -> Iterator[str]:
    begun = f"going on at {counters.steps} environment steps" if counters.steps else "new run"
    yield f"{config.task} in {folder}: {begun}"
    yield learner
    # What follows from the task and not from an option.
    if agent.world_model and config.pcont == "auto" and config.predicts_discount:
        yield "the task may terminate: predicting the discount (--pcont=False does not)"
    if agent.world_model and "image" not in agent.observed and config.beta1 > 0:
        yield "no images: without the embedding constraint, which rotates them"
    counts = ", ".join(f"{name} {n:,}" for name, n in agent.parameter_counts().items())
    yield f"parameters: {counts}"
    yield _disk_use(config, folder, agent.observed)
    yield from agent.summary(config.summary)


def _disk_use(config: Config, folder: RunFolder, observed: Shapes) -> str:
    """What the replay will take on disk, and a warning if that is more than there is."""
    steps = config.steps
    if config.replay_capacity:  # Also what the checkpoints before the newest may go back to.
        between = config.save_every + config.envs * config.time_limit
        steps = min(steps, config.replay_capacity + config.keep_checkpoints * between)
    frame = NUMBERS_BYTES + sum(
        math.prod(shape) * np.dtype(DTYPES[key]).itemsize for key, shape in observed.items()
    )
    need = steps / config.action_repeat * frame / 1e9
    free = shutil.disk_usage(folder).free / 1e9
    text = f"replay: up to {need:.1f} GB of episodes, {free:.1f} GB free here"
    return text if need < free else f"{text}; --replay_capacity bounds it"
