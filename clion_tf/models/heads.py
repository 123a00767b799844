"""Dense heads: reward, value, discount and evaluator (DenseHead), action model (ActionHead)."""

import math
from collections.abc import Callable

import tensorflow as tf
from tensorflow_probability import distributions as tfd

from clion_tf.models.distributions import ActionDistribution, OneHot, TanhNormal
from clion_tf.models.layers import Network, in_rows, through


class DenseHead(Network):
    """Dense layers that end in one number and its distribution (Dreamer's DenseDecoder, shape ()).

    With `dist` `normal` it is the mean of a unit-variance Gaussian (reward, value), with `binary`
    the logit of a Bernoulli distribution (discount, evaluator).
    """

    def __init__(
        self, name: str, inputs: int, layers: int, units: int, dist: str = "normal",
        act: Callable = tf.nn.elu, **kwargs,
    ):  # fmt: skip
        super().__init__(name, **kwargs)
        self._dist = dist
        self.hidden = self.hidden_layers(inputs, units, layers, act)
        # Values reach 200 (a reward of 2 at a discount of 0.99), where bfloat16 has steps of 1.
        self.hout = self.dense("hout", units, 1, dtype="float32")
        self.complete((inputs,), ())

    def call(self, features: tf.Tensor) -> tfd.Normal | tfd.Bernoulli:
        """features [..., F] -> distributions over one number each, [...], float32."""
        x = tf.reshape(in_rows([*self.hidden, self.hout], features), features.shape[:-1])
        return tfd.Normal(x, 1.0) if self._dist == "normal" else tfd.Bernoulli(x)


class ActionHead(Network):
    """The action model pi(a | s, h): four dense layers and a distribution (Dreamer).

    Of `size` action dimensions tanh-normal, with `init_std`, `mean_scale` and `min_std` before
    tanh; or of `size` discrete actions, one-hot with straight-through gradients.
    """

    def __init__(
        self, inputs: int, size: int, units: int, discrete: bool = False, init_std: float = 5.0,
        mean_scale: float = 5.0, min_std: float = 1e-4, act: Callable = tf.nn.elu, **kwargs,
    ):  # fmt: skip
        super().__init__("actor", **kwargs)
        self.size, self.discrete = size, discrete
        self._raw_init_std = math.log(math.expm1(init_std))
        self._mean_scale, self._min_std = mean_scale, min_std
        self.hidden = self.hidden_layers(inputs, units, 4, act)
        self.raw_size = size if discrete else 2 * size
        self.hout = self.dense("hout", units, self.raw_size)
        self.complete((inputs,), (size,))

    def call(self, features: tf.Tensor) -> ActionDistribution:
        """features [N, F] -> a distribution over actions [N, size]."""
        return self.distribution(self.raw(features))

    def raw(self, features: tf.Tensor) -> tf.Tensor:
        """features [N, F] -> the last layer [N, raw_size], float32."""
        return tf.cast(through([*self.hidden, self.hout], features), tf.float32)

    def distribution(self, raw: tf.Tensor) -> ActionDistribution:
        """The last layer [N, raw_size] -> a distribution over actions [N, size]."""
        if self.discrete:
            return OneHot(raw)
        mean, std = tf.split(raw, 2, -1)
        mean = self._mean_scale * tf.tanh(mean / self._mean_scale)
        return TanhNormal(mean, tf.nn.softplus(std + self._raw_init_std) + self._min_std)
