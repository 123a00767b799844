"""Command line: `clion-train --task=walker_walk --logdir=FOLDER [--flagfile=FILE or preset]`.

Where that is not installed as a command, `python -m clion_tf.run` is the same.

TensorFlow is imported late: the workers, which render, start first and must never share a process
with it, and `--help` and refusals need none of it.
"""

import contextlib
import dataclasses
import errno
import itertools
import logging
import os
import signal
import sys
from collections.abc import Sequence

from clion_tf import console
from clion_tf.config import Config, ConfigError, parse, usage
from clion_tf.console import EXIT_SIGNAL, FAILED, REFUSED, quiet_import, stop_signals
from clion_tf.distributed import tf_config
from clion_tf.envs import EnvError, EnvSpec, RemoteEnv, SupervisedEnvs, WorkerError
from clion_tf.files import PathError
from clion_tf.logdir.checkpoints import CheckpointError
from clion_tf.logdir.run_folder import LogdirError, open_logdir
from clion_tf.replay.replay_buffer import ReplayError
from clion_tf.training.env_specs import specs

NAME = "clion_tf"


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit code."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    if any(word in ("--help", "-h", "--helpfull") for word in arguments):
        return console.guarded(NAME, _help, ("stdout", "stderr"))
    return console.guarded(NAME, lambda: _main(arguments), ("stderr",))


def _help() -> int:
    sys.stdout.write(f"{__doc__}\n{usage()}")
    return 0


def _main(arguments: Sequence[str]) -> int:
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        return _run(parse(arguments))
    except WorkerError as error:
        # Whatever raised in it will again; a worker that died or hung may not have room enough now.
        return _fail(REFUSED if error.details else FAILED, error)
    except (ConfigError, LogdirError, CheckpointError, PathError, EnvError) as error:
        return _fail(REFUSED, error)
    except OSError as error:
        return _fail(FAILED, _describe(error))
    except tf_config.PeerLost as error:
        return _fail(FAILED, error)
    except MemoryError as error:
        less = "a smaller --batch_size needs less, and so does --precision=bf16"
        return _fail(FAILED, f"out of memory ({error}); {less}")
    except KeyboardInterrupt:  # The second Ctrl-C; the first one stops at the next step.
        return EXIT_SIGNAL + signal.SIGINT


def _describe(error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return (
            f"no room to write: {error}; the last checkpoint is whole, "
            "make room and run the same command again"
        )
    return str(error)


def _fail(code: int, error: Exception | str) -> int:
    return console.fail(NAME, code, error)


def _run(config: Config) -> int:
    task = tf_config.check(config, os.environ)
    if config.strategy == "none":
        return _learn(config)
    with quiet_import():
        from clion_tf.distributed import follower
        from clion_tf.distributed.processes import Team

    team = Team(config, task)
    if not task.chief:
        with stop_signals() as stop:
            try:
                return follower.follow(team, lambda: bool(stop))
            except ReplayError as error:
                return _fail(FAILED, error)
    code = FAILED
    try:
        code = _learn(config, team)
        return code
    finally:
        team.end(code)


def _learn(config: Config, team=None) -> int:
    """The run itself, by this process alone or as the chief of others."""
    with contextlib.ExitStack() as stack:
        stop = stack.enter_context(stop_signals())
        logdir = stack.enter_context(open_logdir(config))
        # The workers load MuJoCo while this process loads TensorFlow.
        train_spec, test_spec = specs(config)
        train_envs = stack.enter_context(_supervised(train_spec, config, config.envs))
        test_envs = stack.enter_context(_supervised(test_spec, config))
        with quiet_import():
            from clion_tf.training import build_run, loop
            from clion_tf.training.run_state import Interrupted
            from clion_tf.training.update_phase import BadNumbers

        train_envs.wait_ready()
        test_envs.wait_ready()
        run = build_run.assemble(config, logdir, train_envs, test_envs, lambda: bool(stop), team)
        stack.callback(run.logger.close)
        stack.callback(run.progress.close)
        try:
            loop.train(run)
        except Interrupted:
            where = "here" if run.done == run.saved else "the last checkpoint"
            run.progress.message(f"stopped; the same command goes on from {where}")
            return EXIT_SIGNAL + (stop or [signal.SIGTERM])[0]  # Another process may be asked.
        except (EnvError, ReplayError, BadNumbers) as error:
            return _fail(FAILED, error)
        run.progress.message(f"done: {run.counters.steps} environment steps in {logdir}")
        return 0


def _supervised(spec: EnvSpec, config: Config, count: int = 1) -> SupervisedEnvs:
    # Each is started again under its own number.
    numbers = itertools.cycle(range(spec.index, spec.index + count))

    def start() -> RemoteEnv:
        own = dataclasses.replace(spec, index=next(numbers))
        return RemoteEnv(own, config.worker_timeout)

    return SupervisedEnvs(start, config.env_restarts, count=count, same_way=config.episode_failures)


if __name__ == "__main__":
    sys.exit(main())
