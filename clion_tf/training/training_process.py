"""The process that trains: it takes the folder, starts the workers, loads TensorFlow, and learns.

In this order, for workers load MuJoCo meanwhile, and what can be refused is refused in a moment.
"""

import contextlib
import dataclasses
import itertools
import signal

from clion_tf.config import FIELDS, Config
from clion_tf.console import EXIT_SIGNAL, OK, Refused, UserError, quiet_import, stop_signals
from clion_tf.envs import EnvError, EnvSpec, RemoteEnv, SupervisedEnvs, WorkerError
from clion_tf.logdir.run_folder import open_logdir
from clion_tf.training.run_state import Interrupted, Team

TEST_STREAM = 1_000_000  # Of the episodes of evaluations, away from training's.


def train(config: Config, team: Team | None = None) -> int:
    """A whole run; returns the exit code. Raises UserError, or OSError if the disk fails."""
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
            if stop:  # Who stops a run may well have stopped its workers too.
                return EXIT_SIGNAL + stop[0]
            raise refusal(error) from None
        stack.callback(run.logger.close)
        stack.callback(run.progress.close)
        try:
            loop.train(run)
        except Interrupted:
            where = "the last checkpoint" if run.unsaved else "here"
            run.progress.message(f"stopped; the same command resumes from {where}")
            return EXIT_SIGNAL + (stop or [signal.SIGTERM])[0]  # Another process may be asked.
        except EnvError as error:  # Of whatever kind: the task could be played before.
            raise UserError(str(error)) from error
        run.progress.message(f"done: {run.counters.steps} environment steps in {folder}")
        return OK


def specs(config: Config) -> tuple[EnvSpec, EnvSpec]:
    """What training and test environments are made from, the first of each kind."""
    names = FIELDS.keys() & {field.name for field in dataclasses.fields(EnvSpec)}
    train = EnvSpec(**{name: getattr(config, name) for name in names})
    if config.agent == "drq":
        size, told = config.drq_image_size, config.stack_rotation == "same"
        train = dataclasses.replace(train, size=(size, size), rotation_told=told)
    rotation, blank = config.test_rotation, config.test_blank
    test = dataclasses.replace(train, rotation_degrees=rotation, blank_frames=blank)
    return train, dataclasses.replace(test, stream=TEST_STREAM, index=config.envs)


def refusal(error: EnvError) -> UserError:
    """The error to report if an environment cannot be made: Refused if a retry cannot help."""
    # An exception in a worker will come again; one that died or hung may work next time.
    again = isinstance(error, WorkerError) and not error.raised
    return error if again else Refused(str(error))


def supervised(spec: EnvSpec, config: Config, count: int = 1) -> SupervisedEnvs:
    """Starts `count` environments, each with its own index, which a restart keeps."""
    numbers = itertools.cycle(range(spec.index, spec.index + count))

    def start() -> RemoteEnv:
        own = dataclasses.replace(spec, index=next(numbers))
        return RemoteEnv(own, config.worker_timeout)

    return SupervisedEnvs(start, config.env_restarts, count=count, same_way=config.episode_failures)
