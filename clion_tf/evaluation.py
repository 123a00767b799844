"""Episodes of an acting agent in several environments at once. Knows no network."""

import dataclasses
import functools
import queue
import threading
from collections.abc import Callable, Iterator

from clion_tf.config import Config
from clion_tf.envs import EnvSpec, RemoteEnv, SupervisedEnvs
from clion_tf.envs.remote import Ready
from clion_tf.episodes import Episode
from clion_tf.interaction import OnStep, Policy, run_episode
from clion_tf.results.statistics import summary
from clion_tf.run import specs

STREAM = 2_000_000  # Of episodes, away from those that a run trains and tests on.
GRACE = 10.0  # Seconds that environments get to finish the step they are at.


class Stopped(Exception):
    """Another worker has failed, or nobody waits any more."""


def spec(config: Config, rotation_degrees: float | None = None) -> EnvSpec:
    """The environment of a run's task for evaluations after it; None: rotated as in its own.

    Episodes of equal number and seed begin alike at every rotation, so that scores can be paired.
    """
    _, test = specs(config)
    degrees = test.rotation_degrees if rotation_degrees is None else rotation_degrees
    return dataclasses.replace(test, stream=STREAM, index=0, rotation_degrees=degrees)


def play(
    make_policy: Callable[[], Policy],
    spec: EnvSpec,
    count: int,
    workers: int,
    timeout: float = 120.0,
    restarts: int = 10,
    on_ready: Callable[[Ready], None] = lambda ready: None,
) -> Iterator[tuple[int, Episode]]:
    """Plays episodes 0 ... count - 1; yields (number, episode) as each ends, in any order.

    What an episode holds does not depend on `workers`, provided that a policy's actions depend on
    the episode's number and frames only. Who stops iterating, by `break` or Ctrl-C, ends the
    environments too.

    Args:
      make_policy: called once for each worker.
      workers: environments that run side by side, each in a thread of its own here.
      timeout, restarts: see RemoteEnv and SupervisedEnvs.
      on_ready: told what each worker's environment is, in that worker's thread.

    Raises:
      EnvError: when an environment cannot be made, fails too often or gives what is no episode.
    """
    todo: queue.SimpleQueue[int] = queue.SimpleQueue()
    for number in range(count):
        todo.put(number)
    done: queue.SimpleQueue[tuple[int, Episode] | BaseException] = queue.SimpleQueue()
    stop = threading.Event()

    def check(step: int = 0) -> None:
        if stop.is_set():
            raise Stopped

    def start(index: int) -> RemoteEnv:
        check()
        return RemoteEnv(dataclasses.replace(spec, index=spec.index + index), timeout)

    def work(index: int) -> None:
        try:
            policy = make_policy()
            # Made here, because an environment's process ends with the thread that started it.
            with SupervisedEnvs(functools.partial(start, index), restarts) as envs:
                # What cannot be made fails here, at once and not after all restarts.
                on_ready(envs.wait_ready())
                while True:
                    number = todo.get_nowait()
                    play_one = functools.partial(_one, policy, number, check)
                    done.put((number, envs.attempt(play_one, lambda: None)))
        except queue.Empty:
            return
        except BaseException as error:  # Raised again where it is waited for.
            done.put(error)

    # Daemons, because an environment that hangs must not keep this process from ending.
    side_by_side = range(min(max(1, workers), count))
    threads = [threading.Thread(target=work, args=(i,), daemon=True) for i in side_by_side]
    try:
        for thread in threads:
            thread.start()
        for _ in range(count):
            result = done.get()
            if isinstance(result, BaseException):
                raise result
            yield result
    finally:
        stop.set()
        for thread in threads:
            if thread.ident is not None:  # Else an interrupt came before its start.
                thread.join(GRACE)


def _one(policy: Policy, number: int, check: OnStep, envs: list[RemoteEnv]) -> Episode:
    return run_episode(envs[0], policy, number, check)


@dataclasses.dataclass(frozen=True)
class Scores:
    """Episodes at one rotation, in the order of their numbers.

    Attributes:
      rotation_degrees: each frame was rotated by U(-x, x).
      returns: sums of rewards.
      lengths: in agent steps.
      renderer: what drew; '' if that is not known.
    """

    rotation_degrees: float
    returns: list[float]
    lengths: list[int]
    renderer: str = ""


def evaluate(
    make_policy: Callable[[], Policy],
    config: Config,
    rotation_degrees: float,
    episodes: int,
    workers: int,
    on_episode: Callable[[float], None] = lambda score: None,
) -> Scores:
    """Plays a run's task; the same numbers whatever `workers`.

    Args:
      make_policy: see `play`.
      config: the run's options; its seed is that of the episodes too.
      on_episode: told each return as its episode ends.

    Raises:
      EnvError: see `play`.
    """
    played: dict[int, tuple[float, int]] = {}
    renderers: set[str] = set()
    for number, episode in play(
        make_policy,
        spec(config, rotation_degrees),
        episodes,
        workers,
        config.worker_timeout,
        config.env_restarts,
        lambda ready: renderers.add(ready.renderer),
    ):
        played[number] = float(episode["reward"].sum()), len(episode["reward"]) - 1
        on_episode(played[number][0])
    returns, lengths = zip(*(played[number] for number in range(episodes)), strict=True)
    return Scores(rotation_degrees, list(returns), list(lengths), ", ".join(sorted(renderers)))


def as_dict(scores: Scores) -> dict:
    """What a JSON file holds of one rotation."""
    values = dataclasses.asdict(scores)
    return {**values, "summary": dataclasses.asdict(summary(scores.returns))}


HEADER = " degrees  episodes      mean       std  95% interval of the mean (t)"


def row(scores: Scores) -> str:
    """A line under HEADER."""
    found = summary(scores.returns)
    std, interval = "-", "- (needs two episodes)"
    if found.count > 1:
        std, interval = f"{found.std:.1f}", f"{found.low:.1f} to {found.high:.1f}"
    left = f"{scores.rotation_degrees:>8g}  {found.count:>8}  {found.mean:>8.1f}  {std:>8}"
    return f"{left}  {interval}"
