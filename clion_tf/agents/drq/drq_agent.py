"""DrQ's agent: its update, in the reference's order, and its policy; the methods of `Agent`."""

from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from clion_tf.agents.base import DTYPES, Learner, Tensors
from clion_tf.agents.drq import drq_losses, drq_metrics, frame_stacks
from clion_tf.agents.drq.drq_losses import ActorLosses, CriticLoss, Settings
from clion_tf.agents.drq.drq_models import Acting, Models, Sizes
from clion_tf.agents.drq.drq_policy import act
from clion_tf.agents.drq.random_shifts import views
from clion_tf.config import Config, ConfigError
from clion_tf.learning.noise import Noise
from clion_tf.learning.optimizer import Optimizer, step_all
from clion_tf.learning.shape_checks import expect
from clion_tf.models.layers import watching
from clion_tf.replay.observation_shapes import Shapes

ADAM_EPSILON = 1e-8  # PyTorch's default, which the reference leaves.


class DrQ(Learner):
    """Data-regularised Q-learning.

    Args:
      config: the run's options.
      action_size: action dimensions.
      discrete: must be False.
      precision: `32`, `bf16` or `16` (resolved from `auto`).
      jit: whether the update is compiled by XLA.
      observed: shapes of one step's observation, as the environment gives it; None: as needed.

    Raises:
      ConfigError: for discrete actions, or observations other than those needed.
    """

    sequence = frame_stacks.SEQUENCE
    remembered = ("frames", "begun")
    lead = frame_stacks.FRAMES - 1

    def __init__(
        self,
        config: Config,
        action_size: int,
        discrete: bool = False,
        precision: str = "32",
        jit: bool = False,
        observed: Shapes | None = None,
    ):
        if discrete:
            raise ConfigError("--agent=drq: its policy is a Gaussian; the task's actions are not")
        super().__init__(config, jit)
        self._turned = config.rotation_fill if config.stack_rotation == "same" else None
        self.observed = self._required(observed)
        self.sizes = Sizes(
            action_size,
            image_size=config.drq_image_size,
            filters=config.drq_filters,
            feature_dim=config.drq_feature_dim,
            units=config.drq_units,
            init_temperature=config.drq_init_temperature,
        )
        self.settings = Settings(
            config.discount, config.drq_pad, config.drq_targets, config.drq_online
        )
        self._dtype = DTYPES[precision]
        models = Models(self.sizes, config.seed, self._dtype)
        optimizers = {
            name: Optimizer(
                name,
                [variable for network in networks for variable in network.trainable_variables],
                config.drq_lr,
                clip=None,
                scaled=precision == "16",
                epsilon=ADAM_EPSILON,
            )
            for name, networks in models.trained_by().items()
        }
        self.begin(models, optimizers)

    @staticmethod
    def described(
        config: Config, weights: Mapping[str, np.ndarray]
    ) -> tuple[int, bool, Shapes | None]:
        """(action_size, discrete, observed) of the agent that has these weights."""
        return weights["actor/hout/kernel"].shape[1] // 2, False, None

    def _required(self, given: Shapes | None) -> Shapes:
        """The shapes of what the agent looks at, which must be among those given."""
        size = self._config.drq_image_size
        shapes = {"image": (size, size, 3)} | ({"rotation": ()} if self._turned else {})
        for key, shape in shapes.items():
            found = shape if given is None else given.get(key)
            if found != shape:
                raise ConfigError(f"--agent=drq: needs {key} {shape} at each step, not {found}")
        return shapes

    # The update.

    def numbered(self, data: dict[str, np.ndarray], update: int) -> dict[str, np.ndarray]:
        """The batch, and whether actor and targets step after it: `actor_due`, `target_due`."""
        config = self._config
        return {
            **data,
            "actor_due": np.array(update % config.drq_actor_every == 0),
            "target_due": np.array(update % config.drq_target_every == 0),
        }

    def update(self, data: Tensors, noise: Noise) -> Tensors:
        """One update: the critic and the encoder; then, if due, the actor, and the targets.

        Each step sees the weights that the one before it left, as in the reference. None is taken
        after a critic's loss or gradient that is not finite.

        Args:
          data: image uint8 [B, 4, S, S, 3], action [B, 4, A], reward and discount [B, 4], with
            `--stack_rotation=same` rotation [B, 4] in degrees; actor_due and target_due, bool.
          noise: where the randomness comes from.

        Returns:
          scalars by `group/name`, float32.
        """
        expect("batch", data, {"image": "B 4 S S 3", "action": "B 4 A", "reward": "B 4"})
        settings = self.settings
        obs, next_obs = frame_stacks.transition(data, self._turned)
        obs = views(obs, settings.online, settings.pad, noise, "shift")
        next_obs = views(next_obs, settings.targets, settings.pad, noise, "next_shift")
        gradients, critic = self.critic_gradients(data, obs, next_obs, noise)
        norms, taken = step_all(
            {"critic": self.optimizers["critic"]},
            {"critic": gradients},
            {"critic": critic.loss},
        )
        # As in the reference the actor learns from the first of the augmentations.
        first = obs[: data["reward"].shape[0]]
        actor = tf.cond(
            taken & data["actor_due"],
            lambda: self._actor_step(first, noise),
            lambda: dict.fromkeys(drq_metrics.OF_THE_ACTOR, tf.constant(0.0)),
        )
        tf.cond(
            taken & data["target_due"],
            self._target_step,
            lambda: tf.constant(False),
        )
        every = self._config.drq_actor_every
        return drq_metrics.training(critic, norms["critic"], taken, actor, every)

    def critic_gradients(
        self, data: Tensors, obs: tf.Tensor, next_obs: tf.Tensor, noise: Noise
    ) -> tuple[list[tf.Tensor], CriticLoss]:
        """The gradients of the critic's loss, and that loss.

        Args:
          data: see `update`.
          obs, next_obs: the augmented stacks, uint8 [M * B, S, S, 9] and [K * B, S, S, 9].
        """
        models, settings = self.models, self.settings
        target = drq_losses.target(models, settings, data, next_obs, noise)
        with watching(models.trained_by()["critic"]) as tape:
            critic = drq_losses.critic(models, settings, data["action"][:, -1], obs, target)
        return self.optimizers["critic"].gradients(tape, critic.loss), critic

    def actor_gradients(self, obs: tf.Tensor, noise: Noise) -> tuple[dict[str, list], ActorLosses]:
        """The gradients of the actor's and the temperature's loss, and both losses.

        Args:
          obs: uint8 [B, S, S, 9].
        """
        owners = self.models.trained_by()
        with watching(owners["actor"]) as tape, watching(owners["temperature"]) as alpha_tape:
            losses = drq_losses.actor(self.models, obs, noise)
        gradients = {
            "actor": self.optimizers["actor"].gradients(tape, losses.actor),
            "temperature": self.optimizers["temperature"].gradients(alpha_tape, losses.temperature),
        }
        return gradients, losses

    def _actor_step(self, obs: tf.Tensor, noise: Noise) -> Tensors:
        gradients, losses = self.actor_gradients(obs, noise)
        optimizers = {name: self.optimizers[name] for name in gradients}
        norms, taken = step_all(optimizers, gradients, vars(losses))
        skipped = 1.0 - tf.cast(taken, tf.float32)
        values = (losses.actor, losses.temperature, norms["actor"], skipped)
        return dict(zip(drq_metrics.OF_THE_ACTOR, values, strict=True))

    def _target_step(self) -> tf.Tensor:
        self.models.follow(self._config.drq_tau)
        return tf.constant(True)

    # The policy.

    def acting_networks(self) -> Acting:
        """See Learner."""
        return Acting(self.sizes, self._config.seed, self._dtype)

    def initial(self, batch: int) -> Tensors:
        """The policy's state before an episode: no frames yet."""
        return frame_stacks.begin(batch, self.sizes.image_size)

    def policy_step(
        self,
        observation: Tensors,
        state: Tensors,
        noise: Noise,
        training: bool,
        amount: tf.Tensor | float,
        models: Acting | None = None,
    ) -> tuple[tf.Tensor, Tensors]:
        """See Learner; the observation is an image, with `--stack_rotation=same` an angle too."""
        models = self.models if models is None else models
        how = "sample" if training else self._config.eval_action
        return act(models, observation, state, noise, how, amount, self._turned)
