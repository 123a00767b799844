"""Recurrent state-space model: transition q(s|...), representation p(s|..., o) of eq. 1.

A state is a dict of `mean`, `std`, `stoch` (s) [..., S], float32, and `deter` (h) [..., D] in the
compute type. Data is [B, T, ...]: state t comes from state t-1, action[t] and embedding[t].
"""

from collections.abc import Callable, Sequence

import keras
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from clion_tf.models.layers import Network, known, layer_seed
from clion_tf.models.scan import scan

State = dict[str, tf.Tensor]


class GRU(keras.layers.GRUCell):
    """Keras's with `reset_after`; its weights, with gates (z, r, h), and its equations.

    The step is written out (ours): in fewer operations. Biases are added after the split:
    TensorFlow fuses them into the product otherwise, which in bfloat16 takes twice the time.
    """

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return (*input_shape[:-1], self.units)

    def call(self, x: tf.Tensor, h: tf.Tensor) -> tf.Tensor:
        """Input [N, inputs] and memory [N, units] -> next memory [N, units]."""
        sizes = [2 * self.units, self.units]
        biases = tf.unstack(tf.convert_to_tensor(self.bias))
        x_bias, h_bias = (tf.split(bias, sizes) for bias in biases)
        x_gates, x_new = tf.split(tf.matmul(x, self.kernel), sizes, -1)
        h_gates, h_new = tf.split(tf.matmul(h, self.recurrent_kernel), sizes, -1)
        gates = tf.sigmoid(x_gates + h_gates + (x_bias[0] + h_bias[0]))
        z, r = tf.split(gates, 2, -1)
        new = tf.tanh(x_new + x_bias[1] + r * (h_new + h_bias[1]))
        return z * h + (1 - z) * new


class RSSM(Network):
    """GRU memory with a Gaussian state before (prior) and after (posterior) the image.

    Sizes are those of a_t, of e_t, of s, of h and of the dense layers; `min_std` is s's smallest.
    """

    def __init__(
        self, action_size: int, embed_size: int, stoch: int = 30, deter: int = 200,
        hidden: int = 200, min_std: float = 0.1, act: Callable = tf.nn.elu, **kwargs,
    ):  # fmt: skip
        super().__init__("rssm", **kwargs)
        self.stoch_size, self.deter_size, self._min_std, self._act = stoch, deter, min_std, act
        self.feat_size = stoch + deter
        self.img1 = self.dense("img1", stoch + action_size, hidden, act)
        seeds = [layer_seed(self._seed, "gru", weight) for weight in ("kernel", "recurrent")]
        first = {
            "kernel_initializer": keras.initializers.GlorotUniform(seeds[0]),
            "recurrent_initializer": keras.initializers.Orthogonal(seed=seeds[1]),
        }
        gru = GRU(deter, **first, seed=0, name="gru", dtype=self.dtype_policy)
        self.gru = self.with_weights(gru, (None, hidden))
        self.img2 = self.dense("img2", deter, hidden, act)
        self.img3 = self.dense("img3", hidden, 2 * stoch)
        self.obs1 = self.dense("obs1", deter + embed_size, hidden)
        self.obs2 = self.dense("obs2", hidden, 2 * stoch)
        self.complete((action_size + embed_size,), (self.feat_size,))

    def initial(self, batch: int) -> State:
        """The state before the first step: zeros."""
        state = {key: tf.zeros([batch, self.stoch_size]) for key in ("mean", "std", "stoch")}
        return {**state, "deter": tf.zeros([batch, self.deter_size], self.compute_dtype)}

    def get_feat(self, state: State) -> tf.Tensor:
        """Features [s, h] [..., S + D] in the compute type."""
        return tf.concat([tf.cast(state["stoch"], state["deter"].dtype), state["deter"]], -1)

    @staticmethod
    def get_dist(state: State) -> tfd.Independent:
        """The diagonal Gaussians [...] of which `stoch` is a sample; needs `mean` and `std`."""
        return tfd.Independent(tfd.Normal(state["mean"], state["std"]), 1)

    def img_step(self, prev: State, prev_action: tf.Tensor, noise: tf.Tensor) -> State:
        """One step without an image: the prior. action [N, A], standard normal noise [N, S]."""
        deter = self._memory(prev, prev_action)
        return self._sample(*self._prior(deter), deter, noise)

    def obs_step(
        self, prev: State, prev_action: tf.Tensor, embed: tf.Tensor, noise: tf.Tensor
    ) -> tuple[State, State]:
        """One step with an image: (posterior, prior); the prior's s is its mean.

        Of action [N, A], embedding [N, E] and standard normal noise [N, S].
        """
        kernel, embed_part = self._split_obs1(embed)
        post = self._obs_step(prev, prev_action, kernel, embed_part, noise)
        return post, self._prior_of(post)

    def observe(
        self, embed: tf.Tensor, action: tf.Tensor, noise: tf.Tensor, state: State | None = None,
        disturb: Callable[..., State] | None = None, disturbances: Sequence[tf.Tensor] = (),
    ) -> tuple[State, State]:  # fmt: skip
        """Posterior and prior [B, T, ...] of sequences: `obs_step` over time.

        embed [B, T, E], action [B, T, A], noise [B, T, S]; `state` [B, ...] is that before step 0
        (default: zeros). With `disturb`, step t starts from disturb(state before it, *disturbances
        at t), these being [B, T, ...]. What does not depend on the step before (the embedding's
        product, the prior's mean and standard deviation) is computed for all steps at once.
        """
        state = self.initial(action.shape[0]) if state is None else state
        kernel, embed_part = self._split_obs1(embed)

        def step(state, action_t, embed_t, noise_t, *disturbances_t):
            if disturb is not None:
                state = disturb(state, *disturbances_t)
            state = self._obs_step(state, action_t, kernel, embed_t, noise_t)
            return state, state

        inputs = [time_major(x) for x in (action, embed_part, noise, *disturbances)]
        post = scan(step, state, inputs, state)
        post = {key: time_major(value) for key, value in post.items()}
        return post, self._prior_of(post)

    def imagine(self, action: tf.Tensor, state: State, noise: tf.Tensor) -> State:
        """Open-loop states [B, T, ...] after `state` under action [B, T, A], noise [B, T, S]."""

        def step(state, action_t, noise_t):
            state = self.img_step(state, action_t, noise_t)
            return state, state

        inputs = [time_major(action), time_major(noise)]
        states = scan(step, state, inputs, state)
        return {key: time_major(value) for key, value in states.items()}

    def _memory(self, prev: State, prev_action: tf.Tensor) -> tf.Tensor:
        inputs = tf.concat([prev["stoch"], tf.cast(prev_action, tf.float32)], -1)
        return self.gru(self.img1(inputs), prev["deter"])

    def _prior_of(self, post: State) -> State:
        mean, std = self._prior(post["deter"])
        return {"mean": mean, "std": std, "stoch": mean, "deter": post["deter"]}

    def _prior(self, deter: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        flat = tf.reshape(deter, [-1, self.deter_size])
        return self._mean_std(self.img3(self.img2(flat)), deter.shape[:-1])

    def _split_obs1(self, embed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        # obs1's input is [h, e]. Returns the kernel's rows for h, to be applied step by step, and
        # e's part of the product plus the bias, which needs no loop over time.
        kernel = tf.convert_to_tensor(self.obs1.kernel)
        deter_kernel, embed_kernel = tf.split(kernel, [self.deter_size, -1])
        flat = tf.reshape(tf.cast(embed, self.compute_dtype), [-1, embed.shape[-1]])
        part = tf.matmul(flat, tf.cast(embed_kernel, self.compute_dtype))
        part += tf.cast(self.obs1.bias, self.compute_dtype)
        return deter_kernel, tf.reshape(part, [*known(embed.shape[:-1]), part.shape[-1]])

    def _obs_step(
        self, prev: State, prev_action: tf.Tensor, kernel: tf.Tensor, embed_part: tf.Tensor,
        noise: tf.Tensor,
    ) -> State:  # fmt: skip
        deter = self._memory(prev, prev_action)
        # Cast in here, so that the steps' gradients of the kernel add up in float32.
        hidden = self._act(tf.matmul(deter, tf.cast(kernel, deter.dtype)) + embed_part)
        mean, std = self._mean_std(self.obs2(hidden), deter.shape[:-1])
        return self._sample(mean, std, deter, noise)

    def _mean_std(self, x: tf.Tensor, shape: tf.TensorShape) -> tuple[tf.Tensor, tf.Tensor]:
        x = tf.reshape(tf.cast(x, tf.float32), [*known(shape), 2 * self.stoch_size])
        mean, std = tf.split(x, 2, -1)
        return mean, tf.nn.softplus(std) + self._min_std

    @staticmethod
    def _sample(mean: tf.Tensor, std: tf.Tensor, deter: tf.Tensor, noise: tf.Tensor) -> State:
        return {"mean": mean, "std": std, "stoch": mean + std * noise, "deter": deter}


def time_major(x: tf.Tensor) -> tf.Tensor:
    """[B, T, ...] -> [T, B, ...], and back."""
    return tf.transpose(x, [1, 0, *range(2, len(x.shape))])
