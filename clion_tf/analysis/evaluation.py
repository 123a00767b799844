"""Episodes of an acting agent in several environments at once. Knows no network."""

import dataclasses
import functools
import itertools
import queue
import threading
from collections.abc import Callable, Iterator, Sequence

from clion_tf.analysis.curves.return_statistics import Summary, summary
from clion_tf.config import Config
from clion_tf.envs import EnvSpec, RemoteEnv, SupervisedEnvs
from clion_tf.envs.remote_env import Ready
from clion_tf.replay.episode_files import Episode
from clion_tf.replay.episode_player import OnStep, Policy, run_episode
from clion_tf.training.training_process import specs

STREAM = 2_000_000  # Of episodes, away from those that a run trains and tests on.
DIGITS = 4  # Decimals of what is written down; returns are sums of float32.
GRACE = 10.0  # Seconds that environments get to finish the step they are at.


class Stopped(Exception):
    """Another worker has failed, or nobody waits any more."""


def spec(
    config: Config, rotation_degrees: float | None = None, blank_frames: float | None = None
) -> EnvSpec:
    """The environment of a run's task for evaluations after it; None: as in its own.

    Episodes of equal number and seed begin alike at every rotation and probability of blank
    frames, so that scores can be paired.
    """
    _, test = specs(config)
    given = {"rotation_degrees": rotation_degrees, "blank_frames": blank_frames}
    given = {name: value for name, value in given.items() if value is not None}
    return dataclasses.replace(test, stream=STREAM, index=0, **given)


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
class Conditions:
    """What an agent has to cope with while it is evaluated.

    Attributes:
      rotation_degrees: each frame (or episode, as in the run) is rotated by U(-x, x).
      memory_noise: on its memory, see `clion_tf.analysis.memory_noise`.
      blank_frames: probability of a frame that shows nothing.
    """

    rotation_degrees: float = 0.0
    memory_noise: float = 0.0
    blank_frames: float = 0.0


def grid(
    rotations: Sequence[float],
    noises: Sequence[float],
    blanks: Sequence[float],
    one_at_a_time: bool = False,
) -> list[Conditions]:
    """All combinations, each once, the first of each list first.

    one_at_a_time: only those in which at most one thing differs from the first of its list.
    """
    every = itertools.product(rotations, noises, blanks)
    first = rotations[0], noises[0], blanks[0]
    return [
        Conditions(*one)
        for one in dict.fromkeys(every)
        if not one_at_a_time or sum(a != b for a, b in zip(one, first, strict=True)) <= 1
    ]


@dataclasses.dataclass(frozen=True)
class Scores:
    """Episodes under the same conditions, in the order of their numbers.

    Attributes:
      conditions: of all of them.
      returns: sums of rewards.
      lengths: in agent steps.
      renderer: what drew; '' if that is not known.
    """

    conditions: Conditions
    returns: list[float]
    lengths: list[int]
    renderer: str = ""


def evaluate(
    make_policy: Callable[[], Policy],
    config: Config,
    conditions: Conditions,
    episodes: int,
    workers: int,
    on_episode: Callable[[float], None] = lambda score: None,
) -> Scores:
    """Plays a run's task; the same numbers whatever `workers`.

    Args:
      make_policy: see `play`; any noise on memory is the policy's own doing.
      config: the run's options; its seed is that of the episodes too.
      on_episode: told each return as its episode ends.

    Raises:
      EnvError: see `play`.
    """
    played: dict[int, tuple[float, int]] = {}
    renderers: set[str] = set()
    for number, episode in play(
        make_policy,
        spec(config, conditions.rotation_degrees, conditions.blank_frames),
        episodes,
        workers,
        config.worker_timeout,
        config.env_restarts,
        lambda ready: renderers.add(ready.renderer),
    ):
        played[number] = float(episode["reward"].sum()), len(episode["reward"]) - 1
        on_episode(played[number][0])
    returns, lengths = zip(*(played[number] for number in range(episodes)), strict=True)
    return Scores(conditions, list(returns), list(lengths), ", ".join(sorted(renderers)))


def change(scores: Scores, first: Scores) -> Summary:
    """What the conditions change in the returns, episode by episode: they begin alike."""
    pairs = zip(scores.returns, first.returns, strict=True)
    return summary([here - there for here, there in pairs])


def as_dict(scores: Scores, first: Scores) -> dict:
    """What a JSON file holds of the episodes under the same conditions."""
    return {
        **dataclasses.asdict(scores.conditions),
        "returns": [round(value, DIGITS) for value in scores.returns],
        "lengths": scores.lengths,
        "summary": _rounded(summary(scores.returns)),
        "change": _rounded(change(scores, first)),
    }


def _rounded(found: Summary) -> dict:
    values = dataclasses.asdict(found).items()
    return {name: value if value is None else round(value, DIGITS) for name, value in values}


HEADER = (
    "rotation   noise   blank  episodes      mean       std"
    "  95% interval (t)        change from the first row"
)


def row(scores: Scores, first: Scores) -> str:
    """A line under HEADER; `first` is what the change is counted from."""
    found, told = summary(scores.returns), scores.conditions
    left = f"{told.rotation_degrees:>8g}  {told.memory_noise:>6g}  {told.blank_frames:>6g}"
    std = "-" if found.std is None else f"{found.std:.1f}"
    left = f"{left}  {found.count:>8}  {found.mean:>8.1f}  {std:>8}  {_interval(found):<22}"
    if scores is first:
        return left.rstrip()
    changed = change(scores, first)
    return f"{left}  {changed.mean:+.1f} ({_interval(changed)})"


def _interval(found: Summary) -> str:
    if found.low is None:
        return "- (needs two episodes)"
    return f"{found.low:.1f} to {found.high:.1f}"
