"""DrQ's agent: its update, in the reference's order, and its policy; the methods of `Agent`."""

import functools

import numpy as np
import tensorflow as tf

from clion_tf import noise as noises
from clion_tf.config import Config, ConfigError
from clion_tf.drq import losses, stacks
from clion_tf.drq.augmentation import views
from clion_tf.drq.models import Acting, Models, Sizes
from clion_tf.learner import DTYPES, Learner, Tensors
from clion_tf.learning.losses import watching
from clion_tf.learning.optimizer import Optimizer, step_all
from clion_tf.noise import Noise

ADAM_EPSILON = 1e-8


class DrQ(Learner):
    """Data-regularised Q-learning.

    Args:
      config: the run's options.
      action_size: action dimensions.
      discrete: must be False.
      precision: `32`, `bf16` or `16` (resolved from `auto`).
      jit: whether the update is compiled by XLA.

    Raises:
      ConfigError: for discrete actions.
    """

    sequence = stacks.SEQUENCE  # Frames that a batch's sequences must have.

    def __init__(
        self,
        config: Config,
        action_size: int,
        discrete: bool = False,
        precision: str = "32",
        jit: bool = False,
    ):
        if discrete:
            raise ConfigError("--agent=drq: its policy is a Gaussian; the task's actions are not")
        super().__init__(config.seed, jit)
        self._config = config
        self.sizes = Sizes(
            action_size,
            image_size=config.drq_image_size,
            filters=config.drq_filters,
            feature_dim=config.drq_feature_dim,
            units=config.drq_units,
            init_temperature=config.drq_init_temperature,
        )
        self._dtype = DTYPES[precision]
        self.models = Models(self.sizes, config.seed, self._dtype)
        self.optimizers = {
            name: Optimizer(
                name,
                [variable for network in networks for variable in network.trainable_variables],
                config.drq_lr,
                clip=None,
                scaled=precision == "16",
                epsilon=ADAM_EPSILON,
            )
            for name, networks in self.models.trained_by().items()
        }
        self._turned = config.stack_rotation == "same"
        self._act = self._policies(self.models)
        self._earlier: Acting | None = None  # The networks that act, as they were.
        self._act_as_earlier: dict = {}

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
        obs, next_obs = stacks.transition(data, self._turned)
        config = self._config
        obs = views(obs, config.drq_online, config.drq_pad, noise, "shift")
        next_obs = views(next_obs, config.drq_targets, config.drq_pad, noise, "next_shift")
        out = self.target(data, next_obs, noise)
        gradients, critic = self.critic_gradients(data, obs, out["target"])
        out |= critic
        critic_norm, taken = step_all(
            {"critic": self.optimizers["critic"]},
            {"critic": gradients},
            {"critic": out["critic_loss"]},
        )
        # As in the reference the actor learns from the first of the augmentations.
        first = obs[: data["reward"].shape[0]]
        actor = tf.cond(
            taken & data["actor_due"],
            lambda: self._actor_step(first, noise),
            lambda: dict.fromkeys(ACTOR_METRICS, tf.constant(0.0)),
        )
        tf.cond(
            taken & data["target_due"],
            lambda: self._target_step(),
            lambda: tf.constant(False),
        )
        return self._metrics(data, out, actor, critic_norm["critic"], taken)

    def target(self, data: Tensors, next_obs: tf.Tensor, noise: Noise) -> Tensors:
        """What the critics are to say of a batch.

        Args:
          data: see `update`.
          next_obs: uint8 [K * B, S, S, 9].

        Returns:
          target [B]; next_log_prob [K * B], of the policy's actions.
        """
        models, rows = self.models, next_obs.shape[0]
        policy = models.actor(models.encoder(next_obs))
        eps = noise.normal("next_action", [rows, self.sizes.action_size])
        log_prob = -policy.entropy(eps)
        q1, q2 = models.target_critic(models.target_encoder(next_obs), policy.sample(eps))
        value = losses.soft_value(q1, q2, log_prob, models.temperature.alpha)
        value = tf.reshape(value, [self._config.drq_targets, -1])
        discount = self._config.discount * data["discount"][:, -1]
        y = losses.target(data["reward"][:, -1], discount, value)
        return {"target": y, "next_log_prob": log_prob}

    def critic_gradients(
        self, data: Tensors, obs: tf.Tensor, target: tf.Tensor
    ) -> tuple[list[tf.Tensor], Tensors]:
        """The critic's loss and its gradients, which move the encoder too.

        Args:
          data: see `update`.
          obs: uint8 [M * B, S, S, 9], all augmentations in one pass of the encoder.
          target: [B].

        Returns:
          gradients of its optimiser's variables; critic_loss and q1, [M, B].
        """
        models, copies = self.models, self._config.drq_online
        action = tf.tile(data["action"][:, -1], [copies, 1])
        with watching(models.trained_by()["critic"]) as tape:
            q1, q2 = models.critic(models.encoder(obs), action)
            q1, q2 = (tf.reshape(q, [copies, -1]) for q in (q1, q2))
            loss = losses.critic_loss(q1, q2, target)
        return self.optimizers["critic"].gradients(tape, loss), {"critic_loss": loss, "q1": q1}

    def actor_gradients(
        self, obs: tf.Tensor, noise: Noise
    ) -> tuple[dict[str, list[tf.Tensor]], Tensors]:
        """The actor's and the temperature's losses and gradients; neither moves the encoder.

        Args:
          obs: uint8 [B, S, S, 9].

        Returns:
          {loss: gradients of its optimiser's variables}; actor_loss and temperature_loss.
        """
        models, trained = self.models, self.models.trained_by()
        # Outside the tapes: the encoder is the critic's to train. Actor and critic share it, so
        # one pass serves both.
        features = models.encoder(obs)
        eps = noise.normal("action", [obs.shape[0], self.sizes.action_size])
        with watching(trained["actor"]) as tape, watching(trained["temperature"]) as alpha_tape:
            policy, alpha = models.actor(features), models.temperature.alpha
            log_prob = -policy.entropy(eps)
            q1, q2 = models.critic(features, policy.sample(eps))
            loss = losses.actor_loss(q1, q2, log_prob, alpha)
            alpha_loss = losses.temperature_loss(alpha, log_prob, -self.sizes.action_size)
        gradients = {
            "actor": self.optimizers["actor"].gradients(tape, loss),
            "temperature": self.optimizers["temperature"].gradients(alpha_tape, alpha_loss),
        }
        return gradients, {"actor_loss": loss, "temperature_loss": alpha_loss}

    def _actor_step(self, obs: tf.Tensor, noise: Noise) -> Tensors:
        gradients, out = self.actor_gradients(obs, noise)
        found = {name: out[f"{name}_loss"] for name in gradients}
        norms, taken = step_all({n: self.optimizers[n] for n in gradients}, gradients, found)
        values = {**out, "actor_grad_norm": norms["actor"], "skipped": 1.0 - _float(taken)}
        return {name: _float(values[name]) for name in ACTOR_METRICS}

    def _target_step(self) -> tf.Tensor:
        self.models.follow(self._config.drq_tau)
        return tf.constant(True)

    def _metrics(self, data, out: Tensors, actor: Tensors, critic_norm, taken) -> Tensors:
        """Scalars of an update.

        What only the actor's step knows counts as often as updates come to one step, and as 0
        where there is none: the mean over many updates, which is what is logged, is that over
        actor's steps.
        """
        weight = float(self._config.drq_actor_every)
        skipped = tf.maximum(1.0 - _float(taken), actor["skipped"])
        return {
            "behaviour/critic_loss": out["critic_loss"],
            "behaviour/critic_grad_norm": critic_norm,
            **{f"behaviour/{n}": weight * actor[n] for n in ACTOR_METRICS if n != "skipped"},
            "behaviour/value": tf.reduce_mean(out["q1"]),
            "behaviour/target_value": tf.reduce_mean(out["target"]),
            "behaviour/batch_reward": tf.reduce_mean(data["reward"][:, -1]),
            "behaviour/action_ent": -tf.reduce_mean(out["next_log_prob"]),
            "behaviour/temperature": self.models.temperature.alpha,
            "model/skipped": skipped,
        }

    # The policy.

    def _policies(self, models: Acting) -> dict:
        """Compiled policy steps of these networks, by whether they are for training."""
        return {
            mode: tf.function(functools.partial(self._policy, models, mode), autograph=False)
            for mode in (True, False)
        }

    def remember(self) -> None:
        """Keeps the networks as they are now for `policy(..., earlier=True)`."""
        if self._earlier is None:
            self._earlier = Acting(self.sizes, self._config.seed, self._dtype)
            self._act_as_earlier = self._policies(self._earlier)
        now = self.models.named_weights()
        for name, variable in self._earlier.named_weights().items():
            variable.assign(now[name])

    def initial(self, batch: int) -> Tensors:
        """The policy's state before an episode: no frames yet."""
        return stacks.begin(batch, self.sizes.image_size)

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
          observation: image uint8 [N, S, S, 3]; with `--stack_rotation=same` rotation, float32 [N].
          state: from `initial`, or from the step before.
          step: (episode, agent step in it); with `training` it names this step's noise.
          training: sample the action; else take the evaluation policy (`--eval_action`).
          amount: of exploration noise; DrQ's own is 0.
          earlier: act as the networks were at the last `remember`.

        Returns:
          actions float32 [N, A] and the next state.
        """
        seed = noises.key(self._config.seed, "train" if training else "test", *step)
        act = self._act_as_earlier if earlier else self._act
        seen = {key: observation[key] for key in self.observed}
        action, state = act[training](seen, state, seed, np.float32(amount))
        return action.numpy(), state

    @property
    def observed(self) -> tuple[str, ...]:
        """The observations that the agent looks at."""
        return ("image", "rotation") if self._turned else ("image",)

    def _policy(self, models: Acting, training: bool, observation, state, seed, amount):
        noise = noises.SeededNoise(seed)
        return self.policy_step(observation, state, noise, training, amount, models)

    def policy_step(
        self,
        observation: Tensors,
        state: Tensors,
        noise: Noise,
        training: bool,
        amount: tf.Tensor | float,
        models: Acting | None = None,
    ) -> tuple[tf.Tensor, Tensors]:
        """What `policy` computes, as a pure function for graphs of others.

        Args:
          noise: where the randomness comes from.
          models: the networks that act; None: the agent's.
        """
        models = self.models if models is None else models
        seen, state = stacks.push(state, observation["image"])
        if self._turned:
            seen = stacks.turn(seen, observation["rotation"])
        policy = models.actor(models.encoder(seen))
        shape = [seen.shape[0], self.sizes.action_size]
        how = "sample" if training else self._config.eval_action
        if how == "sample":
            action = policy.sample(noise.normal("action", shape))
        elif how == "mean":
            action = policy.mode()
        else:
            action = policy.densest(noise.normal("action", [100, *shape]))
        action += amount * noise.normal("expl", shape)
        return tf.clip_by_value(action, -1.0, 1.0), state

    # State.

    def named_state(self) -> dict[str, tf.Variable]:
        """Every variable that a checkpoint holds: `weights/...` and `optimizer/...`."""
        state = {f"weights/{name}": v for name, v in self.models.named_weights().items()}
        for optimizer in self.optimizers.values():
            state |= {f"optimizer/{name}": v for name, v in optimizer.named_state().items()}
        return state

    def parameter_counts(self) -> dict[str, int]:
        """Trained parameters of each loss."""
        return {
            name: sum(int(np.prod(v.shape)) for v in optimizer.variables)
            for name, optimizer in self.optimizers.items()
        }


ACTOR_METRICS = ("actor_loss", "temperature_loss", "actor_grad_norm", "skipped")


def _float(value: tf.Tensor) -> tf.Tensor:
    return tf.cast(value, tf.float32)
