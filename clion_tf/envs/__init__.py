"""Environments, each in a worker process of its own. Nothing here imports TensorFlow.

`RemoteEnv` is what the learner uses. Importing this package loads neither MuJoCo nor OpenGL, which
must not meet TensorFlow in one process; `clion_tf.envs.dmc` and `clion_tf.envs.opengl` hold what
needs them.
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
from clion_tf.envs.image_rotation import rotate_image
from clion_tf.envs.make_env import episode_seed, make
from clion_tf.envs.remote_env import RemoteEnv
from clion_tf.envs.supervised_envs import SupervisedEnvs
from clion_tf.envs.wrappers import (
    ActionRepeat,
    AddPicture,
    BlankFrames,
    NormalizeActions,
    RenderImage,
    RotateImage,
)

__all__ = [
    "ActionRepeat",
    "AddPicture",
    "BlankFrames",
    "EnvError",
    "EnvSpec",
    "EpisodeFailed",
    "NormalizeActions",
    "PromiseError",
    "RemoteEnv",
    "RenderImage",
    "RenderingError",
    "RotateImage",
    "SupervisedEnvs",
    "UnknownTaskError",
    "WorkerError",
    "episode_seed",
    "make",
    "rotate_image",
]
