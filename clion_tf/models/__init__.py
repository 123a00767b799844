"""All networks of the agent, built from the options and what the task asks for."""

from collections.abc import Mapping

import keras
import tensorflow as tf

from clion_tf.config import Config
from clion_tf.models.decoder import Decoder, UnitNormal, VectorDecoder
from clion_tf.models.encoder import Encoder, VectorEncoder
from clion_tf.models.heads import ActionHead, DenseHead
from clion_tf.models.layers import ACTIVATIONS, Network, by_path
from clion_tf.models.rssm import RSSM


class Models(keras.Model):
    """The networks, by the names that checkpoints use; those of parts that are off are None.

    `observed` are shapes of `image`, `vector` or both: images have Dreamer's encoder and decoder,
    vectors some of dense layers (ours).
    """

    def __init__(
        self, config: Config, action_size: int, discrete: bool, observed: Mapping[str, tuple],
        dtype: str = "float32",
    ):  # fmt: skip
        super().__init__(name="clion")
        self.observes = tuple(observed)
        act, cnn_act = ACTIVATIONS[config.dense_act], ACTIVATIONS[config.cnn_act]
        units, depth, vector = config.num_units, config.cnn_depth, observed.get("vector", (0,))[0]
        kwargs = {"seed": config.seed, "dtype": dtype}
        self.encoder = self.vector_encoder = self.decoder = self.vector_decoder = None
        self.pcont = self.evaluator = None
        if "image" in observed:
            self.encoder = Encoder(depth, cnn_act, **kwargs)
        if vector:
            # Always float32: observations are not scaled, and bfloat16 would round 200.1 to 200.
            self.vector_encoder = VectorEncoder(vector, units, act, config.seed)
        embed = sum(net.size for net in (self.encoder, self.vector_encoder) if net is not None)
        sizes = {"stoch": config.stoch_size, "deter": config.deter_size}
        sizes["hidden"] = config.hidden_size
        min_std = config.rssm_min_std
        # Its activation is elu whatever `dense_act` says, as in Dreamer.
        self.rssm = RSSM(action_size, embed, **sizes, min_std=min_std, **kwargs)
        feat = self.rssm.feat_size
        if "image" in observed:
            self.decoder = Decoder(feat, depth, cnn_act, **kwargs)
        if vector:
            self.vector_decoder = VectorDecoder(feat, units, vector, act, **kwargs)
        self.reward = DenseHead("reward", feat, 2, units, "normal", act, **kwargs)
        if config.predicts_discount:
            self.pcont = DenseHead("pcont", feat, 3, units, "binary", act, **kwargs)
        normal = {"init_std": config.action_init_std, "min_std": config.action_min_std}
        normal["mean_scale"] = config.action_mean_scale
        self.actor = ActionHead(feat, action_size, units, discrete, **normal, act=act, **kwargs)
        self.value = DenseHead("value", feat, 3, units, "normal", act, **kwargs)
        if config.evaluator:
            layers, units = config.evaluator_layers, config.evaluator_units
            inputs = 2 * feat + action_size
            self.evaluator = DenseHead("evaluator", inputs, layers, units, "binary", act, **kwargs)
        self.built = True  # All weights are there.

    def encode(self, observation: dict[str, tf.Tensor]) -> tf.Tensor:
        """Image [..., 64, 64, 3] and vector [..., n] -> embedding [..., E], the image's first."""
        encoders = {"image": self.encoder, "vector": self.vector_encoder}
        parts = [net(observation[key]) for key, net in encoders.items() if net is not None]
        parts = [tf.cast(part, self.rssm.compute_dtype) for part in parts]
        return parts[0] if len(parts) == 1 else tf.concat(parts, -1)

    def decode(self, features: tf.Tensor) -> dict[str, UnitNormal]:
        """features [..., F] -> unit-variance Gaussians, float32, over what `encode` takes."""
        decoders = {"image": self.decoder, "vector": self.vector_decoder}
        return {key: net(features) for key, net in decoders.items() if net is not None}

    def trained_by(self) -> dict[str, tuple[Network, ...]]:
        """Who trains whom: each loss and the networks that it moves, and no others."""
        encoders = self.encoder, self.vector_encoder
        decoders = self.decoder, self.vector_decoder
        owners = {
            "model": (*encoders, self.rssm, *decoders, self.reward, self.pcont),
            "actor": (self.actor,),
            "value": (self.value,),
            "evaluator": (self.evaluator,),
        }
        present = {loss: tuple(filter(None, nets)) for loss, nets in owners.items()}
        return {loss: nets for loss, nets in present.items() if nets}

    def named_weights(self) -> dict[str, tf.Variable]:
        """{'part/layer/kernel': variable} of all networks."""
        return by_path(self.trainable_variables)
