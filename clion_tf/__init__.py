"""CLION: Dreamer with constrained latent imagination, in TensorFlow 2 and Keras."""

__version__ = "0.1.0"


def load(logdir, checkpoint=None, device="auto", eval_action=None, seed=None):
    """A trained agent, `clion_tf.load(logdir).act(observation)`; see its docstring."""
    # Here, for the environments' workers import this package and need none of it.
    from clion_tf.analysis.trained_agent import load as load_

    return load_(logdir, checkpoint, device, eval_action, seed)
