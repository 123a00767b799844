"""Adam with gradient clipping, and loss scaling for float16."""

import functools
from collections.abc import Mapping, Sequence

import keras
import tensorflow as tf

from clion_tf.models.layers import by_path

LOSS_SCALE_RANGE = (1.0, 2.0**24)


class FusedAdam(keras.optimizers.Adam):
    """Keras's Adam with one operation a variable instead of a dozen; the same formula."""

    def _backend_update_step(self, grads, trainable_variables, learning_rate) -> None:
        # Keras sums gradients over replicas here. Ours are averaged over replicas already, and
        # TensorFlow allows no sum over replicas inside the tf.cond where this runs.
        step = tf.cast(self.iterations.value + 1, tf.float32)
        beta1, beta2 = tf.constant(self.beta_1), tf.constant(self.beta_2)
        constants = {
            "beta1_power": tf.pow(beta1, step),
            "beta2_power": tf.pow(beta2, step),
            "lr": tf.cast(learning_rate, tf.float32),
            "beta1": beta1,
            "beta2": beta2,
            "epsilon": tf.constant(self.epsilon),
        }
        for gradient, variable in zip(grads, trainable_variables, strict=True):
            index = self._get_variable_index(variable)
            # Keras hands over either kind of variable.
            variable = variable.value if isinstance(variable, keras.Variable) else variable
            m, v = (moments[index].value for moments in (self._momentums, self._velocities))
            handles = {"var": variable.handle, "m": m.handle, "v": v.handle}
            tf.raw_ops.ResourceApplyAdam(**handles, **constants, grad=gradient)


class LossScale(keras.optimizers.LossScaleOptimizer):
    """Keras's, where each replica steps by itself: all have the same gradients."""

    def _tf_apply(self, grads, trainable_variables=None) -> None:
        self._common_apply(grads, trainable_variables)


class Optimizer:
    """One loss's optimiser, of the variables that it trains.

    `clip` is the largest global norm of the gradient, None for any. With `scaled` the loss is
    scaled against float16's underflow; the scale is kept within LOSS_SCALE_RANGE, as Keras's has
    neither floor nor ceiling. Dreamer's epsilon is TF 2.2's default, 1e-7.
    """

    def __init__(
        self, name: str, variables: Sequence[keras.Variable], learning_rate: float,
        clip: float | None, scaled: bool = False, epsilon: float = 1e-7,
    ):  # fmt: skip
        self.variables, self._clip, self._scaled = list(variables), clip, scaled
        self._name, self._options = name, {"learning_rate": learning_rate, "epsilon": epsilon}

    @functools.cached_property
    def _optimizer(self) -> keras.optimizers.Optimizer:
        """Made at its first use: an agent that only acts has no moments, twice its weights."""
        with tf.init_scope():
            made = FusedAdam(**self._options, name=self._name)
            made = LossScale(made, name=f"{self._name}_scale") if self._scaled else made
            made.build(self.variables)
        return made

    def build(self) -> None:
        """Makes the variables, which the first step does otherwise."""
        _ = self._optimizer

    @property
    def scale(self) -> tf.Tensor:
        """The factor that losses are multiplied with, float32 scalar; 1 where none is needed."""
        return self._optimizer.dynamic_scale.value if self._scaled else tf.constant(1.0)

    def clips(self, norm: tf.Tensor) -> tf.Tensor:
        """Whether a gradient of this global norm is clipped, bool scalar."""
        return norm > self._clip if self._clip is not None else tf.constant(False)

    def named_state(self) -> dict[str, keras.Variable]:
        """All of the optimiser's variables by name: moments, step count, loss scale."""
        return by_path(self._optimizer.variables)

    def gradients(self, tape: tf.GradientTape, loss: tf.Tensor) -> list[tf.Tensor]:
        """Gradients of `loss` before clipping, unscaled; the tape must see only `variables`.

        A variable that the loss does not reach has a gradient of zeros.
        """
        factor = tf.stop_gradient(self.scale)
        found = tape.gradient(
            loss,
            [variable.value for variable in self.variables],
            output_gradients=tf.cast(factor, loss.dtype),
            unconnected_gradients=tf.UnconnectedGradients.ZERO,
        )
        return [gradient / factor for gradient in found] if self._scaled else found

    def apply(self, gradients: Sequence[tf.Tensor], norm: tf.Tensor) -> None:
        """One step by unscaled, finite gradients of this global norm before clipping."""
        if self._clip is not None:
            gradients, _ = tf.clip_by_global_norm(gradients, self._clip, norm)
        if not self._scaled:
            self._optimizer.apply(gradients)
            return
        scale = self.scale
        self._optimizer.apply([gradient * scale for gradient in gradients])  # Keras unscales.
        self._set_scale(self.scale)

    def skip(self, norm: tf.Tensor, losses_finite: tf.Tensor) -> None:
        """Skips a step; halves the loss scale if this optimiser's gradient overflowed.

        The scale enters only the backward pass: if a loss itself is not finite, the scale stays.
        """
        if self._scaled:
            finite = tf.math.is_finite(norm) | ~losses_finite
            counter = self._optimizer.step_counter
            counter.assign(tf.where(finite, counter, 0))
            self._set_scale(tf.where(finite, self.scale, 0.5 * self.scale))

    def _set_scale(self, scale: tf.Tensor) -> None:
        self._optimizer.dynamic_scale.assign(tf.clip_by_value(scale, *LOSS_SCALE_RANGE))


def step_all(
    optimizers: Mapping[str, Optimizer],
    gradients: Mapping[str, Sequence[tf.Tensor]],
    losses: Mapping[str, tf.Tensor],
) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
    """Every optimiser steps, or none does if any loss or gradient is not finite.

    All are by optimiser; gradients are unscaled and before clipping. Returns the gradients' global
    norms, and whether the steps were taken (bool).
    """
    norms = {name: tf.linalg.global_norm(values) for name, values in gradients.items()}
    losses_finite, finite = (
        tf.reduce_all(tf.math.is_finite(tf.stack(numbers)))
        for numbers in ([*losses.values()], [*norms.values(), *losses.values()])
    )

    def step() -> tf.Tensor:
        for name, norm in norms.items():
            optimizers[name].apply(gradients[name], norm)
        return tf.constant(True)

    def skip() -> tf.Tensor:
        for name, norm in norms.items():
            optimizers[name].skip(norm, losses_finite)
        return tf.constant(False)

    return norms, tf.cond(finite, step, skip)
