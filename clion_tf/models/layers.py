"""What every network is built of: seeded Keras layers, named as in Dreamer."""

import contextlib
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping

import keras
import tensorflow as tf

ACTIVATIONS = {"elu": tf.nn.elu, "relu": tf.nn.relu, "leaky_relu": tf.nn.leaky_relu}


def layer_seed(seed: int, *names: str) -> int:
    """Seed of one weight's first value: a function of its name, not of the order of creation."""
    return zlib.crc32("/".join([str(seed), *names]).encode()) & 0x7FFFFFFF


def known(shape: tf.TensorShape) -> list[int]:
    """A shape for tf.reshape; of its dimensions at most one may be open."""
    return [-1 if size is None else size for size in shape]


def rows_of(x: tf.Tensor) -> int | tf.Tensor:
    """N of [N, ...], a number where it is known."""
    return tf.shape(x)[0] if x.shape[0] is None else x.shape[0]


def through(layers: Iterable[Callable], x: tf.Tensor) -> tf.Tensor:
    """x through the layers, one after the other."""
    for layer in layers:
        x = layer(x)
    return x


def in_rows(layers: Iterable[Callable], x: tf.Tensor) -> tf.Tensor:
    """x [..., F] as rows through the layers: [N, G]."""
    return through(layers, tf.reshape(x, [-1, x.shape[-1]]))


def by_path(variables: Iterable[keras.Variable]) -> dict[str, keras.Variable]:
    """{path: variable}; two of one name would lose one, so that is an error."""
    variables = list(variables)
    named = {variable.path: variable for variable in variables}
    assert len(named) == len(variables)
    return named


@tf.custom_gradient
def add_bias_16(x: tf.Tensor, bias: tf.Tensor) -> tf.Tensor:
    """x [..., C] + bias [C] in 16 bits, with a gradient of its own (ours).

    TensorFlow's sums thousands of rows in the type of x, on CPUs, and a sum in bfloat16 stops
    growing at 256 times what is added to it.
    """

    def gradients(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        rows = tf.reshape(upstream, [-1, upstream.shape[-1]])
        if rows.dtype == tf.bfloat16:
            # A product adds up in float32, and takes a third of the time of a cast and a sum.
            total = tf.matmul(tf.ones([1, tf.shape(rows)[0]], rows.dtype), rows)[0]
        else:  # In float16 the sum may be too large for the type.
            total = tf.reduce_sum(tf.cast(rows, tf.float32), 0)
        return upstream, tf.cast(total, bias.dtype)

    return tf.nn.bias_add(x, bias), gradients


class OwnBias:
    """A mixin, before the Keras layer whose weights it keeps: `add_bias_16`, not Keras's sum.

    A subclass has `product(x, kernel)`, the output before bias and activation; both inputs are of
    the compute type.
    """

    def call(self, x: tf.Tensor) -> tf.Tensor:
        y = self.product(x, tf.convert_to_tensor(self.kernel))
        bias = tf.convert_to_tensor(self.bias)
        if y.shape[-1] != bias.shape[0]:  # A packed image: four pixels side by side.
            bias = tf.tile(bias, [y.shape[-1] // bias.shape[0]])
        add = tf.nn.bias_add if y.dtype == tf.float32 else add_bias_16
        return self.activation(add(y, bias))


class Dense(OwnBias, keras.layers.Dense):
    """x [N, inputs] -> [N, units]."""

    def product(self, x: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        return tf.matmul(x, kernel)


class Conv2D(OwnBias, keras.layers.Conv2D):
    """x [N, H, W, inputs] -> [N, H', W', filters]."""

    def product(self, x: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        return self.convolution_op(x, kernel)


class Network(keras.Model):
    """A Keras model whose weights exist as soon as it is constructed.

    Its name is the part's in checkpoints (`encoder`, `rssm`, ...), the seed that of the first
    weights, `dtype` a Keras dtype policy.
    """

    initializer: Callable = keras.initializers.GlorotUniform  # Of kernels, by a seed.

    def __init__(self, name: str, seed: int = 0, dtype: str = "float32"):
        super().__init__(name=name, dtype=dtype)
        self._seed = seed

    def build(self, input_shape: tuple) -> None:
        """Nothing: the constructor has made the weights."""

    def complete(self, inputs: tuple, outputs: tuple) -> None:
        """Ends a constructor; shapes of one input and one output (or event), for summaries."""
        self.input_shape, self.output_shape = (None, *inputs), (None, *outputs)
        self.build(self.input_shape)

    def dense(
        self, name: str, inputs: int, units: int, activation: Callable | None = None, dtype=None
    ) -> Dense:
        """A built dense layer [., inputs] -> [., units], in the network's type or in `dtype`."""
        return self._made(Dense, name, (None, inputs), units, activation=activation, dtype=dtype)

    def hidden_layers(
        self, inputs: int, units: int, count: int, act: Callable, name: str = "h"
    ) -> list[Dense]:
        """Built dense layers h0, h1, ... of one number of units."""
        sizes = [inputs] + [units] * count
        return [self.dense(f"{name}{i}", sizes[i], units, act) for i in range(count)]

    def convolutions(self, shape: tuple, kinds: Mapping[str, tuple]) -> tuple[list, tuple]:
        """Built layers, one after the other, from inputs of this shape; the output's shape.

        Of each layer by its name: class, filters, kernel size, stride and activation.
        """
        layers = []
        for name, (kind, *sizes, act) in kinds.items():
            layers.append(self._made(kind, name, shape, *sizes, activation=act))
            shape = layers[-1].compute_output_shape(shape)
        return layers, shape

    def _made(self, kind: type, name: str, shape: tuple, *sizes: int, dtype=None, **options):
        first = self.initializer(seed=layer_seed(self._seed, self.name, name))
        own = {"kernel_initializer": first, "dtype": dtype or self.dtype_policy}
        return self.with_weights(kind(*sizes, name=name, **own, **options), shape)

    def with_weights(self, layer: keras.Layer, shape: tuple) -> keras.Layer:
        """The layer with its weights made for this input shape, `path` starting with our name."""
        with keras.name_scope(self.name):
            layer.build(shape)
        return layer


def frozen(network: Network) -> keras.StatelessScope:
    """Inside `with frozen(network):` no gradient flows into its weights.

    Not watching them is not enough inside a tf.while_loop: its gradient is computed for everything
    that the loop body reads.
    """
    return keras.StatelessScope(
        [(v, tf.stop_gradient(v.value)) for v in network.trainable_variables]
    )


@contextlib.contextmanager
def watching(networks: Iterable[Network], persistent: bool = False) -> Iterator[tf.GradientTape]:
    """`with watching(networks) as tape`: a tape that sees only these networks' weights."""
    with tf.GradientTape(persistent, watch_accessed_variables=False) as result:
        for network in networks:
            for variable in network.trainable_variables:
                result.watch(variable.value)
        yield result
