"""What the loop sees of an agent: updates by numbered batches, actions, a state by name.

The same for every agent, which brings its networks, its update and its policy's step.
"""

import functools
from collections.abc import Sequence
from typing import Protocol

import numpy as np
import tensorflow as tf

from clion_tf.agents.device_errors import device_errors
from clion_tf.config import Config
from clion_tf.learning import noise as noises
from clion_tf.learning.noise import Noise
from clion_tf.replay.observation_shapes import Shapes

Tensors = dict[str, tf.Tensor]
DTYPES = {"32": "float32", "bf16": "mixed_bfloat16", "16": "mixed_float16"}


class ActionSizes(Protocol):
    """The actions of an agent: A numbers, or one of A."""

    @property
    def action_size(self) -> int:
        """A."""

    @property
    def discrete(self) -> bool:
        """Whether an action is one-hot."""


class Learner:
    """An agent, but for its networks and equations.

    Attributes:
      sizes: of its actions, and of its networks.
      observed: shapes of what it looks at in one step.
      sequence: frames L of the sequences that its batches are made of.
      remembered: of the policy's state, what its next step reads.
      lead: how many frames before an episode's first a sequence may begin; it is repeated there.
      world_model: whether there is one to look at, as `clion_tf.training.heldout_diagnostics` does.
      jit: whether the update is compiled by XLA.

    Args:
      config: the run's options; the seed names, with counters, all noise.
      jit: whether the update is compiled by XLA.
    """

    sizes: ActionSizes
    observed: Shapes
    sequence: int
    remembered: tuple[str, ...]
    lead = 0
    world_model = False

    def __init__(self, config: Config, jit: bool):
        self.metric_names: list[str] = []
        self._config = config
        self.compile_update(jit)
        self._earlier = None  # The networks that act, as they were.
        self._act_as_earlier: dict = {}

    def begin(self, models, optimizers: dict) -> None:
        """Takes an agent's networks, and its optimisers by loss, as soon as they are there."""
        self.models, self.optimizers = models, optimizers
        self._act = self._policies(models)

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
        self,
        observation: Tensors,
        state: Tensors,
        noise: Noise,
        training: bool,
        amount: tf.Tensor | float,
        models=None,
    ) -> tuple[tf.Tensor, Tensors]:
        """What `policy` computes, as a pure function for graphs of others.

        Args:
          observation, state, training, amount: see `policy`; N may be open.
          noise: where the randomness comes from.
          models: the networks that act; None: the agent's.

        Returns:
          actions float32 [N, A] and the next state.
        """
        raise NotImplementedError

    def acting_networks(self):
        """New networks for `policy_step`, of the agent's sizes; they have `named_weights`."""
        raise NotImplementedError

    # Updates.

    def compile_update(self, jit: bool) -> None:
        """Makes the update anew, by XLA or as a plain graph; it is compiled at its first call."""
        self.jit = jit
        self._train = tf.function(self._train_step, jit_compile=jit, autograph=False)
        self._train_several = tf.function(self._train_steps, jit_compile=jit, autograph=False)

    def train(self, data: dict[str, np.ndarray], update: int) -> tf.Tensor:
        """Update number `update` on a batch; the metrics as one vector.

        `metric_names` says what each entry is, as `group/name`, once an update was made.

        Raises:
          MemoryError, DeviceError: if the device has too little memory, or fails.
        """
        seed = noises.key(self._config.seed, "update", update)
        data = self.numbered(data, update)
        with device_errors():
            return self._train({key: tf.constant(value) for key, value in data.items()}, seed)

    def train_several(self, batches: Sequence[dict], updates: Sequence[int]) -> tf.Tensor:
        """K updates in one call of the compiled function; their metrics as rows, [K, metrics].

        The same as K calls of `train`, but nothing goes back to the host between them.

        Raises:
          MemoryError, DeviceError: if the device has too little memory, or fails.
        """
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
        self,
        observation: dict[str, np.ndarray],
        state: Tensors,
        step: tuple[int, int],
        training: bool,
        amount: float,
        earlier: bool = False,
    ) -> tuple[np.ndarray, Tensors]:
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
        """The networks as lines of text: shapes of one input and output, parameters.

        Args:
          layers: Keras's own table, with every layer, instead of a line for each network.
        """
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
