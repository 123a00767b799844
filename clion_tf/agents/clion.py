"""The agent: networks, optimisers, one compiled update, one compiled policy step."""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from clion_tf.agents.base import Learner, Tensors
from clion_tf.config import Config
from clion_tf.learning import behaviour, evaluator, replica_sums, update_metrics, world_model
from clion_tf.learning.behaviour import BehaviourLosses
from clion_tf.learning.evaluator import EvaluatorLoss
from clion_tf.learning.noise import Noise
from clion_tf.learning.optimizer import step_all
from clion_tf.learning.preprocessing import preprocess
from clion_tf.learning.world_model import WorldModelLoss
from clion_tf.models import Models
from clion_tf.models.layers import rows_of, watching
from clion_tf.replay.observation_shapes import PIXELS, Shapes


@dataclasses.dataclass(frozen=True)
class Losses:
    """All losses of an update."""

    world: WorldModelLoss
    imagined: BehaviourLosses
    evaluator: EvaluatorLoss | None  # None without one.

    def minimised(self) -> Tensors:
        """Scalars by the optimiser that minimises them."""
        found = {
            "model": self.world.loss,
            "actor": self.imagined.actor_loss,
            "value": self.imagined.value_loss,
        }
        return found if self.evaluator is None else {**found, "evaluator": self.evaluator.loss}


class Agent(Learner):
    """CLION, or with its parts off, Dreamer; it observes images as `PIXELS`, a vector, or both."""

    has_world_model = True
    state_keys = ("stoch", "deter", "action")

    def __init__(
        self, config: Config, action_size: int, discrete: bool = False, observed: Shapes = PIXELS,
        precision: str = "32", jit: bool = False,
    ):  # fmt: skip
        super().__init__(config, action_size, discrete, observed, precision, jit)
        self.sequence_length = config.batch_length
        rates = {"model": config.model_lr, "actor": config.actor_lr, "value": config.value_lr}
        rates["evaluator"] = config.evaluator_lr
        networks = functools.partial(Models, config, action_size, discrete, self.observed)
        self.make_networks(networks, rates, clip=config.grad_clip)

    @staticmethod
    def sizes_of(config: Config, weights: Mapping[str, np.ndarray]) -> dict[str, Any]:
        """`action_size`, `discrete` and `observed` of the agent that has these weights.

        Raises KeyError, IndexError or ValueError if they are not of these options.
        """
        # The RSSM takes [s, a]; a box's actor gives a mean and a std.
        size = weights["rssm/img1/kernel"].shape[0] - config.stoch_size
        if size < 1:
            raise ValueError(f"--stoch_size={config.stoch_size} leaves no room for actions")
        observed = dict(PIXELS) if "encoder/h1/kernel" in weights else {}
        if "vector_encoder/h0/kernel" in weights:
            observed["vector"] = weights["vector_encoder/h0/kernel"].shape[:1]
        discrete = weights["actor/hout/kernel"].shape[1] == size
        return {"action_size": size, "discrete": discrete, "observed": observed}

    # The update.

    def gradients(self, data: Tensors, noise: Noise) -> tuple[dict[str, list], Losses]:
        """({loss: gradients of what it trains, before clipping}, all losses), of a BATCH."""
        models, config, nets = self.models, self.config, self.models.trained_by()
        tapes: dict[str, tf.GradientTape] = {}
        with watching(nets["model"]) as tapes["model"]:
            world = world_model.loss(models, config, data, noise)
        with watching(nets["actor"]) as tapes["actor"], watching(nets["value"]) as tapes["value"]:
            imagined = behaviour.losses(models, config, world.post, noise)
        judged = None
        if models.evaluator is not None:
            with watching(nets["evaluator"]) as tapes["evaluator"]:
                judged = evaluator.loss(models, config, world.post, data["action"], noise)
        losses = Losses(world, imagined, judged)
        gradients = {
            name: self.optimizers[name].gradients(tapes[name], loss)
            for name, loss in losses.minimised().items()
        }
        return gradients, losses

    def update(self, data: Tensors, noise: Noise) -> Tensors:
        """One update: all losses at the old weights, then every optimiser steps (Dreamer).

        Algorithm 1 prints the model's step before imagination (docs/decisions.md, 27).
        None of them does if any loss or gradient is not finite.
        """
        gradients, losses = self.gradients(data, noise)
        whole = replica_sums.mean_without_gradient((gradients, losses.minimised()))
        norms, taken = step_all(self.optimizers, *whole)
        return {
            **update_metrics.model(losses.world),
            **update_metrics.behaviour(losses.imagined),
            **update_metrics.evaluator(losses.evaluator, losses.imagined),
            **update_metrics.steps(norms, self.optimizers, taken),
        }

    # The policy.

    def initial(self, batch: int) -> Tensors:
        """The policy's state before an episode: the latent state and the last action."""
        return {**self.models.rssm.initial(batch), "action": tf.zeros([batch, self.action_size])}

    def policy_step(
        self, observation: Tensors, state: Tensors, noise: Noise, training: bool,
        amount: tf.Tensor | float, models: Models,
    ) -> tuple[tf.Tensor, Tensors]:  # fmt: skip
        """See Learner; of the latent state, `stoch` and `deter` are read."""
        latent = self.perceive(models, models.encode(preprocess(observation)), state, noise)
        action = self.decide(models, latent, noise, training, amount)
        return action, {**latent, "action": action}

    @staticmethod
    def perceive(models: Models, embed: tf.Tensor, state: Tensors, noise: Noise) -> Tensors:
        """The posterior after e_t; of the state, `stoch`, `deter` and `action` are read."""
        eps = noise.normal("posterior", [rows_of(state["deter"]), models.rssm.stoch_size])
        return models.rssm.obs_step(state, state["action"], embed, eps)[0]

    def decide(
        self, models: Models, latent: Tensors, noise: Noise, training: bool,
        amount: tf.Tensor | float,
    ) -> tf.Tensor:  # fmt: skip
        """The actions [N, A] in latent states; the other arguments are `policy_step`'s."""
        policy, rows = models.actor(models.rssm.get_feat(latent)), rows_of(latent["deter"])
        return self._explore(self.choose(policy, noise, rows, training), amount, noise, rows)

    def _explore(
        self, action: tf.Tensor, amount: tf.Tensor | float, noise: Noise, rows: int | tf.Tensor
    ) -> tf.Tensor:
        """Exploration (Dreamer) in place of actions [N, A]; an amount of 0, as in evaluation, none.

        Additive Gaussian noise, epsilon-greedy, or completely random actions.
        """
        how = self.config.expl
        if how == "auto":
            how = "epsilon_greedy" if self.discrete else "additive_gaussian"
        shape = [rows, self.action_size]
        if how == "additive_gaussian":
            return tf.clip_by_value(action + amount * noise.normal("expl", shape), -1, 1)
        if how == "completely_random" and not self.discrete:
            return tf.where(amount > 0, noise.uniform("expl", shape), action)
        other = tf.one_hot(tf.argmax(noise.gumbel("expl", shape), -1), shape[-1])
        if how == "completely_random":
            return tf.where(amount > 0, other, action)
        # noise.uniform is on [-1, 1), so this is true with probability `amount`.
        turn = (noise.uniform("turn", [rows, 1]) + 1) / 2 < amount
        return tf.where(turn, other, action)
