"""Episodes of an acting agent in several environments at once. Knows no network."""

import concurrent.futures
import dataclasses
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from clion_tf.analysis.curves.return_statistics import Summary, summary
from clion_tf.config import Config
from clion_tf.envs import EnvError, EnvSpec, SupervisedEnvs
from clion_tf.envs.remote_env import Ready
from clion_tf.replay.episode_files import Episode
from clion_tf.replay.episode_player import Observation, Policy, run_episodes
from clion_tf.training.training_process import refusal, specs, supervised

STREAM = 2_000_000  # Of episodes, away from those that a run trains and tests on.
DIGITS = 4  # Decimals of what is written down; returns are sums of float32.


def spec(config: Config, **changes: Any) -> EnvSpec:
    """The environment of a run's task for evaluations after it.

    Changes that are None are left out. Episodes of equal number and seed begin alike at every
    rotation and probability of blank frames, so that scores can be paired.
    """
    given = {name: value for name, value in changes.items() if value is not None}
    return dataclasses.replace(specs(config)[1], stream=STREAM, index=0, **given)


class _SideBySide:
    """A policy for each of some environments, all of them at work at the same time."""

    def __init__(self, policies: Sequence[Policy]):
        self._policies = policies
        self._threads = concurrent.futures.ThreadPoolExecutor(len(policies))

    def begin(self, episodes: Sequence[int]) -> None:
        for policy, episode in zip(self._policies, episodes, strict=False):
            policy.begin([episode])

    def act(self, observed: Sequence[Observation]) -> np.ndarray:
        alone = ([one] for one in observed)
        return np.concatenate([*self._threads.map(lambda p, o: p.act(o), self._policies, alone)])


def play(
    make_policy: Callable[[], Policy], config: Config, spec: EnvSpec, count: int, workers: int,
    on_ready: Callable[[Ready], None] = lambda ready: None, **how: Any,
) -> Iterator[tuple[int, Episode]]:  # fmt: skip
    """Yields (number, episode) of episodes 0 ... count - 1, played in `workers` environments.

    Each environment has a policy of its own. If policies depend on the episode's number and frames
    only, the episodes do not depend on `workers`. `on_ready` gets the environments' description,
    `how` goes to `run_episodes`. Raises what `require` raises, and EnvError if an environment
    fails more often than the options allow or if its episode is not valid.
    """
    workers = min(workers, count)
    policy = _SideBySide([make_policy() for _ in range(workers)])
    with supervised(spec, config, workers) as envs:
        on_ready(_ready(envs))  # What cannot be made fails here, not after all restarts.
        for first in range(0, count, workers):
            numbers = range(first, min(first + workers, count))
            episodes = envs.attempt(
                lambda each, n=numbers: run_episodes(each[: len(n)], policy, n, **how), lambda: None
            )
            yield from zip(numbers, episodes, strict=True)


def require(config: Config, spec: EnvSpec) -> None:
    """Makes the environment once; raises Refused if it never can be made, EnvError if not now."""
    with supervised(spec, config) as envs:
        _ready(envs)


def _ready(envs: SupervisedEnvs) -> Ready:
    try:
        return envs.wait_ready()
    except EnvError as error:
        raise refusal(error) from None


class Conditions(NamedTuple):
    """What an agent has to cope with while it is evaluated."""

    rotation_degrees: float = 0.0  # Each frame (or episode, as in the run): by U(-x, x).
    memory_noise: float = 0.0  # See `clion_tf.analysis.memory_noise`.
    blank_frames: float = 0.0  # Probability of a frame that shows nothing.


def grid(
    rotations: Sequence[float], noises: Sequence[float], blanks: Sequence[float],
    one_at_a_time: bool = False,
) -> list[Conditions]:  # fmt: skip
    """All combinations, or those in which at most one thing differs from the first of its list."""
    every = dict.fromkeys(map(Conditions._make, itertools.product(rotations, noises, blanks)))
    first = next(iter(every))
    if one_at_a_time:
        every = [one for one in every if sum(a != b for a, b in zip(one, first, strict=True)) <= 1]
    return list(every)


class Scores(NamedTuple):
    """Episodes under the same conditions, in the order of their numbers."""

    conditions: Conditions
    returns: list[float]  # Sums of rewards.
    lengths: list[int]  # In agent steps.
    renderer: str = ""  # What drew; '' if that is not known.


def evaluate(
    make_policy: Callable[[], Policy], config: Config, conditions: Conditions,
    episodes: int, workers: int,
) -> Scores:  # fmt: skip
    """`play`s a run's task, with its seed; a bar on a terminal counts the episodes.

    Any noise on memory is the policy's own doing.
    """
    rotation, noise, blank = conditions
    where = spec(config, rotation_degrees=rotation, blank_frames=blank)
    told = f"rotation {rotation:g}, noise {noise:g}, blank {blank:g}"
    returns, lengths, ready = [], [], []
    played = play(make_policy, config, where, episodes, workers, ready.append)
    for _, episode in tqdm(played, told, episodes, leave=False, unit="episode", disable=None):
        returns.append(float(episode["reward"].sum()))
        lengths.append(len(episode["reward"]) - 1)
    return Scores(conditions, returns, lengths, ready[0].renderer)


def as_dict(scores: Scores, first: Scores) -> dict:
    """What a JSON file holds of the episodes under the same conditions.

    `change` is what they change in the returns, episode by episode: they begin alike.
    """
    pairs = zip(scores.returns, first.returns, strict=True)
    return {
        **scores.conditions._asdict(),
        "returns": [round(value, DIGITS) for value in scores.returns],
        "lengths": scores.lengths,
        "summary": _rounded(summary(scores.returns)),
        "change": _rounded(summary([here - there for here, there in pairs])),
    }


def _rounded(found: Summary) -> dict:
    values = dataclasses.asdict(found).items()
    return {name: value if value is None else round(value, DIGITS) for name, value in values}


COLUMNS = "{:>8}  {:>6}  {:>6}  {:>8}  {:>8}  {:>8}  {:<22}  {}"
HEADER = COLUMNS.format(
    "rotation", "noise", "blank", "episodes", "mean", "std", "95% interval (t)",
    "change from the first row",
)  # fmt: skip


def row(scores: Scores, first: Scores) -> str:
    """A line under HEADER; `first` is what the change is counted from."""
    cell = as_dict(scores, first)
    found, change = cell["summary"], cell["change"]
    conditions = (f"{x:g}" for x in scores.conditions)
    std = "-" if found["std"] is None else f"{found['std']:.1f}"
    told = found["count"], f"{found['mean']:.1f}", std, _interval(found)
    changed = "" if scores is first else f"{change['mean']:+.1f} ({_interval(change)})"
    return COLUMNS.format(*conditions, *told, changed).rstrip()


def _interval(found: dict) -> str:
    if found["low"] is None:
        return "- (needs two episodes)"
    return f"{found['low']:.1f} to {found['high']:.1f}"
