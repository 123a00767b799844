"""Environments, each in a worker process of its own. Nothing here imports TensorFlow.

Importing this package loads neither MuJoCo nor OpenGL, which must not meet TensorFlow in one
process, nor what images are made with: that is `make_env`'s.
"""

from clion_tf.envs.env_spec import (
    EnvError,
    EnvSpec,
    EpisodeFailed,
    PromiseError,
    RenderingError,
    UnknownTaskError,
    WorkerError,
)
from clion_tf.envs.remote_env import RemoteEnv
from clion_tf.envs.supervised_envs import SupervisedEnvs

__all__ = [
    "EnvError",
    "EnvSpec",
    "EpisodeFailed",
    "PromiseError",
    "RemoteEnv",
    "RenderingError",
    "SupervisedEnvs",
    "UnknownTaskError",
    "WorkerError",
]
