"""The process that trains: it takes the folder, starts the workers, loads TensorFlow, and learns.

In this order: the workers, which render, load MuJoCo while this process loads TensorFlow, and must
never share a process with it; what can be refused before is refused in a moment.
"""

import contextlib
import signal
from collections.abc import Iterator
from typing import TYPE_CHECKING

from clion_tf.config import Config
from clion_tf.console import EXIT_SIGNAL, OK, Refused, UserError, quiet_import, stop_signals
from clion_tf.envs import EnvError, WorkerError
from clion_tf.logdir.run_folder import open_logdir
from clion_tf.training.env_specs import specs, supervised
from clion_tf.training.run_state import Interrupted

if TYPE_CHECKING:
    from clion_tf.training.build_run import Team


def train(config: Config, team: "Team | None" = None) -> int:
    """A whole run, by this process alone or as the chief of others; returns the exit code.

    Raises:
      UserError: in one line; Refused for what cannot begin.
      OSError: if the disk fails.
    """
    with contextlib.ExitStack() as stack:
        stop = stack.enter_context(stop_signals())
        folder = stack.enter_context(open_logdir(config))
        with _beginning():
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


@contextlib.contextmanager
def _beginning() -> Iterator[None]:
    """Refuses a task that cannot be played here."""
    try:
        yield
    except EnvError as error:
        # Whatever raised in a worker will again; one that died or hung may have room the next time.
        if isinstance(error, WorkerError) and not error.details:
            raise
        raise Refused(str(error)) from error
