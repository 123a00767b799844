"""Command line: `clion-train --task=walker_walk --logdir=FOLDER [--flagfile=FILE or preset]`.

Where that is not installed as a command, `python -m clion_tf.run` is the same.

TensorFlow is imported late: the workers, which render, start first and must never share a process
with it, and `--help` and refusals need none of it.
"""

import contextlib
import dataclasses
import errno
import importlib
import itertools
import logging
import os
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence

from clion_tf import cluster, console
from clion_tf.checkpoint import CheckpointError
from clion_tf.config import Config, ConfigError, parse, usage
from clion_tf.console import FAILED, REFUSED
from clion_tf.envs import EnvError, EnvSpec, RemoteEnv, SupervisedEnvs, WorkerError
from clion_tf.files import PathError
from clion_tf.logdir import LogdirError, open_logdir
from clion_tf.replay import ReplayError

NAME = "clion_tf"
EXIT_SIGNAL = 128  # Plus the signal's number: stopped as asked, the same command goes on.

TEST_STREAM = 1_000_000  # Of the episodes of evaluations, away from training's.


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
    except cluster.PeerLost as error:
        return _fail(FAILED, error)
    except MemoryError as error:
        return _fail(FAILED, f"out of memory ({error}); a smaller --batch_size needs less")
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
    task = cluster.check(config, os.environ)
    if config.strategy == "none":
        return _learn(config)
    with quiet_import():
        from clion_tf import following
        from clion_tf.team import Team

    team = Team(config, task)
    if not task.chief:
        with stop_signals() as stop:
            try:
                return following.follow(team, lambda: bool(stop))
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
            from clion_tf import assemble, train
            from clion_tf.running import Interrupted
            from clion_tf.updates import BadNumbers

        train_envs.wait_ready()
        test_envs.wait_ready()
        run = assemble.assemble(config, logdir, train_envs, test_envs, lambda: bool(stop), team)
        stack.callback(run.logger.close)
        stack.callback(run.progress.close)
        try:
            train.train(run)
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


def specs(config: Config) -> tuple[EnvSpec, EnvSpec]:
    """What the training and the test environments are made from.

    All training environments are alike but for their own number, `index`, which counts on from
    the one given here: what an episode is depends on its number alone.
    """
    common = {
        "task": config.task,
        "seed": config.seed,
        "action_repeat": config.action_repeat,
        "time_limit": config.time_limit,
        "observe": config.observe,
        "rotation_fill": config.rotation_fill,
        "rotation_per": config.rotation_per,
    }
    if config.agent == "drq":
        common["size"] = (config.drq_image_size, config.drq_image_size)
        common["rotation_told"] = config.stack_rotation == "same"
    return (
        EnvSpec(
            **common,
            rotation_degrees=config.rotation_degrees,
            blank_frames=config.blank_frames,
        ),
        EnvSpec(
            **common,
            stream=TEST_STREAM,
            index=config.envs,
            rotation_degrees=config.test_rotation,
            blank_frames=config.test_blank,
        ),
    )


@contextlib.contextmanager
def quiet_import() -> Iterator[None]:
    """Holds back what TensorFlow writes to stderr while it loads, unless loading fails.

    Its banner comes before its log level is read, so no setting silences it.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.stderr.flush()
    with tempfile.TemporaryFile() as held, contextlib.ExitStack() as stack:
        stderr = os.dup(2)
        stack.callback(os.close, stderr)
        os.dup2(held.fileno(), 2)
        try:
            yield
        except BaseException:
            held.seek(0)
            os.write(stderr, held.read())
            raise
        finally:
            os.dup2(stderr, 2)


def load_tensorflow() -> None:
    """For command lines, whose stderr is theirs; `clion_tf.load` leaves the process's alone."""
    with quiet_import():
        importlib.import_module("clion_tf.agents")


@contextlib.contextmanager
def stop_signals() -> Iterator[list[int]]:
    """A list that the first Ctrl-C or SIGTERM is put into; a second Ctrl-C ends at once."""
    received: list[int] = []

    def note(number, frame):
        received.append(number)
        signal.signal(signal.SIGINT, signal.default_int_handler)

    old = {s: signal.signal(s, note) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)


if __name__ == "__main__":
    sys.exit(main())
