"""All of DrQ's networks, which loss moves which, and the targets that follow."""

import dataclasses

import keras
import tensorflow as tf

from clion_tf.agents.drq.drq_networks import Actor, Critic, Encoder, Temperature
from clion_tf.agents.drq.frame_stacks import CHANNELS
from clion_tf.models.layers import Network, by_path


@dataclasses.dataclass(frozen=True)
class Sizes:
    """What the networks' shapes and first weights depend on."""

    action_size: int
    discrete: bool = False  # Always: the actor is a Gaussian.
    image_size: int = 84
    filters: int = 32
    feature_dim: int = 50
    units: int = 1024
    init_temperature: float = 0.1


class Acting(keras.Model):
    """The two networks that the policy needs. Actor and critic share the encoder."""

    def __init__(self, sizes: Sizes, seed: int = 0, dtype: str = "float32"):
        super().__init__(name="drq")
        kwargs = {"seed": seed, "dtype": dtype}
        self.encoder = Encoder(sizes.image_size, CHANNELS, sizes.filters, **kwargs)
        self.shape = (self.encoder.size, sizes.feature_dim, sizes.action_size, sizes.units)
        self.actor = Actor(*self.shape, **kwargs)
        self.built = True  # All weights are there.

    def networks(self) -> tuple[Network, ...]:
        """Those whose weights a checkpoint holds."""
        return (self.encoder, self.actor)

    def named_weights(self) -> dict[str, tf.Variable]:
        """{'part/layer/kernel': variable} of all networks."""
        return by_path(v for network in self.networks() for v in network.trainable_variables)


class Models(Acting):
    """The networks of an agent, by the names that checkpoints use.

    Args:
      sizes: shapes and the first temperature.
      seed: of the first weights; targets start as copies.
      dtype: Keras dtype policy.
    """

    def __init__(self, sizes: Sizes, seed: int = 0, dtype: str = "float32"):
        super().__init__(sizes, seed, dtype)
        kwargs = {"seed": seed, "dtype": dtype}
        self.critic = Critic(*self.shape, **kwargs)
        self.temperature = Temperature(sizes.init_temperature)
        self.target_encoder = Encoder(
            sizes.image_size, CHANNELS, sizes.filters, "target_encoder", **kwargs
        )
        self.target_critic = Critic(*self.shape, "target_critic", **kwargs)
        self.follow(1.0)

    def networks(self) -> tuple[Network, ...]:
        trained = (self.encoder, self.critic, self.actor, self.temperature)
        return (*trained, self.target_encoder, self.target_critic)

    def trained_by(self) -> dict[str, tuple[Network, ...]]:
        """Who trains whom: each loss and the networks that it moves, and no others.

        The encoder learns from the critic's loss alone. No loss moves the targets.
        """
        return {
            "critic": (self.encoder, self.critic),
            "actor": (self.actor,),
            "temperature": (self.temperature,),
        }

    def follow(self, tau: float) -> None:
        """The targets' step: target <- tau * online + (1 - tau) * target (Polyak averaging)."""
        for online, target in (
            (self.encoder, self.target_encoder),
            (self.critic, self.target_critic),
        ):
            pairs = zip(online.trainable_variables, target.trainable_variables, strict=True)
            for source, variable in pairs:
                variable.assign(tau * source.value + (1.0 - tau) * variable.value)
