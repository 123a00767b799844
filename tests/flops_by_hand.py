"""How much arithmetic an update needs, from the sizes of its layers alone.

Counted are the multiplications and additions (two operations for each pair) of matrix products
and convolutions, with the gradients that the losses need and no others; elementwise work, Adam,
and zeros that an implementation multiplies by are not. A gradient of a product with respect to
its weights or to its input costs as much as the product. What needs none:

- the weights of the world model in imagination, those of reward and discount there;
- the images, the recorded actions, the features that the actor sees;
- everything through the reliability weights (unless `--weight_gradient`).
"""

import itertools

from clion_tf.config import Config

PIXELS = 64


def update_flops(config: Config, action_size: int) -> dict[str, float]:
    """Operations of one update by part; their sum is what a rate is computed from."""
    frames = config.batch_size * config.batch_length
    starts = frames - config.batch_size if config.predicts_discount else frames
    rows = (1 + config.augmentations) * starts
    imagined = config.horizon * rows
    seen = imagined + rows if config.from_start else imagined
    feat = config.deter_size + config.stoch_size
    parts = {
        "encoder": frames * _encoder(config.cnn_depth) * (2 if config.beta1 > 0 else 1),
        "decoder": frames * _decoder(feat, config.cnn_depth) * (2 if config.beta2 > 0 else 1),
        "rssm": frames * _observe(config, action_size),
        "heads": frames * sum(3 * sum(layers) for layers in _model_heads(config, feat)),
        "imagination": imagined * _imagine(config, action_size),
        "imagined heads": seen * sum(2 * sum(layers) for layers in _model_heads(config, feat)),
        "value": seen * _value(config, feat),
    }
    if config.evaluator:
        parts |= _evaluator(config, feat, action_size, seen - rows)
    return parts


def _dense(*sizes: int) -> list[int]:
    """Operations of each layer for one row."""
    return [2 * a * b for a, b in itertools.pairwise(sizes)]


def _trained(layers: list[int], input_gradient: bool) -> int:
    """With the gradient of the weights, and of what is below but perhaps the first input."""
    return 3 * sum(layers) - (0 if input_gradient else layers[0])


def _encoder(depth: int) -> int:
    layers, size, channels = [], PIXELS, 3
    for filters in (depth, 2 * depth, 4 * depth, 8 * depth):
        size = (size - 4) // 2 + 1
        layers.append(2 * size**2 * 16 * channels * filters)
        channels = filters
    return _trained(layers, input_gradient=False)


def _decoder(feat: int, depth: int) -> int:
    layers, size, channels = _dense(feat, 32 * depth), 1, 32 * depth
    for filters, kernel in ((4 * depth, 5), (2 * depth, 5), (depth, 6), (3, 6)):
        layers.append(2 * size**2 * kernel**2 * channels * filters)
        size, channels = (size - 1) * 2 + kernel, filters
    return _trained(layers, input_gradient=True)


def _transition(config: Config, action_size: int) -> tuple[int, int]:
    """Operations of one imagined step, and those of them that read the action."""
    inputs = config.stoch_size + action_size
    hidden, deter = config.hidden_size, config.deter_size
    gru = 2 * (hidden + deter) * 3 * deter
    prior = sum(_dense(deter, hidden, 2 * config.stoch_size))
    return 2 * inputs * hidden + gru + prior, 2 * action_size * hidden


def _observe(config: Config, action_size: int) -> int:
    step, of_action = _transition(config, action_size)
    embed = 32 * config.cnn_depth
    post = sum(_dense(config.deter_size + embed, config.hidden_size, 2 * config.stoch_size))
    return 3 * (step + post) - of_action


def _model_heads(config: Config, feat: int) -> list[list[int]]:
    units = config.num_units
    heads = [_dense(feat, units, units, 1)]
    return [*heads, _dense(feat, units, units, units, 1)] if config.predicts_discount else heads


def _imagine(config: Config, action_size: int) -> int:
    feat, units = config.deter_size + config.stoch_size, config.num_units
    actor = _dense(feat, units, units, units, units, 2 * action_size)
    return 2 * _transition(config, action_size)[0] + _trained(actor, input_gradient=False)


def _value(config: Config, feat: int) -> int:
    units = config.num_units
    layers = _dense(feat, units, units, units, 1)
    # Forwards once; back to the features for the actor, and to the weights for the critic.
    return _trained(layers, input_gradient=False) + sum(layers)


def _evaluator(config: Config, feat: int, action_size: int, judged: int) -> dict[str, float]:
    layers = _dense(2 * feat + action_size, *[config.evaluator_units] * config.evaluator_layers, 1)
    steps = min(config.overshoot_steps, config.batch_length - 1)
    rolls = -(-(config.batch_length - 1) // steps)
    kinds = 2 if config.fakes_from == "both" else 1
    fakes = kinds * config.batch_size * rolls * steps * _transition(config, action_size)[0]
    rated = (1 + kinds) * config.batch_size * (config.batch_length - 1)
    return {
        "weights": judged * sum(layers) * (2 if config.weight_gradient else 1),
        "evaluator": fakes + rated * _trained(layers, input_gradient=False),
    }
