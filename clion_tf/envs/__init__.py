"""Environments, each in a worker process of its own. Nothing here imports TensorFlow.

`RemoteEnv` is what the learner uses. Importing this package loads neither MuJoCo nor OpenGL, which
must not meet TensorFlow in one process; `clion_tf.envs.dmc` and `clion_tf.envs.opengl` hold what
needs them.
"""

from clion_tf.envs.factory import episode_seed, make
from clion_tf.envs.remote import RemoteEnv
from clion_tf.envs.rotation import rotate_image
from clion_tf.envs.spec import (
    EnvError,
    EnvSpec,
    EpisodeFailed,
    PromiseError,
    RenderingError,
    UnknownTaskError,
    WorkerError,
)
from clion_tf.envs.supervised import SupervisedEnvs
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
