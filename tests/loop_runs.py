"""Runs of the loop with the fakes of loop_fakes.py, without processes and networks."""

import itertools
import json

from loop_fakes import CheckingAgent, CountingEnv

from clion_tf.config import Config
from clion_tf.envs import SupervisedEnvs
from clion_tf.logdir.checkpoints import Checkpoints, restore
from clion_tf.logdir.metrics_log import Logger, Progress
from clion_tf.logdir.run_folder import RunFolder
from clion_tf.replay.observation_shapes import PIXELS
from clion_tf.replay.replay_buffer import Replay
from clion_tf.replay.stopwatch import PARTS
from clion_tf.training import run_state

OPTIONS = {
    "steps": 140,
    "save_every": 1,  # After every episode.
    "prefill": 40,
    "time_limit": 20,
    "eval_every": 40,
    "log_every": 40,
    "train_every": 20,
    "train_steps": 3,
    "pretrain": 5,
    "batch_size": 2,
    "batch_length": 4,
    "video": "none",
    "log_images": False,
}
SHAPES = {**PIXELS, "action": (2,)}
TIMING = {
    "fps",
    "updates_per_second",
    "loop_seconds",
    *(f"{part}_seconds" for part in PARTS),
}


def start(
    folder,
    stopping=lambda: False,
    length=10,
    fails=(),
    skips=lambda update: False,
    broken=(),
    broken_tests=(),
    **options,
):
    """A run in the folder, from its newest checkpoint if it has one (as assemble does).

    The environment fails once in each of the episodes `fails` and always in `broken`, that of
    evaluations in `broken_tests`; the agent skips updates.
    """
    config, agent = Config(**{**OPTIONS, **options}), CheckingAgent(skips)
    # With one environment always the same object, which remembers what it was asked for.
    fails, test_env = list(fails), CountingEnv(length, broken=broken_tests)
    first, alone = CountingEnv(length, fails, broken), config.envs == 1
    envs = (first if alone else CountingEnv(length, fails, broken) for _ in itertools.count())
    checkpoints = Checkpoints(folder / "checkpoints", config.keep_checkpoints)
    arrays, counters = checkpoints.load_newest()
    if arrays:
        restore(agent.named_state(), arrays)
    replay = Replay(folder / "episodes", config.batch_length, config.seed, shapes=SHAPES)
    replay.load(counters.episodes)
    return run_state.Run(
        config,
        RunFolder(folder),
        agent,
        SupervisedEnvs(
            lambda: next(envs),
            config.env_restarts,
            count=config.envs,
            same_way=config.episode_failures,
        ),
        SupervisedEnvs(lambda: test_env, config.env_restarts, same_way=config.episode_failures),
        replay,
        Logger(folder, counters.metrics_bytes),
        Progress(config.steps),
        checkpoints,
        counters,
        stopping,
        max(1, config.updates_per_call),
    )


def lines(folder):
    rows = [json.loads(line) for line in RunFolder(folder).metrics_file.read_text().splitlines()]
    return [{k: v for k, v in row.items() if k not in TIMING} for row in rows]


def result(run):
    """Everything that must not depend on interruptions."""
    episodes = {p.name: p.read_bytes() for p in run.folder.episodes.glob("*.npz")}
    digest = run.agent.named_state()["weights/digest"].numpy().tobytes()
    return digest, episodes, lines(run.folder)
