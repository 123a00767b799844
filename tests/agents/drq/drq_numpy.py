"""DrQ once more in NumPy and SciPy, float64, from the paper's equations; reads weights by name."""

import numpy as np
from scipy import stats


def encoder(w, part, image):
    """uint8 [N, S, S, 9] -> [N, F]."""
    x = image / 255.0
    for i, stride in enumerate((2, 1, 1, 1)):
        kernel, bias = w[f"{part}/h{i + 1}/kernel"], w[f"{part}/h{i + 1}/bias"]
        windows = np.lib.stride_tricks.sliding_window_view(x, (3, 3), (1, 2))
        windows = windows[:, ::stride, ::stride]  # [N, H, W, C, 3, 3]
        x = np.maximum(np.einsum("nhwcyx,yxcf->nhwf", windows, kernel) + bias, 0)
    return x.reshape(len(x), -1)


def project(w, part, features):
    x = features @ w[f"{part}/projection/kernel"] + w[f"{part}/projection/bias"]
    x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)
    return np.tanh(x * w[f"{part}/norm/gain"] + w[f"{part}/norm/bias"])


def mlp(w, prefix, x):
    for name in ("0", "1"):
        x = np.maximum(x @ w[f"{prefix}{name}/kernel"] + w[f"{prefix}{name}/bias"], 0)
    return x @ w[f"{prefix}out/kernel"] + w[f"{prefix}out/bias"]


def q_values(w, part, features, action):
    x = np.concatenate([project(w, part, features), action], -1)
    return [mlp(w, f"{part}/q{i}_h", x)[:, 0] for i in (1, 2)]


def act(w, features, eps):
    """Action and log-probability of mean + std * eps after tanh."""
    mean, raw = np.split(mlp(w, "actor/h", project(w, "actor", features)), 2, -1)
    std = np.exp(-10 + 6 * (np.tanh(raw) + 1))
    before = mean + std * eps
    density = stats.norm.logpdf(before, mean, std) - np.log(1 - np.tanh(before) ** 2)
    return np.tanh(before), density.sum(-1)


def target(w, data, next_obs, eps, gamma=0.99):
    """y for one view of each next observation."""
    action, log_prob = act(w, encoder(w, "encoder", next_obs), eps)
    q = q_values(w, "target_critic", encoder(w, "target_encoder", next_obs), action)
    value = np.minimum(*q) - np.exp(w["temperature/log_alpha"]) * log_prob
    return data["reward"][:, 3] + gamma * data["discount"][:, 3] * value


def critic_loss(w, data, obs, y):
    q = q_values(w, "critic", encoder(w, "encoder", obs), data["action"][:, 3])
    return sum(np.mean((one - y) ** 2) for one in q)


def actor_losses(w, obs, eps):
    """The actor's and the temperature's."""
    features = encoder(w, "encoder", obs)
    action, log_prob = act(w, features, eps)
    alpha, size = np.exp(w["temperature/log_alpha"]), eps.shape[-1]
    q = np.minimum(*q_values(w, "critic", features, action))
    return np.mean(alpha * log_prob - q), alpha * np.mean(-log_prob + size)


def stacked(image, start):
    """Frames start, start + 1, start + 2 of [B, 4, S, S, 3], side by side in the channels."""
    return np.concatenate([image[:, start + i] for i in range(3)], -1)


def shifted(image, row, column, pad):
    """One image [S, S, C], padded by its edge and cropped."""
    padded = np.pad(image, ((pad, pad), (pad, pad), (0, 0)), mode="edge")
    return padded[row : row + image.shape[0], column : column + image.shape[1]]
