"""The environments of a run, told by its options."""

import dataclasses
import itertools

from clion_tf.config import Config
from clion_tf.envs import EnvSpec, RemoteEnv, SupervisedEnvs

TEST_STREAM = 1_000_000  # Of the episodes of evaluations, away from training's.


def specs(config: Config) -> tuple[EnvSpec, EnvSpec]:
    """What the training and the test environments are made from.

    All training environments are alike but for their own number, `index`, which counts on from
    the one given here: what an episode is depends on its number alone.
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
