"""All networks of the agent, built from sizes."""

import dataclasses

import keras
import tensorflow as tf

from clion_tf.models.decoder import Decoder, VectorDecoder
from clion_tf.models.distributions import UnitNormal
from clion_tf.models.encoder import Encoder, VectorEncoder
from clion_tf.models.heads import ActionHead, DenseHead
from clion_tf.models.layers import ACTIVATIONS, Network, by_path
from clion_tf.models.rssm import RSSM


@dataclasses.dataclass(frozen=True)
class Sizes:
    """What the networks' shapes and first weights depend on; the options' names."""

    action_size: int
    discrete: bool = False
    deter_size: int = 200
    stoch_size: int = 30
    hidden_size: int = 200
    num_units: int = 400
    cnn_depth: int = 32
    dense_act: str = "elu"
    cnn_act: str = "relu"
    rssm_min_std: float = 0.1
    action_init_std: float = 5.0
    action_mean_scale: float = 5.0
    action_min_std: float = 1e-4
    image: bool = True
    vector_size: int = 0
    pcont: bool = False
    evaluator: bool = False
    evaluator_layers: int = 3
    evaluator_units: int = 400


class Models(keras.Model):
    """The networks, by the names that checkpoints use; those of parts that are off are None.

    Images have Dreamer's encoder and decoder, vectors some of dense layers (ours).
    """

    def __init__(self, sizes: Sizes, seed: int = 0, dtype: str = "float32"):
        super().__init__(name="clion")
        act, cnn_act = ACTIVATIONS[sizes.dense_act], ACTIVATIONS[sizes.cnn_act]
        actions, units, depth = sizes.action_size, sizes.num_units, sizes.cnn_depth
        kwargs = {"seed": seed, "dtype": dtype}
        self.encoder = self.vector_encoder = self.decoder = self.vector_decoder = None
        self.pcont = self.evaluator = None
        if sizes.image:
            self.encoder = Encoder(depth, cnn_act, **kwargs)
        if sizes.vector_size:
            self.vector_encoder = VectorEncoder(sizes.vector_size, units, act, **kwargs)
        embed = sum(network.size for network in self._encoders().values())
        state = (sizes.stoch_size, sizes.deter_size, sizes.hidden_size, sizes.rssm_min_std)
        self.rssm = RSSM(actions, embed, *state, act, **kwargs)
        feat = self.rssm.feat_size
        if sizes.image:
            self.decoder = Decoder(feat, depth, cnn_act, **kwargs)
        if sizes.vector_size:
            self.vector_decoder = VectorDecoder(feat, units, sizes.vector_size, act, **kwargs)
        self.reward = DenseHead("reward", feat, 2, units, "normal", act, **kwargs)
        if sizes.pcont:
            self.pcont = DenseHead("pcont", feat, 3, units, "binary", act, **kwargs)
        normal = (sizes.action_init_std, sizes.action_mean_scale, sizes.action_min_std)
        self.actor = ActionHead(feat, actions, units, sizes.discrete, *normal, act, **kwargs)
        self.value = DenseHead("value", feat, 3, units, "normal", act, **kwargs)
        if sizes.evaluator:
            inputs, hidden = 2 * feat + actions, (sizes.evaluator_layers, sizes.evaluator_units)
            self.evaluator = DenseHead("evaluator", inputs, *hidden, "binary", act, **kwargs)
        self.built = True  # All weights are there.

    def _encoders(self) -> dict[str, Network]:
        encoders = {"image": self.encoder, "vector": self.vector_encoder}
        return {key: network for key, network in encoders.items() if network is not None}

    def encode(self, observation: dict[str, tf.Tensor]) -> tf.Tensor:
        """Image [..., 64, 64, 3] and vector [..., n] -> embedding [..., E], the image's first."""
        parts = [network(observation[key]) for key, network in self._encoders().items()]
        return parts[0] if len(parts) == 1 else tf.concat(parts, -1)

    def decode(self, features: tf.Tensor) -> dict[str, UnitNormal]:
        """features [..., F] -> unit-variance Gaussians, float32, over what `encode` takes."""
        decoders = {"image": self.decoder, "vector": self.vector_decoder}
        return {key: net(features) for key, net in decoders.items() if net is not None}

    def trained_by(self) -> dict[str, tuple[Network, ...]]:
        """Who trains whom: each loss and the networks that it moves, and no others."""
        owners = {
            "model": (
                *(self.encoder, self.vector_encoder, self.rssm),
                *(self.decoder, self.vector_decoder, self.reward, self.pcont),
            ),
            "actor": (self.actor,),
            "value": (self.value,),
            "evaluator": (self.evaluator,),
        }
        present = {loss: tuple(n for n in nets if n is not None) for loss, nets in owners.items()}
        return {loss: nets for loss, nets in present.items() if nets}

    def named_weights(self) -> dict[str, tf.Variable]:
        """{'part/layer/kernel': variable} of all networks."""
        return by_path(self.trainable_variables)
