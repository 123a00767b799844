"""The process that trains: it takes the folder, starts the workers, loads TensorFlow, and learns.

In this order: the workers, which render, load MuJoCo while this process loads TensorFlow, and must
never share a process with it; what can be refused before is refused in a moment.
"""

import contextlib
import dataclasses
import itertools
import signal
from typing import Any

from clion_tf.config import Config
from clion_tf.console import EXIT_SIGNAL, OK, Refused, UserError, quiet_import, stop_signals
from clion_tf.envs import EnvError, EnvSpec, RemoteEnv, SupervisedEnvs, WorkerError
from clion_tf.logdir.run_folder import open_logdir
from clion_tf.training.run_state import Interrupted

TEST_STREAM = 1_000_000  # Of the episodes of evaluations, away from training's.


def train(config: Config, team: Any = None) -> int:
    """A whole run, by this process alone or as the chief of a `distributed.processes.Team`.

    Returns the exit code. Raises UserError in one line, OSError if the disk fails.
    """
    with contextlib.ExitStack() as stack:
        stop = stack.enter_context(stop_signals())
        folder = stack.enter_context(open_logdir(config))
        try:
            train_spec, test_spec = specs(config)
            train_envs = stack.enter_context(supervised(train_spec, config, config.envs))
            test_envs = stack.enter_context(supervised(test_spec, config))
            with quiet_import():
                from clion_tf.training import build_run, loop
            train_envs.wait_ready()
            test_envs.wait_ready()
            run = build_run.assemble(
                config, folder, train_envs, test_envs, lambda: bool(stop), team
            )
        except EnvError as error:
            # What raised in a worker will again; one that died or hung may have room next time.
            if isinstance(error, WorkerError) and not error.details:
                raise
            raise Refused(str(error)) from error
        stack.callback(run.close)
        try:
            loop.train(run)
        except Interrupted:
            where = "the last checkpoint" if run.unsaved else "here"
            run.progress.message(f"stopped; the same command goes on from {where}")
            return EXIT_SIGNAL + (stop or [signal.SIGTERM])[0]  # Another process may be asked.
        except EnvError as error:  # Of whatever kind: the task could be played before.
            raise UserError(str(error)) from error
        run.progress.message(f"done: {run.counters.steps} environment steps in {folder}")
        return OK


def specs(config: Config) -> tuple[EnvSpec, EnvSpec]:
    """What the training and the test environments are made from.

    Training environments are alike but for their own number, `index`, which counts on from here.
    """
    train = EnvSpec(
        task=config.task,
        seed=config.seed,
        action_repeat=config.action_repeat,
        time_limit=config.time_limit,
        observe=config.observe,
        rotation_degrees=config.rotation_degrees,
        rotation_fill=config.rotation_fill,
        rotation_per=config.rotation_per,
        blank_frames=config.blank_frames,
    )
    if config.agent == "drq":
        size, told = config.drq_image_size, config.stack_rotation == "same"
        train = dataclasses.replace(train, size=(size, size), rotation_told=told)
    test = dataclasses.replace(
        train,
        stream=TEST_STREAM,
        index=config.envs,
        rotation_degrees=config.test_rotation,
        blank_frames=config.test_blank,
    )
    return train, test


def supervised(spec: EnvSpec, config: Config, count: int = 1) -> SupervisedEnvs:
    """So many environments that start now, each with a number of its own that it keeps."""
    numbers = itertools.cycle(range(spec.index, spec.index + count))

    def start() -> RemoteEnv:
        own = dataclasses.replace(spec, index=next(numbers))
        return RemoteEnv(own, config.worker_timeout)

    return SupervisedEnvs(start, config.env_restarts, count=count, same_way=config.episode_failures)
