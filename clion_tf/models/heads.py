"""Dense heads: reward, value, discount and evaluator (DenseHead), action model (ActionHead)."""

import math
from collections.abc import Callable

import tensorflow as tf

from clion_tf.models.distributions import OneHot, TanhNormal
from clion_tf.models.layers import Network


class DenseHead(Network):
    """Dense layers that end in one number (Dreamer's DenseDecoder with shape ()).

    Reward and value read it as the mean of a unit-variance Gaussian, discount and evaluator as a
    logit. Input of the evaluator (eq. 4): [s_t, h_t, a_t, s_{t+1}, h_{t+1}].
    """

    def __init__(
        self, name: str, inputs: int, layers: int, units: int,
        act: Callable = tf.nn.elu, seed: int = 0, dtype="float32",
    ):  # fmt: skip
        super().__init__(name, seed, dtype)
        sizes = [inputs] + [units] * layers
        self.hidden = [self.dense(f"h{i}", sizes[i], sizes[i + 1], act) for i in range(layers)]
        self.hout = self.dense("hout", sizes[-1], 1)

    def call(self, features: tf.Tensor) -> tf.Tensor:
        """features [..., F] -> [...], float32."""
        x = tf.reshape(features, [-1, features.shape[-1]])
        for layer in (*self.hidden, self.hout):
            x = layer(x)
        return tf.cast(tf.reshape(x, features.shape[:-1]), tf.float32)


class ActionHead(Network):
    """The action model pi(a | s, h): four dense layers and a distribution (Dreamer).

    Args:
      size: number of action dimensions, or of discrete actions.
      discrete: one-hot with straight-through gradients instead of tanh-normal.
      init_std, mean_scale, min_std: of the normal before tanh, as in Dreamer.
    """

    def __init__(
        self, inputs: int, size: int, units: int, discrete: bool = False, init_std: float = 5.0,
        mean_scale: float = 5.0, min_std: float = 1e-4, act: Callable = tf.nn.elu,
        seed: int = 0, dtype="float32",
    ):  # fmt: skip
        super().__init__("actor", seed, dtype)
        self.size, self.discrete = size, discrete
        self._raw_init_std = math.log(math.expm1(init_std))
        self._mean_scale, self._min_std = mean_scale, min_std
        sizes = [inputs] + [units] * 4
        self.hidden = [self.dense(f"h{i}", sizes[i], sizes[i + 1], act) for i in range(4)]
        self.hout = self.dense("hout", units, size if discrete else 2 * size)

    def call(self, features: tf.Tensor) -> TanhNormal | OneHot:
        """features [N, F] -> a distribution over actions [N, size]."""
        x = features
        for layer in (*self.hidden, self.hout):
            x = layer(x)
        x = tf.cast(x, tf.float32)
        if self.discrete:
            return OneHot(x)
        mean, std = tf.split(x, 2, -1)
        mean = self._mean_scale * tf.tanh(mean / self._mean_scale)
        return TanhNormal(mean, tf.nn.softplus(std + self._raw_init_std) + self._min_std)
