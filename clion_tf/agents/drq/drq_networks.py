"""DrQ's networks: convolutions, twin critics, a squashed Gaussian actor, a temperature.

Every weight matrix starts orthogonal and every bias at zero, as the reference's do; its kernels of
convolutions are orthogonal as matrices [3 * 3 * inputs, filters], with the gain of a relu.
"""

import math

import keras
import tensorflow as tf

from clion_tf.agents.drq.frame_stacks import CHANNELS
from clion_tf.config import Config
from clion_tf.models.distributions import TanhNormal
from clion_tf.models.layers import Conv2D, Dense, Network, by_path, through

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


class Encoder(Network):
    """Four convolutions, of a stack of frames [size, size, channels]."""

    @staticmethod
    def initializer(seed: int) -> keras.initializers.Initializer:
        return keras.initializers.Orthogonal(math.sqrt(2.0), seed)

    def __init__(self, size: int, channels: int, filters: int, name="encoder", **kwargs):
        super().__init__(name, **kwargs)
        each = [(Conv2D, filters, KERNEL, stride, tf.nn.relu) for stride in STRIDES]
        layers = {f"h{i}": layer for i, layer in enumerate(each, 1)}
        self.convs, shape = self.convolutions((None, size, size, channels), layers)
        self.size = math.prod(shape[1:])
        self.complete((size, size, channels), (self.size,))

    def call(self, image: tf.Tensor) -> tf.Tensor:
        """Stacks uint8 [N, S, S, channels] -> features [N, size]."""
        x = through(self.convs, tf.cast(image, self.compute_dtype) / 255)
        return tf.reshape(x, [-1, self.size])


class Projected(Network):
    """What begins with its own projection of the shared features: linear, layer norm, tanh."""

    initializer = keras.initializers.Orthogonal

    def __init__(self, features: int, projected: int, name: str, **kwargs):
        super().__init__(name, **kwargs)
        self.projection = self.dense("projection", features, projected)
        norm = LayerNorm(name="norm", dtype=self.dtype_policy)
        self.norm = self.with_weights(norm, (None, projected))

    def project(self, features: tf.Tensor) -> tf.Tensor:
        """features [N, F] -> [N, projected], of the compute type, in (-1, 1)."""
        return tf.cast(tf.tanh(self.norm(self.projection(features))), self.compute_dtype)

    def mlp(self, name: str, inputs: int, units: int, outputs: int) -> list[Dense]:
        """HIDDEN layers with relu and a linear one, whose output is float32 in any precision."""
        hidden = self.hidden_layers(inputs, units, HIDDEN, tf.nn.relu, name)
        return [*hidden, self.dense(f"{name}out", units, outputs, dtype="float32")]


class Critic(Projected):
    """Q1 and Q2 of one projection."""

    def __init__(
        self, features: int, projected: int, action_size: int, units: int, name="critic", **kwargs
    ):
        super().__init__(features, projected, name, **kwargs)
        inputs = projected + action_size
        self.q1 = self.mlp("q1_h", inputs, units, 1)
        self.q2 = self.mlp("q2_h", inputs, units, 1)
        self.complete((features + action_size,), (2,))

    def call(self, features: tf.Tensor, action: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """features [N, F], action [N, A] -> (Q1, Q2), each [N] float32."""
        x = tf.concat([self.project(features), action], -1)
        return through(self.q1, x)[:, 0], through(self.q2, x)[:, 0]


class Actor(Projected):
    """The policy: a Gaussian before tanh, its log-std mapped into LOG_STD by a tanh."""

    def __init__(self, features: int, projected: int, action_size: int, units: int, **kwargs):
        super().__init__(features, projected, "actor", **kwargs)
        self.hidden = self.mlp("h", projected, units, 2 * action_size)
        self.complete((features,), (action_size,))

    def call(self, features: tf.Tensor) -> TanhNormal:
        """features [N, F] -> a distribution over actions [N, A], float32."""
        mean, raw_log_std = tf.split(through(self.hidden, self.project(features)), 2, -1)
        return TanhNormal(mean, tf.exp(bounded_log_std(raw_log_std)))


class Temperature(Network):
    """alpha, kept positive as exp(log_alpha); float32."""

    def __init__(self, initial: float):
        super().__init__("temperature")
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


class Models(keras.Model):
    """All networks, by the names that checkpoints use; the targets start as copies."""

    def __init__(self, config: Config, action_size: int, dtype: str = "float32"):
        super().__init__(name="drq")
        kwargs = {"seed": config.seed, "dtype": dtype}
        seen = (config.drq_image_size, CHANNELS, config.drq_filters)
        self.encoder = Encoder(*seen, **kwargs)
        shape = (self.encoder.size, config.drq_feature_dim, action_size, config.drq_units)
        self.critic = Critic(*shape, **kwargs)
        self.actor = Actor(*shape, **kwargs)
        self.temperature = Temperature(config.drq_init_temperature)
        self.target_encoder = Encoder(*seen, "target_encoder", **kwargs)
        self.target_critic = Critic(*shape, "target_critic", **kwargs)
        self.built = True  # All weights are there.
        self.follow(1.0)

    def named_weights(self) -> dict[str, tf.Variable]:
        """{'part/layer/kernel': variable} of all networks."""
        return by_path(self.trainable_variables)

    def trained_by(self) -> dict[str, tuple[Network, ...]]:
        """Who trains whom: each loss and the networks that it moves, and no others."""
        return {
            "critic": (self.encoder, self.critic),
            "actor": (self.actor,),
            "temperature": (self.temperature,),
        }

    def follow(self, tau: float) -> None:
        """The targets' step: target <- tau * online + (1 - tau) * target (Polyak averaging)."""
        online = self.encoder.trainable_variables + self.critic.trainable_variables
        targets = self.target_encoder.trainable_variables + self.target_critic.trainable_variables
        for source, variable in zip(online, targets, strict=True):
            variable.assign(tau * source.value + (1.0 - tau) * variable.value)
