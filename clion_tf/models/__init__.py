"""All networks of the agent, built from sizes."""

import dataclasses

import tensorflow as tf

from clion_tf.models.decoder import Decoder
from clion_tf.models.encoder import Encoder
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
    pcont: bool = False
    evaluator: bool = False
    evaluator_layers: int = 3
    evaluator_units: int = 400


class Models:
    """The networks, by the names that checkpoints use; `pcont` and `evaluator` may be None.

    Args:
      sizes: shapes and activations.
      seed: of the first weights.
      dtype: Keras dtype policy.
    """

    def __init__(self, sizes: Sizes, seed: int = 0, dtype: str = "float32"):
        act, cnn_act = ACTIVATIONS[sizes.dense_act], ACTIVATIONS[sizes.cnn_act]
        kwargs = {"seed": seed, "dtype": dtype}
        self.encoder = Encoder(sizes.cnn_depth, cnn_act, **kwargs)
        self.rssm = RSSM(
            sizes.action_size,
            self.encoder.size,
            sizes.stoch_size,
            sizes.deter_size,
            sizes.hidden_size,
            sizes.rssm_min_std,
            act,
            **kwargs,
        )
        feat = self.rssm.feat_size
        self.decoder = Decoder(feat, sizes.cnn_depth, cnn_act, **kwargs)
        self.reward = DenseHead("reward", feat, 2, sizes.num_units, act, **kwargs)
        self.pcont = self.evaluator = None
        if sizes.pcont:
            self.pcont = DenseHead("pcont", feat, 3, sizes.num_units, act, **kwargs)
        self.actor = ActionHead(
            feat,
            sizes.action_size,
            sizes.num_units,
            sizes.discrete,
            sizes.action_init_std,
            sizes.action_mean_scale,
            sizes.action_min_std,
            act,
            **kwargs,
        )
        self.value = DenseHead("value", feat, 3, sizes.num_units, act, **kwargs)
        if sizes.evaluator:
            layers, units = sizes.evaluator_layers, sizes.evaluator_units
            inputs = 2 * feat + sizes.action_size
            self.evaluator = DenseHead("evaluator", inputs, layers, units, act, **kwargs)

    def trained_by(self) -> dict[str, tuple[Network, ...]]:
        """Who trains whom: each loss and the networks that it moves, and no others."""
        owners = {
            "model": (self.encoder, self.rssm, self.decoder, self.reward, self.pcont),
            "actor": (self.actor,),
            "value": (self.value,),
            "evaluator": (self.evaluator,),
        }
        present = {loss: tuple(n for n in nets if n is not None) for loss, nets in owners.items()}
        return {loss: nets for loss, nets in present.items() if nets}

    def named_weights(self) -> dict[str, tf.Variable]:
        """{'part/layer/kernel': variable} of all networks."""
        networks = [network for group in self.trained_by().values() for network in group]
        return by_path(v for network in networks for v in network.trainable_variables)
