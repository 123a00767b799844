"""One case for DrQ and for its original code: weights, batches and noise, by NumPy alone.

The sizes that the original's code fixes are its own (84 pixels, 32 filters), the others small.
"""

import numpy as np

ACTIONS, BATCH, SIZE, FILTERS, PROJECTED, UNITS = 2, 3, 84, 32, 5, 8
PAD, COPIES, UPDATES = 4, 2, 6
GRID = 35  # Height and width of the last convolution's output.
CONSTANTS = {"discount": 0.99, "init_temperature": 0.1, "lr": 1e-3, "tau": 0.01, "every": 2}


def shapes() -> dict[str, tuple[int, ...]]:
    """Of our weights, by their names; the targets begin as copies."""
    found = {}
    for i in range(4):
        found[f"encoder/h{i + 1}/kernel"] = (3, 3, FILTERS if i else 9, FILTERS)
        found[f"encoder/h{i + 1}/bias"] = (FILTERS,)
    for part in ("actor", "critic"):
        found[f"{part}/projection/kernel"] = (GRID * GRID * FILTERS, PROJECTED)
        found[f"{part}/projection/bias"] = found[f"{part}/norm/gain"] = (PROJECTED,)
        found[f"{part}/norm/bias"] = (PROJECTED,)
    stacks = {"actor/h": (PROJECTED, 2 * ACTIONS), "critic/q1_h": (PROJECTED + ACTIONS, 1)}
    stacks["critic/q2_h"] = stacks["critic/q1_h"]
    for prefix, (inputs, outputs) in stacks.items():
        for name, size in zip("01", ((inputs, UNITS), (UNITS, UNITS)), strict=True):
            found[f"{prefix}{name}/kernel"], found[f"{prefix}{name}/bias"] = size, size[1:]
        found[f"{prefix}out/kernel"], found[f"{prefix}out/bias"] = (UNITS, outputs), (outputs,)
    return found


def weights() -> dict[str, np.ndarray]:
    """First weights, float32, none of them zero, of a size that keeps every layer alive."""
    random, found = np.random.default_rng(7), {}
    for name, shape in shapes().items():
        scale = np.sqrt(2 / np.prod(shape[:-1])) if name.endswith("kernel") else 0.1
        found[name] = (scale * random.normal(size=shape)).astype(np.float32)
        if name.endswith("gain"):
            found[name] += 1
    return found


def batch(update: int) -> dict[str, np.ndarray]:
    """What the replay and the generators give to an update.

    image uint8 [B, 4, S, S, 3] (smooth, so that a shift moves what is seen), action, reward and
    discount [B, 4, ...]; shift and next_shift int [2 * B, 2], rows and columns of the crops; and
    the normal noise of actions, next_action [2 * B, A] and new_action [B, A].
    """
    random = np.random.default_rng([8, update])
    coarse = random.integers(0, 256, (BATCH, 4, 7, 7, 3), dtype=np.uint8)
    return {
        "image": coarse.repeat(12, 2).repeat(12, 3),
        "action": random.uniform(-1, 1, (BATCH, 4, ACTIONS)).astype(np.float32),
        "reward": random.normal(size=(BATCH, 4)).astype(np.float32),
        "discount": np.array([[1, 1, 1, float(row != update % 4)] for row in range(BATCH)], "f"),
        "shift": random.integers(0, 2 * PAD + 1, (COPIES * BATCH, 2)),
        "next_shift": random.integers(0, 2 * PAD + 1, (COPIES * BATCH, 2)),
        "next_action": random.normal(size=(COPIES * BATCH, ACTIONS)).astype(np.float32),
        "new_action": random.normal(size=(BATCH, ACTIONS)).astype(np.float32),
    }


def summary(weights: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Each weight in a few numbers, float64: its change is seen in all of them."""
    found = {}
    for name, value in weights.items():
        flat = np.asarray(value, np.float64).ravel()
        signs = np.random.default_rng([9, flat.size]).choice((-1.0, 1.0), flat.size)
        found[name] = np.array([flat.sum(), flat @ signs, flat @ flat, flat[0], flat[-1]])
    return found
