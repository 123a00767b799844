"""CLION: Dreamer with constrained latent imagination, in TensorFlow 2 and Keras."""

__version__ = "0.1.0"


def load(logdir, checkpoint=None, device="auto", eval_action=None, seed=None):
    """A run's agent, as `TrainedAgent`. Only reads the run's folder, so training may continue.

    `checkpoint`: environment steps of a kept checkpoint, or a file; default: the newest readable
    one. `device`: `auto`, `gpu`, or `cpu`, which hides GPUs from the whole process. `eval_action`
    (`densest`, `mean`, `sample`) and `seed` (of the policy's noise) default to the run's. Raises
    LogdirError if there is no run, CheckpointError if there is no such or no readable checkpoint,
    ConfigError for other invalid arguments, and TensorFlow's RuntimeError for `cpu` if it already
    runs on a GPU.
    """
    # Here, for the environments' workers import this package and need none of it.
    from clion_tf.analysis.trained_agent import build, read

    return build(read(logdir, checkpoint), device, eval_action, seed)
