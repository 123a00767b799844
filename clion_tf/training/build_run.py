"""Puts a run together: device, agent, replay, logger, and the checkpoint that it resumes from."""

import logging
import math
import shutil
from collections.abc import Callable

import gymnasium
import numpy as np

from clion_tf.agents import KINDS
from clion_tf.agents.base import Learner
from clion_tf.config import Config, ConfigError
from clion_tf.envs import SupervisedEnvs, nvidia_gpus
from clion_tf.logdir import code_versions
from clion_tf.logdir.checkpoints import Checkpoints, restore
from clion_tf.logdir.metrics_log import Logger, Progress
from clion_tf.logdir.run_folder import LogdirError, RunFolder
from clion_tf.replay.observation_shapes import DTYPES, shapes_of
from clion_tf.replay.replay_buffer import Replay
from clion_tf.training import hardware
from clion_tf.training.run_state import Run, Team

_log = logging.getLogger(__name__)


def assemble(
    config: Config, folder: RunFolder, train_envs: SupervisedEnvs, test_envs: SupervisedEnvs,
    stopping: Callable[[], bool], team: Team | None = None,
) -> Run:  # fmt: skip
    """A run that is ready to start, or to resume from its newest checkpoint."""
    env = train_envs.envs[0]
    size, discrete = _actions(config, env.action_space)
    observed = shapes_of(env.observation_space)
    agent: Learner
    if team is None:
        precision, jit, device = hardware.prepare(config)
        agent = KINDS[config.agent](config, size, discrete, observed, precision, jit)
    else:
        agent, device = team.agent(size, discrete, observed), team.device
    checkpoints = Checkpoints(folder.checkpoints, config.keep_checkpoints)
    arrays, counters = checkpoints.load_newest()
    if arrays:
        restore(agent.named_state(), arrays)
    shapes = {**agent.observed, "action": (size,)}
    replay = Replay(
        folder.episodes, agent.sequence_length, config.seed, config.dataset_balance, shapes,
        config.replay_transitions, agent.padding,
    )  # fmt: skip
    found, known = replay.load(counters.episodes), f"the checkpoint knows {counters.episodes}"
    if counters.episodes and not found:
        raise LogdirError(f"{folder}: {known} episodes, but none can be read")
    if replay.lacks(counters.episodes):
        _log.warning("%s episodes, of which %d are here: it resumes with these", known, found)
    code_versions.record(folder, counters.steps, device)
    folder.save_task(env.description)
    logger = Logger(folder, counters.metrics_bytes if arrays else None)
    folder.forget_after(counters.steps if arrays else -1)  # Of the attempt before, too.
    progress = Progress(config.steps, counters.steps)
    # On CPUs a call costs little, and a run can stop only between calls.
    each = config.updates_per_call or (10 if hardware.on_gpu() else 1)
    run = Run(
        config, folder, agent, train_envs, test_envs, replay, logger, progress, checkpoints,
        counters, stopping, each, team,
    )  # fmt: skip
    _introduce(run, device, env.renderer)
    if team is None and counters.steps < config.steps:
        hardware.rehearse(agent, config, each, progress.message)
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
        known = f"the actions of {config.task} are {kind}"
        raise ConfigError(f"--expl={other}: {known}; use auto, {fitting} or completely_random")
    return size, discrete


def _introduce(run: Run, device: str, renderer: str) -> None:
    """Says what is made where, and what follows from the task and not from an option."""
    say, config, agent, steps = run.progress.message, run.config, run.agent, run.counters.steps
    begun = f"resuming at {steps} environment steps" if steps else "new run"
    say(f"{config.task} in {run.folder}: {begun}")
    say(f"learner on {device}" + (f"; rendering by {renderer}" if renderer else ""))
    if agent.has_world_model and config.pcont == "auto" and config.predicts_discount:
        say("the task may terminate: predicting the discount (--pcont=False does not)")
    if agent.has_world_model and "image" not in agent.observed and config.beta1 > 0:
        say("no images: without the embedding constraint, which rotates them")
    counts = ", ".join(f"{name} {n:,}" for name, n in agent.parameter_counts().items())
    say(f"parameters: {counts}")
    say(_disk_use(run))
    for line in agent.summary(config.summary):
        say(line)
    if slow := nvidia_gpus.software_rendering_advice(renderer):
        say(slow)


def _disk_use(run: Run) -> str:
    """What the replay will take on disk, and a warning if that is more than there is."""
    config, observed = run.config, run.agent.observed.items()
    steps = min(config.steps, config.replay_capacity or config.steps)
    values = sum(math.prod(shape) * np.dtype(DTYPES[key]).itemsize for key, shape in observed)
    frame = values + 100  # For action, reward and discount.
    need = steps / config.action_repeat * frame / 1e9
    there = sum(path.stat().st_size for path in run.folder.episodes.glob("*.npz")) / 1e9
    free = shutil.disk_usage(run.folder).free / 1e9
    text = f"replay: about {need:.1f} GB of episodes, {free:.1f} GB free here"
    return text if need < free + there else f"{text}; --replay_capacity bounds it"
