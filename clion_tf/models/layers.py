"""The building blocks that every network shares: seeded Keras layers, named as in Dreamer."""

import zlib
from collections.abc import Callable, Iterable

import keras
import tensorflow as tf

ACTIVATIONS: dict[str, Callable] = {
    "elu": tf.nn.elu,
    "relu": tf.nn.relu,
    "swish": tf.nn.swish,
    "leaky_relu": tf.nn.leaky_relu,
}


def layer_seed(seed: int, *names: str) -> int:
    """Seed of one weight's first value: a function of its name, not of the order of creation."""
    return zlib.crc32("/".join([str(seed), *names]).encode()) & 0x7FFFFFFF


def by_path(variables: Iterable[keras.Variable]) -> dict[str, keras.Variable]:
    """{path: variable}; two of one name would lose one, so that is an error."""
    variables = list(variables)
    named = {variable.path: variable for variable in variables}
    if len(named) != len(variables):
        raise AssertionError(f"variables of one name among {sorted(v.path for v in variables)}")
    return named


class Network(keras.Layer):
    """A Keras layer whose weights exist as soon as it is constructed.

    Args:
      name: the part's name in checkpoints (`encoder`, `rssm`, ...).
      seed: seed of the first weights.
      dtype: Keras dtype policy; `mixed_bfloat16` computes in bfloat16 on float32 weights.
    """

    def __init__(self, name: str, seed: int = 0, dtype: str = "float32"):
        super().__init__(name=name, dtype=dtype)
        self._seed = seed
        self.built = True

    def dense(self, name: str, inputs: int, units: int, activation: Callable | None = None):
        """A built dense layer [., inputs] -> [., units], Glorot uniform as Keras defaults."""
        init = keras.initializers.GlorotUniform(seed=layer_seed(self._seed, self.name, name))
        layer = keras.layers.Dense(
            units, activation, kernel_initializer=init, dtype=self.dtype_policy, name=name
        )
        return self.with_weights(layer, (None, inputs))

    def with_weights(self, layer: keras.Layer, shape: tuple) -> keras.Layer:
        """The layer with its weights made for this input shape, `path` starting with our name."""
        with keras.name_scope(self.name):
            layer.build(shape)
        return layer
