"""DrQ's agent: its update, in the reference's order, and its policy.

[N, S, S, 9] is a stack of three frames, oldest first; data is [B, 4, ...], two stacks of one
transition.
"""

import functools
from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from clion_tf.agents.base import Learner, Tensors
from clion_tf.agents.drq import frame_stacks, soft_actor_critic
from clion_tf.agents.drq.drq_networks import Models
from clion_tf.agents.drq.frame_stacks import views
from clion_tf.config import Config, ConfigError
from clion_tf.learning.noise import Noise
from clion_tf.learning.optimizer import step_all
from clion_tf.learning.preprocessing import expect
from clion_tf.models.distributions import TanhNormal
from clion_tf.models.layers import rows_of, watching
from clion_tf.replay.observation_shapes import Shapes

ADAM_EPSILON = 1e-8  # PyTorch's default, which the reference leaves.
OF_THE_ACTOR = ("actor_loss", "temperature_loss", "actor_grad_norm", "skipped")


class DrQ(Learner):
    """Data-regularised Q-learning.

    Raises ConfigError for discrete actions, or if `observed` lacks the image [S, S, 3] or, with
    `--stack_rotation=same`, the rotation []. `observed=None` means just these.
    """

    sequence_length = frame_stacks.SEQUENCE
    state_keys = ("frames", "begun")
    padding = frame_stacks.FRAMES - 1

    def __init__(
        self, config: Config, action_size: int, discrete: bool = False,
        observed: Shapes | None = None, precision: str = "32", jit: bool = False,
    ):  # fmt: skip
        if discrete:
            raise ConfigError("--agent=drq: its policy is a Gaussian; the task's actions are not")
        self._turned = config.rotation_fill if config.stack_rotation == "same" else None
        size = config.drq_image_size
        needed: Shapes = {"image": (size, size, 3)} | ({"rotation": ()} if self._turned else {})
        for key, shape in needed.items():
            found = shape if observed is None else observed.get(key)
            if found != shape:
                raise ConfigError(f"--agent=drq: needs {key} {shape} at each step, not {found}")
        super().__init__(config, action_size, False, needed, precision, jit)
        rates = dict.fromkeys(("critic", "actor", "temperature"), config.drq_lr)
        networks = functools.partial(Models, config, action_size)
        self.make_networks(networks, rates, clip=None, epsilon=ADAM_EPSILON)

    @staticmethod
    def sizes_of(config: Config, weights: Mapping[str, np.ndarray]) -> dict[str, int]:
        """See `Agent.sizes_of`; what it observes follows from the options."""
        return {"action_size": weights["actor/hout/kernel"].shape[1] // 2}

    # The update.

    def with_schedule(self, data: dict[str, np.ndarray], update: int) -> dict[str, np.ndarray]:
        """The batch, and whether actor and targets step after it: `actor_due`, `target_due`."""
        actor = np.array(update % self.config.drq_actor_every == 0)
        target = np.array(update % self.config.drq_target_every == 0)
        return {**data, "actor_due": actor, "target_due": target}

    def update(self, data: Tensors, noise: Noise) -> Tensors:
        """One update: the critic and the encoder; then, if due, the actor, and the targets.

        Each step sees the weights that the one before it left, as in the reference. If the
        critic's loss or gradient is not finite, no step is taken.

        data: image uint8 [B, 4, S, S, 3], action [B, 4, A], reward and discount [B, 4], with
        `--stack_rotation=same` rotation [B, 4] in degrees; actor_due and target_due, bool. Metrics
        of the actor's step are 0 in updates without it and times `drq_actor_every` in the others,
        so that their mean over updates is the mean over the actor's steps.
        """
        numbers = dict.fromkeys(("reward", "discount"), "B 4")
        expect("batch", data, {"image": "B 4 S S 3", "action": "B 4 A", **numbers})
        config = self.config
        obs, next_obs = frame_stacks.transition(data, self._turned)
        obs = views(obs, config.drq_online, config.drq_pad, noise, "shift")
        next_obs = views(next_obs, config.drq_targets, config.drq_pad, noise, "next_shift")
        gradients, critic = self.critic_gradients(data, obs, next_obs, noise)
        norms, taken = step_all(self.optimizers, {"critic": gradients}, {"critic": critic["loss"]})
        # As in the reference the actor learns from the first of the augmentations.
        first = obs[: data["reward"].shape[0]]
        actor = tf.cond(
            taken & data["actor_due"],
            lambda: self._actor_step(first, noise),
            lambda: dict.fromkeys(OF_THE_ACTOR, tf.constant(0.0)),
        )
        tf.cond(taken & data["target_due"], self._target_step, lambda: tf.constant(False))
        skipped = tf.maximum(1.0 - tf.cast(taken, tf.float32), actor.pop("skipped"))
        return {
            "behaviour/critic_loss": critic["loss"],
            "behaviour/critic_grad_norm": norms["critic"],
            **{f"behaviour/{n}": config.drq_actor_every * value for n, value in actor.items()},
            "behaviour/value": tf.reduce_mean(critic["q1"]),
            "behaviour/target_value": tf.reduce_mean(critic["target"]),
            "behaviour/action_ent": -tf.reduce_mean(critic["log_prob"]),
            "behaviour/temperature": critic["alpha"],
            "model/skipped": skipped,
        }

    def critic_gradients(
        self, data: Tensors, obs: tf.Tensor, next_obs: tf.Tensor, noise: Noise
    ) -> tuple[list[tf.Tensor], Tensors]:
        """Gradients of the critic's loss for encoder and critic, and a dict of its parts.

        obs and next_obs are augmented stacks, uint8 [M * B, S, S, 9] and [K * B, S, S, 9]; the
        transition's action, reward and discount are those of data's last frame. The dict has
        `loss`, `q1` [M, B] (the first critic), `target` [B], `log_prob` [K * B] (of the policy's
        actions at next_obs) and the temperature `alpha`, a scalar.
        """
        models, config = self.models, self.config
        # Nothing is trained through the target.
        action, log_prob = _drawn(models.actor(models.encoder(next_obs)), noise, "next_action")
        q1, q2 = models.target_critic(models.target_encoder(next_obs), action)
        alpha = models.temperature.alpha
        value = soft_actor_critic.soft_value(q1, q2, log_prob, alpha)
        value = tf.reshape(value, [config.drq_targets, -1])
        reward, discount = (data[key][:, -1] for key in ("reward", "discount"))
        target = soft_actor_critic.target(reward, config.discount * discount, value)
        copies = config.drq_online
        with watching(models.trained_by()["critic"]) as tape:
            both = models.critic(models.encoder(obs), tf.tile(data["action"][:, -1], [copies, 1]))
            q1, q2 = (tf.reshape(q, [copies, -1]) for q in both)
            loss = soft_actor_critic.critic_loss(q1, q2, target)
        gradients = self.optimizers["critic"].gradients(tape, loss)
        found = {"loss": loss, "q1": q1, "target": target, "log_prob": log_prob, "alpha": alpha}
        return gradients, found

    def actor_gradients(self, obs: tf.Tensor, noise: Noise) -> tuple[dict[str, list], Tensors]:
        """Of `actor` and `temperature`, and the losses, from stacks uint8 [B, S, S, 9]."""
        models, owners = self.models, self.models.trained_by()
        with watching(owners["actor"]) as tape, watching(owners["temperature"]) as alpha_tape:
            # The encoder is the critic's to train. Both share it, so one pass serves both.
            features = tf.stop_gradient(models.encoder(obs))
            alpha = models.temperature.alpha
            action, log_prob = _drawn(models.actor(features), noise, "action")
            q1, q2 = models.critic(features, action)
            actor = soft_actor_critic.actor_loss(q1, q2, log_prob, alpha)
            temperature = soft_actor_critic.temperature_loss(alpha, log_prob, -self.action_size)
        gradients = {
            "actor": self.optimizers["actor"].gradients(tape, actor),
            "temperature": self.optimizers["temperature"].gradients(alpha_tape, temperature),
        }
        return gradients, {"actor": actor, "temperature": temperature}

    def _actor_step(self, obs: tf.Tensor, noise: Noise) -> Tensors:
        gradients, losses = self.actor_gradients(obs, noise)
        norms, taken = step_all(self.optimizers, gradients, losses)
        skipped = 1.0 - tf.cast(taken, tf.float32)
        values = (losses["actor"], losses["temperature"], norms["actor"], skipped)
        return dict(zip(OF_THE_ACTOR, values, strict=True))

    def _target_step(self) -> tf.Tensor:
        self.models.follow(self.config.drq_tau)
        return tf.constant(True)

    # The policy.

    def initial(self, batch: int) -> Tensors:
        """The policy's state before an episode: no frames yet."""
        return frame_stacks.begin(batch, self.config.drq_image_size)

    def policy_step(
        self, observation: Tensors, state: Tensors, noise: Noise, training: bool,
        amount: tf.Tensor | float, models: Models,
    ) -> tuple[tf.Tensor, Tensors]:  # fmt: skip
        """See Learner; the observation is an image, with `--stack_rotation=same` an angle too.

        In evaluation the reference takes the mean; it has no noise on the action in training.
        """
        seen, state = frame_stacks.push(state, observation["image"])
        if self._turned:
            seen = frame_stacks.turn(seen, observation["rotation"], self._turned)
        rows = rows_of(seen)
        action = self.choose(models.actor(models.encoder(seen)), noise, rows, training)
        action += amount * noise.normal("expl", [rows, self.action_size])
        return tf.clip_by_value(action, -1.0, 1.0), state


def _drawn(policy: TanhNormal, noise: Noise, purpose: str) -> tuple[tf.Tensor, tf.Tensor]:
    """An action of each row, [N, A], and its log-density, [N]."""
    eps = noise.normal(purpose, policy.distribution.mean().shape)
    return policy.sample_from(eps), -policy.entropy_from(eps)
