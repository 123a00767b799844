"""CLION: Dreamer with constrained latent imagination, in TensorFlow 2 and Keras."""

__version__ = "0.1.0"


def load(logdir, checkpoint=None, device="auto", eval_action=None, seed=None):
    """The agent of a run. Changes nothing in its folder, so training may continue meanwhile.

    `checkpoint` is the environment steps of one that the run keeps, or a file, by default the
    newest that can be read; `device` is `auto`, `gpu`, or `cpu`, which hides GPUs from the whole
    process; `eval_action` (`densest`, `mean`, `sample`) and `seed`, of the policy's noise, are by
    default the run's. Raises LogdirError if there is no run, CheckpointError if there is no such
    checkpoint or none that can be read, ConfigError for other arguments that cannot be, and
    TensorFlow's RuntimeError for `cpu` where it runs on a GPU already.
    """
    # Here, for the environments' workers import this package and need none of it.
    from clion_tf.analysis.trained_agent import build, read

    return build(read(logdir, checkpoint), device, eval_action, seed)
