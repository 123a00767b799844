"""Adam with gradient clipping, loss scaling for float16, and no step on numbers gone bad."""

from collections.abc import Sequence

import keras
import tensorflow as tf

from clion_tf.models.layers import by_path

LOSS_SCALE_RANGE = (1.0, 2.0**24)


class Optimizer:
    """One network's optimiser.

    Args:
      name: `model`, `actor`, `value` or `evaluator`.
      variables: what it trains.
      learning_rate, clip: Adam's rate; the largest global norm of the gradient.
      scaled: whether the loss is scaled against float16's underflow. The scale is kept within
        LOSS_SCALE_RANGE: Keras's has neither floor nor ceiling.
    """

    def __init__(
        self,
        name: str,
        variables: Sequence[keras.Variable],
        learning_rate: float,
        clip: float,
        scaled: bool = False,
    ):
        if not variables:
            raise ValueError(f"optimizer {name}: no variables to train")
        self.name, self._clip = name, clip
        self.variables = list(variables)
        # Dreamer's epsilon is TF 2.2's default, 1e-7.
        self._adam = keras.optimizers.Adam(learning_rate, epsilon=1e-7, name=name)
        self._optimizer = self._adam
        if scaled:
            self._optimizer = keras.optimizers.LossScaleOptimizer(self._adam, name=f"{name}_scale")
        self._scaled = scaled
        self._optimizer.build(self.variables)

    @property
    def scale(self) -> tf.Tensor:
        """The factor that losses are multiplied with, float32 scalar; 1 where none is needed."""
        return self._optimizer.dynamic_scale.value if self._scaled else tf.constant(1.0)

    def named_state(self) -> dict[str, keras.Variable]:
        """All of the optimiser's variables by name: moments, step count, loss scale."""
        return by_path(self._optimizer.variables)

    def gradients(self, tape: tf.GradientTape, loss: tf.Tensor) -> list[tf.Tensor]:
        """Gradients of `loss` before clipping, unscaled; the tape must see only `variables`.

        A variable that the loss does not reach has a gradient of zeros.
        """
        sources = [variable.value for variable in self.variables]
        factor = tf.stop_gradient(self.scale)
        seed = tf.cast(factor, loss.dtype)
        found = tape.gradient(
            loss, sources, output_gradients=seed, unconnected_gradients=tf.UnconnectedGradients.ZERO
        )
        return [gradient / factor for gradient in found] if self._scaled else found

    def apply(self, gradients: Sequence[tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
        """One step.

        Args:
          gradients: unscaled, one for each variable.

        Returns:
          the global norm before clipping, and whether the step was taken: not on a norm that is
          not finite.
        """
        norm = tf.linalg.global_norm(gradients)
        finite = tf.math.is_finite(norm)
        clipped, _ = tf.clip_by_global_norm(gradients, self._clip, norm)
        if self._scaled:
            # Keras takes scaled gradients, skips the step on bad ones and moves the scale.
            scale = self.scale
            self._optimizer.apply([gradient * scale for gradient in clipped])
            low, high = LOSS_SCALE_RANGE
            self._optimizer.dynamic_scale.assign(tf.clip_by_value(self.scale, low, high))
        else:
            tf.cond(finite, lambda: self._step(clipped), lambda: tf.constant(False))
        return norm, finite

    def _step(self, gradients: Sequence[tf.Tensor]) -> tf.Tensor:
        self._optimizer.apply(gradients)
        return tf.constant(True)
