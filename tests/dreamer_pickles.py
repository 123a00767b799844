"""What the original Dreamer's `tf.Module.save` writes, made of arrays of our own."""

import pickle

import numpy as np

# By hand, from the original's attributes in the order of their names.
LAYERS = {
    "actor": ["h0", "h1", "h2", "h3", "hout"],
    "decoder": ["h1", "h2", "h3", "h4", "h5"],
    "rssm": ["gru", "img1", "img2", "img3", "obs1", "obs2"],
    "encoder": ["h1", "h2", "h3", "h4"],
    "reward": ["h0", "h1", "hout"],
    "pcont": ["h0", "h1", "h2", "hout"],
    "value": ["h0", "h1", "h2", "hout"],
}
METRICS = 13  # A sum and a count of each.


def in_its_order(weights):
    """The weights by name as a list; the discount head is left out where there is none."""
    found = []
    for part, layers in LAYERS.items():
        for layer in layers:
            for kind in ("kernel", "recurrent_kernel", "bias"):
                found += [weights[n] for n in (f"{part}/{layer}/{kind}",) if n in weights]
    return found


def variables(weights, step=3000, metrics=METRICS):
    """The whole tuple: steps, networks, and metrics in their midst."""
    arrays = in_its_order(weights)
    place = 10 + 10 + 13 + 8
    numbers = [np.float32(i) for i in range(2 * metrics)]
    return (np.int64(step), *arrays[:place], *numbers, *arrays[place:])


def write(path, values, protocol=4):
    """Writes the pickle; returns the path."""
    path.write_bytes(pickle.dumps(values, protocol))
    return path
