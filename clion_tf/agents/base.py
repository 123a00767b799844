"""What the loop sees of an agent: updates by numbered batches, actions, a state by name."""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from clion_tf.agents.device_errors import device_errors
from clion_tf.config import Config
from clion_tf.learning import noise as noises
from clion_tf.learning.noise import Noise
from clion_tf.learning.optimizer import Optimizer
from clion_tf.learning.preprocessing import Tensors
from clion_tf.replay.observation_shapes import DTYPES, Shapes

KERAS_DTYPES = {"32": "float32", "bf16": "mixed_bfloat16", "16": "mixed_float16"}


class Learner:
    """An agent, but for its networks and equations.

    Args:
      config: the run's options; the seed names, with counters, all noise.
      action_size: action dimensions, or number of discrete actions.
      discrete: whether actions are one-hot.
      observed: shapes of what it looks at in one step.
      precision: `32`, `bf16` or `16` (resolved from `auto`).
      jit: whether the update is compiled by XLA.
    """

    sequence_length: int  # Frames of the sequences that its batches are made of.
    state_keys: tuple[str, ...]  # Of the policy's state, what its next step reads.
    padding = 0  # Copies of its first frame with which a sequence may begin.
    has_world_model = False  # Whether there is one to look at (`heldout_diagnostics`).
    acting_networks: Callable[[], Any]  # Builds a second set of its networks.

    def __init__(
        self, config: Config, action_size: int, discrete: bool, observed: Shapes,
        precision: str = "32", jit: bool = False,
    ):  # fmt: skip
        self.config, self._precision = config, precision
        self.action_size, self.discrete, self.observed = action_size, discrete, dict(observed)
        self.metric_names: list[str] = []  # `group/name`, once an update was made.
        self.compile_update(jit)
        self._act = functools.cache(self._compile_policy)
        self._earlier: Any = None  # The networks that act, as they were.

    def make_networks(self, networks: Callable, rates: Mapping[str, float], **options) -> None:
        """Sets `models = networks(dtype=...)`, and for each loss an Optimizer of these options."""
        self.acting_networks = functools.partial(networks, dtype=KERAS_DTYPES[self._precision])
        self.models = self.acting_networks()
        self.optimizers = {}
        options["scaled"] = self._precision == "16"
        for name, trained in self.models.trained_by().items():
            variables = [v for network in trained for v in network.trainable_variables]
            self.optimizers[name] = Optimizer(name, variables, rates[name], **options)

    # What an agent brings.

    def update(self, data: Tensors, noise: Noise) -> Tensors:
        """One update; returns scalars by `group/name`, float32."""
        raise NotImplementedError

    def with_schedule(self, data: dict[str, np.ndarray], update: int) -> dict[str, np.ndarray]:
        """The batch, with what else the update reads and its number decides (DrQ: which steps)."""
        return data

    def initial(self, batch: int) -> Tensors:
        """The policy's state of `batch` environments before an episode."""
        raise NotImplementedError

    def policy_step(
        self, observation: Tensors, state: Tensors, noise: Noise, training: bool,
        amount: tf.Tensor | float, models: Any,
    ) -> tuple[tf.Tensor, Tensors]:  # fmt: skip
        """What `policy` computes with these networks, as a pure function; N may be open."""
        raise NotImplementedError

    # Updates.

    def compile_update(self, jit: bool) -> None:
        """Sets whether XLA compiles the update, which is compiled again at its next call."""
        self.jit = jit
        compiled = functools.partial(tf.function, jit_compile=jit, autograph=False)
        self._train, self._train_several = map(compiled, (self._train_step, self._train_steps))

    def build_optimizers(self) -> None:
        """Makes the optimisers' variables before the first update, so that it is traced once."""
        for optimizer in self.optimizers.values():
            optimizer.build()

    def train(self, data: dict[str, np.ndarray], update: int) -> np.ndarray:
        """Update number `update` on `data`, arrays [B, L, ...] as `Replay.sample` gives them.

        Returns the metrics, float32 [M] in the order of `metric_names`. Raises MemoryError or
        DeviceError if the device has too little memory, or fails.
        """
        self.build_optimizers()
        seed = noises.key(self.config.seed, "update", update)
        data = self.with_schedule(data, update)
        with device_errors():
            tensors = {key: tf.constant(value) for key, value in data.items()}
            return self._train(tensors, seed).numpy()  # A GPU may fail as late as here.

    def train_several(self, batches: Sequence[dict], updates: Sequence[int]) -> np.ndarray:
        """As K calls of `train`, in one call of the compiled function; returns float32 [K, M]."""
        self.build_optimizers()
        seeds = np.stack([noises.key(self.config.seed, "update", update) for update in updates])
        batches = [self.with_schedule(*one) for one in zip(batches, updates, strict=True)]
        with device_errors():
            data = {key: tf.constant(np.stack([b[key] for b in batches])) for key in batches[0]}
            return self._train_several(data, seeds).numpy()

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
        how = "sample" if training else self.config.eval_action
        if how == "mean":
            return policy.mean_action()
        shape = [rows, self.action_size]
        if how == "sample":
            return policy.sample_from(noise.of_actions(self.discrete, "action", shape))
        return policy.densest_from(noise.of_actions(self.discrete, "action", [100, *shape]))

    def snapshot_networks(self) -> None:
        """Keeps the networks as they are now for `policy(..., earlier=True)`."""
        if self._earlier is None:
            self._earlier = self.acting_networks()
        both = (models.trainable_variables for models in (self._earlier, self.models))
        for earlier, now in zip(*both, strict=True):
            earlier.assign(now)

    def policy(
        self, observation: dict[str, np.ndarray], state: Tensors, step: tuple[int, int],
        training: bool, amount: float, earlier: bool = False,
    ) -> tuple[np.ndarray, Tensors]:  # fmt: skip
        """Actions float32 [N, A], one for each of N environments, and the next state.

        Args:
          observation: of the shapes `observed`, [N, ...].
          state: from `initial`, or from the step before.
          step: (episode, agent step in it); with `training` it names this step's noise.
          training: sample the action; else take the evaluation policy (`--eval_action`).
          amount: of exploration noise.
          earlier: act as the networks were at the last `snapshot_networks`.
        """
        seed = noises.key(self.config.seed, "train" if training else "test", *step)
        seen = {key: observation[key] for key in self.observed}
        with device_errors():
            action, state = self._act(training, earlier)(seen, state, seed, np.float32(amount))
            return action.numpy(), state

    def _compile_policy(self, training: bool, earlier: bool) -> Callable:
        # N stays unknown, as in an exported policy: with a known N TensorFlow rounds differently,
        # and another of the samples may be the densest.
        seen = {key: tf.TensorSpec([None, *s], DTYPES[key]) for key, s in self.observed.items()}
        state = tf.nest.map_structure(
            lambda x: tf.TensorSpec([None, *x.shape[1:]] if x.shape.rank else [], x.dtype),
            self.initial(1),
        )
        models = self._earlier if earlier else self.models

        def act(observation, state, seed, amount):
            noise = noises.SeededNoise(seed)
            return self.policy_step(observation, state, noise, training, amount, models)

        specs = [seen, state, tf.TensorSpec([2], tf.int32), tf.TensorSpec([], tf.float32)]
        return tf.function(act, specs, autograph=False)

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

        def product(shape: tuple) -> str:
            return "x".join(map(str, shape[1:])) or "1"

        return [
            f"{network.name:16}{product(network.input_shape):>10} -> "
            f"{product(network.output_shape):10}{network.count_params():>12,} parameters"
            for network in self.models.layers
        ]

    def parameter_counts(self) -> dict[str, int]:
        """Trained parameters of each loss."""
        trained = self.models.trained_by().items()
        return {loss: sum(net.count_params() for net in nets) for loss, nets in trained}
