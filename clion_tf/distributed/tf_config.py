"""Which part of a run this process is, from TF_CONFIG; imports no TensorFlow."""

import json
import re
from collections.abc import Mapping
from typing import NamedTuple

from clion_tf.config import Config, ConfigError
from clion_tf.console import UserError

_ADDRESS = re.compile(r"\S+:\d{1,5}")
_HOW = '{"cluster": {"worker": ["host:port", ...]}, "task": {"type": "worker", "index": 0}}'


class PeerLost(UserError, RuntimeError):
    """A replica, or the process that it lived in, is gone; the message is one line."""


class Task(NamedTuple):
    """One process of a run: its number (0 is the chief's), and how many there are."""

    index: int
    count: int

    @property
    def chief(self) -> bool:
        """Whether this one collects, evaluates and writes."""
        return self.index == 0


def check(config: Config, environ: Mapping[str, str]) -> Task:
    """What this process is, before anything is made; ConfigError if TF_CONFIG does not fit."""
    if config.strategy == "none":
        return Task(0, 1)
    if config.agent != "clion":
        raise ConfigError(f"--strategy={config.strategy}: not with --agent={config.agent}")
    if config.jit == "on":
        raise ConfigError(f"--jit=on: not with --strategy={config.strategy}; leave it at auto")
    if config.strategy == "mirrored":
        return Task(0, 1)
    task = _task(environ.get("TF_CONFIG", ""))
    check_batch(config, task.count, "processes in TF_CONFIG")
    return task


def check_batch(config: Config, parts: int, what: str) -> None:
    """Refuses a batch that cannot be split into equal parts: weights and means rely on that."""
    if config.batch_size % parts:
        raise ConfigError(
            f"--batch_size={config.batch_size}: not divisible by the {parts} {what} "
            f"(--strategy={config.strategy})"
        )


def _task(text: str) -> Task:
    if not text:
        raise ConfigError(
            f"--strategy=multiworker: set TF_CONFIG in the environment to who takes part: {_HOW}"
        )
    try:
        found = json.loads(text)
        jobs = {"chief": [], "worker": [], **found["cluster"]}
        kind, index = found["task"]["type"], found["task"]["index"]
        addresses = [*jobs["chief"], *jobs["worker"]]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(f"TF_CONFIG: not of the form {_HOW} ({error!r})") from error
    if len(jobs) > 2 or len(jobs["chief"]) > 1:
        raise ConfigError(f"TF_CONFIG: only workers, and one chief, take part; use {_HOW}")
    for address in addresses:
        known = isinstance(address, str) and _ADDRESS.fullmatch(address)
        if not known or addresses.count(address) > 1:
            raise ConfigError(f"TF_CONFIG: {address!r} is not host:port, or is there twice")
    if type(index) is not int or not 0 <= index < len(jobs.get(kind, [])):
        raise ConfigError(f"TF_CONFIG: its cluster has no {kind} number {index}")
    return Task(index + (len(jobs["chief"]) if kind == "worker" else 0), len(addresses))
