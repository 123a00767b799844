"""What the loop sees of an agent: updates by numbered batches, actions, a state by name.

The same for every agent, which brings its networks, its update and its policy's step.
"""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from clion_tf.agents.device_errors import device_errors
from clion_tf.config import Config
from clion_tf.learning import noise as noises
from clion_tf.learning.noise import Noise
from clion_tf.learning.optimizer import Optimizer
from clion_tf.replay.observation_shapes import Shapes

Tensors = dict[str, tf.Tensor]
DTYPES = {"32": "float32", "bf16": "mixed_bfloat16", "16": "mixed_float16"}


class Learner:
    """An agent, but for its networks and equations.

    Args:
      config: the run's options; the seed names, with counters, all noise.
      jit: whether the update is compiled by XLA.
      precision: `32`, `bf16` or `16` (resolved from `auto`).
    """

    sizes: Any  # Of its networks; among them `action_size` and whether actions are `discrete`.
    observed: Shapes  # Of what it looks at in one step.
    sequence: int  # Frames of the sequences that its batches are made of.
    remembered: tuple[str, ...]  # Of the policy's state, what its next step reads.
    lead = 0  # How many frames before an episode's first, repeated, a sequence may begin.
    world_model = False  # Whether there is one to look at (`heldout_diagnostics`).

    def __init__(self, config: Config, jit: bool, precision: str = "32"):
        self.metric_names: list[str] = []  # `group/name`, once an update was made.
        self._config, self._precision = config, precision
        self.compile_update(jit)
        self._earlier = None  # The networks that act, as they were.
        self._act_as_earlier: dict = {}

    def begin(self, models, optimizers: dict) -> None:
        """Takes an agent's networks, and its optimisers by loss."""
        self.models, self.optimizers = models, optimizers
        self._act = self._policies(models)

    def begin_new(self, kind: type, rates: Mapping[str, float], **options) -> None:
        """`begin` with networks of a kind, learning rates by loss, other options of Optimizer."""
        models = kind(self.sizes, self._config.seed, DTYPES[self._precision])
        options["scaled"] = self._precision == "16"
        optimizers = {}
        for name, networks in models.trained_by().items():
            variables = [v for network in networks for v in network.trainable_variables]
            optimizers[name] = Optimizer(name, variables, rates[name], **options)
        self.begin(models, optimizers)

    # What an agent brings.

    def update(self, data: Tensors, noise: Noise) -> Tensors:
        """One update; returns scalars by `group/name`, float32."""
        raise NotImplementedError

    def numbered(self, data: dict[str, np.ndarray], update: int) -> dict[str, np.ndarray]:
        """The batch of update number `update`, with what else depends on that number."""
        return data

    def initial(self, batch: int) -> Tensors:
        """The policy's state of `batch` environments before an episode."""
        raise NotImplementedError

    def policy_step(
        self, observation: Tensors, state: Tensors, noise: Noise, training: bool,
        amount: tf.Tensor | float, models=None,
    ) -> tuple[tf.Tensor, Tensors]:  # fmt: skip
        """What `policy` computes, as a pure function for graphs of others; N may be open.

        `models` are the networks that act, by default the agent's.
        """
        raise NotImplementedError

    def acting_networks(self):
        """New networks for `policy_step`, of the agent's sizes; they have `named_weights`."""
        return type(self.models)(self.sizes, self._config.seed, DTYPES[self._precision])

    # Updates.

    def compile_update(self, jit: bool) -> None:
        """Makes the update anew, by XLA or as a plain graph; it is compiled at its first call."""
        self.jit = jit
        self._train = tf.function(self._train_step, jit_compile=jit, autograph=False)
        self._train_several = tf.function(self._train_steps, jit_compile=jit, autograph=False)

    def train(self, data: dict[str, np.ndarray], update: int) -> tf.Tensor:
        """Update number `update` on a batch; the metrics, see `metric_names`, as one vector.

        Raises:
          MemoryError, DeviceError: if the device has too little memory, or fails.
        """
        seed = noises.key(self._config.seed, "update", update)
        data = self.numbered(data, update)
        with device_errors():
            return self._train({key: tf.constant(value) for key, value in data.items()}, seed)

    def train_several(self, batches: Sequence[dict], updates: Sequence[int]) -> tf.Tensor:
        """As K calls of `train`, in one call of the compiled function; [K, metrics]."""
        seeds = np.stack([noises.key(self._config.seed, "update", update) for update in updates])
        batches = [self.numbered(*one) for one in zip(batches, updates, strict=True)]
        with device_errors():
            data = {key: tf.constant(np.stack([b[key] for b in batches])) for key in batches[0]}
            return self._train_several(data, seeds)

    def _train_step(self, data: Tensors, seed: tf.Tensor) -> tf.Tensor:
        scalars = self.update(data, noises.SeededNoise(seed))
        self.metric_names = list(scalars)
        return tf.stack(list(scalars.values()))

    def _train_steps(self, data: Tensors, seeds: tf.Tensor) -> tf.Tensor:
        # One at a time and in order, as each starts from the weights that the last one left.
        return tf.map_fn(
            lambda one: self._train_step(*one),
            (data, seeds),
            parallel_iterations=1,
            fn_output_signature=tf.float32,
        )

    # Acting.

    def choose(self, policy, noise: Noise, rows: int | tf.Tensor, training: bool) -> tf.Tensor:
        """An action [rows, A] of a policy: in training a sample, else that of `--eval_action`."""
        how = "sample" if training else self._config.eval_action
        if how == "mean":
            return policy.mean_action()
        shape, discrete = [rows, self.sizes.action_size], self.sizes.discrete
        if how == "sample":
            return policy.sample_from(noise.of_actions(discrete, "action", shape))
        return policy.densest_from(noise.of_actions(discrete, "action", [100, *shape]))

    def _policies(self, models) -> dict:
        """Compiled policy steps of these networks, by whether they are for training."""
        return {
            mode: tf.function(functools.partial(self._policy, models, mode), autograph=False)
            for mode in (True, False)
        }

    def _policy(self, models, training: bool, observation, state, seed, amount):
        noise = noises.SeededNoise(seed)
        return self.policy_step(observation, state, noise, training, amount, models)

    def remember(self) -> None:
        """Keeps the networks as they are now for `policy(..., earlier=True)`."""
        if self._earlier is None:
            self._earlier = self.acting_networks()
            self._act_as_earlier = self._policies(self._earlier)
        now = self.models.named_weights()
        for name, variable in self._earlier.named_weights().items():
            variable.assign(now[name])

    def policy(
        self, observation: dict[str, np.ndarray], state: Tensors, step: tuple[int, int],
        training: bool, amount: float, earlier: bool = False,
    ) -> tuple[np.ndarray, Tensors]:  # fmt: skip
        """One action for each of N environments.

        Args:
          observation: of the shapes `observed`, [N, ...].
          state: from `initial`, or from the step before.
          step: (episode, agent step in it); with `training` it names this step's noise.
          training: sample the action; else take the evaluation policy (`--eval_action`).
          amount: of exploration noise.
          earlier: act as the networks were at the last `remember`.

        Returns:
          actions float32 [N, A] and the next state.
        """
        seed = noises.key(self._config.seed, "train" if training else "test", *step)
        act = self._act_as_earlier if earlier else self._act
        seen = {key: observation[key] for key in self.observed}
        with device_errors():
            action, state = act[training](seen, state, seed, np.float32(amount))
            return action.numpy(), state

    # State.

    def named_state(self) -> dict[str, tf.Variable]:
        """Every variable that a checkpoint holds: `weights/...` and `optimizer/...`."""
        state = {f"weights/{name}": v for name, v in self.models.named_weights().items()}
        for optimizer in self.optimizers.values():
            state |= {f"optimizer/{name}": v for name, v in optimizer.named_state().items()}
        return state

    def summary(self, layers: bool = False) -> list[str]:
        """Each network's shapes and parameters; with `layers` Keras's own table of all layers."""
        if layers:
            found: list[str] = []
            # Of a width of its own, as Keras refuses terminals that are too narrow.
            self.models.summary(76, print_fn=found.append, expand_nested=True)
            return "\n".join(found).splitlines()
        return [
            f"{network.name:16}{_product(network.input_shape):>10} -> "
            f"{_product(network.output_shape):10}{network.count_params():>12,} parameters"
            for network in self.models.layers
        ]

    def parameter_counts(self) -> dict[str, int]:
        """Trained parameters of each loss."""
        return {
            name: sum(int(np.prod(v.shape)) for v in optimizer.variables)
            for name, optimizer in self.optimizers.items()
        }


def _product(shape: tuple) -> str:
    """A shape without its batch's axis, as `64x64x3`; `1` for a number."""
    return "x".join(map(str, shape[1:])) or "1"
