"""The environments of a run, told by its options."""

from clion_tf.config import Config
from clion_tf.envs import EnvSpec

TEST_STREAM = 1_000_000  # Of the episodes of evaluations, away from training's.


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
