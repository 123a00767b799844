"""Dense heads: reward, value, discount and evaluator (DenseHead), action model (ActionHead).

Samples are made of given standard noise, so that randomness has one owner (`learning.noise`).
"""

import math
from collections.abc import Callable

import tensorflow as tf
from tensorflow_probability import bijectors as tfb
from tensorflow_probability import distributions as tfd

from clion_tf.models.layers import Network, in_rows, through


class Tanh(tfb.Tanh):
    """tanh; for its inverse a saturated action counts as just inside +-1 (Dreamer's clip)."""

    def _inverse(self, y: tf.Tensor) -> tf.Tensor:
        limit = 1.0 - 2.0**-24  # The largest float32 below 1, as Dreamer's clip rounds to.
        return super()._inverse(tf.clip_by_value(y, -limit, limit))


class TanhNormal(tfd.TransformedDistribution):
    """tanh of a diagonal Gaussian (its `distribution`): actions [..., A] in (-1, 1)."""

    def __init__(self, mean: tf.Tensor, std: tf.Tensor):
        super().__init__(tfd.Independent(tfd.Normal(mean, std), 1), Tanh())

    def sample_from(self, noise: tf.Tensor) -> tf.Tensor:
        """Reparameterised sample from standard normal noise [..., N, A]."""
        # A tensor of its own: the bijector remembers what it made its outputs of, and a saturated
        # sample would have another density than the same action from elsewhere.
        return tf.identity(self.bijector.forward(self._before_tanh(noise)))

    def entropy_from(self, noise: tf.Tensor) -> tf.Tensor:
        """One-sample estimate [N] in nats from standard normal noise [N, A].

        It is minus the log-density of `sample_from(noise)`, exact for saturated samples too.
        """
        x = self._before_tanh(noise)
        return self.bijector.forward_log_det_jacobian(x, 1) - self.distribution.log_prob(x)

    def densest_from(self, noise: tf.Tensor) -> tf.Tensor:
        """Per row the sample of highest density: noise [K, N, A] -> action [N, A].

        Dreamer's evaluation policy; its code takes one row's choice for all rows.
        """
        action = self.sample_from(noise)
        best = tf.argmax(self.log_prob(action), 0)
        return tf.gather(tf.transpose(action, [1, 0, 2]), best, batch_dims=1)

    def mean_action(self) -> tf.Tensor:
        """tanh of the Gaussian's mean, [N, A]."""
        return self.bijector.forward(self.distribution.mean())

    def _before_tanh(self, noise: tf.Tensor) -> tf.Tensor:
        normal = self.distribution.distribution
        return normal.loc + normal.scale * noise


class OneHot(tfd.OneHotCategorical):
    """Categorical actions [..., A] as one-hot vectors with straight-through gradients."""

    def __init__(self, logits: tf.Tensor):
        super().__init__(logits, dtype=tf.float32)

    def sample_from(self, noise: tf.Tensor) -> tf.Tensor:
        """One-hot sample from Gumbel noise [..., N, A]; its gradient is the probabilities'."""
        hard = tfd.OneHotCategorical(self.logits + noise, dtype=tf.float32).mode()
        probs = self.probs_parameter()
        return hard + probs - tf.stop_gradient(probs)

    def entropy_from(self, noise: tf.Tensor) -> tf.Tensor:
        """Exact entropy [N] in nats; the noise is not needed."""
        return self.entropy()

    def mean_action(self, noise: tf.Tensor | None = None) -> tf.Tensor:
        """The most probable action, [N, A], and the densest of many samples."""
        return self.mode()

    densest_from = mean_action


Policy = TanhNormal | OneHot


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

    def call(self, features: tf.Tensor) -> Policy:
        """features [N, F] -> a distribution over actions [N, size]."""
        return self.distribution(self.raw(features))

    def raw(self, features: tf.Tensor) -> tf.Tensor:
        """features [N, F] -> the last layer [N, raw_size], float32."""
        return tf.cast(through([*self.hidden, self.hout], features), tf.float32)

    def distribution(self, raw: tf.Tensor) -> Policy:
        """The last layer [N, raw_size] -> a distribution over actions [N, size]."""
        if self.discrete:
            return OneHot(raw)
        mean, std = tf.split(raw, 2, -1)
        mean = self._mean_scale * tf.tanh(mean / self._mean_scale)
        return TanhNormal(mean, tf.nn.softplus(std + self._raw_init_std) + self._min_std)
