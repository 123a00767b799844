"""Environments, each in a worker process of its own. Nothing here imports TensorFlow.

Importing this package loads no MuJoCo and no OpenGL, which must not meet it in one process.
"""

from clion_tf.envs.env_spec import EnvError as EnvError
from clion_tf.envs.env_spec import EnvSpec as EnvSpec
from clion_tf.envs.env_spec import EpisodeFailed as EpisodeFailed
from clion_tf.envs.env_spec import PromiseError as PromiseError
from clion_tf.envs.env_spec import UnknownTaskError as UnknownTaskError
from clion_tf.envs.env_spec import WorkerError as WorkerError
from clion_tf.envs.remote_env import RemoteEnv as RemoteEnv
from clion_tf.envs.supervised_envs import SupervisedEnvs as SupervisedEnvs
