"""DrQ's networks: convolutions, twin critics, a squashed Gaussian actor, a temperature.

Every weight matrix starts orthogonal and every bias at zero, as the reference's do; its kernels of
convolutions are orthogonal as matrices [3 * 3 * inputs, filters], with the gain of a relu.
"""

import math

import keras
import tensorflow as tf

from clion_tf.models.distributions import TanhNormal
from clion_tf.models.layers import Conv2D, Dense, Network, layer_seed

STRIDES = (2, 1, 1, 1)
KERNEL = 3
HIDDEN = 2  # Hidden layers of the actor and of each critic.
LOG_STD = (-10.0, 2.0)
NORM_EPSILON = 1e-5


class LayerNorm(keras.Layer):
    """x [N, F] -> mean 0 and variance 1 over F, times a gain, plus a bias; computes in float32."""

    def build(self, shape: tuple) -> None:
        self.gain = self.add_weight((shape[-1],), "ones", name="gain")
        self.bias = self.add_weight((shape[-1],), "zeros", name="bias")

    def compute_output_shape(self, shape: tuple) -> tuple:
        return shape

    def call(self, x: tf.Tensor) -> tf.Tensor:
        x = tf.cast(x, tf.float32)
        mean, variance = tf.nn.moments(x, -1, keepdims=True)
        gain, bias = (tf.cast(w, tf.float32) for w in (self.gain, self.bias))
        return (x - mean) * tf.math.rsqrt(variance + NORM_EPSILON) * gain + bias


class OrthogonalNetwork(Network):
    """A network whose kernels start orthogonal."""

    def initializer(self, name: str, gain: float = 1.0) -> keras.initializers.Initializer:
        """The first weights of our layer of that name."""
        return keras.initializers.Orthogonal(gain, seed=layer_seed(self._seed, self.name, name))

    def mlp(self, name: str, inputs: int, units: int, outputs: int) -> list[Dense]:
        """HIDDEN layers with relu and a linear one, whose output is float32 in any precision."""
        sizes = [inputs] + [units] * HIDDEN
        layers = [
            self.dense(f"{name}{i}", sizes[i], sizes[i + 1], tf.nn.relu) for i in range(HIDDEN)
        ]
        return [*layers, self.dense(f"{name}out", units, outputs, dtype="float32")]


class Encoder(OrthogonalNetwork):
    """Four convolutions, of a stack of frames.

    Args:
      size: of the images, at least 15, which leave one pixel.
      channels: of a stack.
      filters: of every convolution.
    """

    def __init__(
        self, size: int, channels: int, filters: int, name="encoder", seed=0, dtype="float32"
    ):
        super().__init__(name, seed, dtype)
        shape, self.convs = (None, size, size, channels), []
        for i, stride in enumerate(STRIDES):
            name = f"h{i + 1}"
            layer = Conv2D(
                filters,
                KERNEL,
                strides=stride,
                activation=tf.nn.relu,
                kernel_initializer=self.initializer(name, math.sqrt(2.0)),
                name=name,
                dtype=self.dtype_policy,
            )
            self.convs.append(self.with_weights(layer, shape))
            shape = layer.compute_output_shape(shape)
        self.size = math.prod(shape[1:])
        self.complete((size, size, channels), (self.size,))

    def call(self, image: tf.Tensor) -> tf.Tensor:
        """Stacks uint8 [N, S, S, channels] -> features [N, size]."""
        x = tf.cast(image, self.compute_dtype) / 255
        for conv in self.convs:
            x = conv(x)
        return tf.reshape(x, [-1, self.size])


class Projected(OrthogonalNetwork):
    """What begins with its own projection of the shared features: linear, layer norm, tanh."""

    def __init__(self, features: int, projected: int, name: str, seed=0, dtype="float32"):
        super().__init__(name, seed, dtype)
        self.projection = self.dense("projection", features, projected)
        norm = LayerNorm(name="norm", dtype=self.dtype_policy)
        self.norm = self.with_weights(norm, (None, projected))

    def project(self, features: tf.Tensor) -> tf.Tensor:
        """features [N, F] -> [N, projected], of the compute type, in (-1, 1)."""
        return tf.cast(tf.tanh(self.norm(self.projection(features))), self.compute_dtype)


class Critic(Projected):
    """Q1 and Q2 of one projection."""

    def __init__(
        self, features: int, projected: int, action_size: int, units: int,
        name="critic", seed=0, dtype="float32",
    ):  # fmt: skip
        super().__init__(features, projected, name, seed, dtype)
        inputs = projected + action_size
        self.q1 = self.mlp("q1_h", inputs, units, 1)
        self.q2 = self.mlp("q2_h", inputs, units, 1)
        self.complete((features + action_size,), (2,))

    def call(self, features: tf.Tensor, action: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """features [N, F], action [N, A] -> (Q1, Q2), each [N] float32."""
        x = tf.concat([self.project(features), action], -1)
        q1, q2 = (_run(layers, x) for layers in (self.q1, self.q2))
        return q1[:, 0], q2[:, 0]


class Actor(Projected):
    """The policy: a Gaussian before tanh, its log-std mapped into LOG_STD by a tanh."""

    def __init__(
        self, features: int, projected: int, action_size: int, units: int,
        name="actor", seed=0, dtype="float32",
    ):  # fmt: skip
        super().__init__(features, projected, name, seed, dtype)
        self.hidden = self.mlp("h", projected, units, 2 * action_size)
        self.complete((features,), (action_size,))

    def call(self, features: tf.Tensor) -> TanhNormal:
        """features [N, F] -> a distribution over actions [N, A], float32."""
        raw = _run(self.hidden, self.project(features))
        mean, raw_log_std = tf.split(raw, 2, -1)
        return TanhNormal(mean, tf.exp(bounded_log_std(raw_log_std)))


class Temperature(Network):
    """alpha, kept positive as exp(log_alpha); float32."""

    def __init__(self, initial: float, name: str = "temperature"):
        super().__init__(name)
        constant = keras.initializers.Constant(math.log(initial))
        self.log_alpha = self.add_weight((), constant, name="log_alpha")
        self.complete((), ())

    @property
    def alpha(self) -> tf.Tensor:
        """The weight of the entropy, a scalar."""
        return tf.exp(tf.convert_to_tensor(self.log_alpha))


def bounded_log_std(raw: tf.Tensor) -> tf.Tensor:
    """The actor's output [N, A] -> log-std in LOG_STD, its middle at 0 (the reference)."""
    low, high = LOG_STD
    return low + 0.5 * (high - low) * (tf.tanh(raw) + 1.0)


def _run(layers: list[Dense], x: tf.Tensor) -> tf.Tensor:
    for layer in layers:
        x = layer(x)
    return x
