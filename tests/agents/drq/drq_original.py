"""Writes tests/golden/drq_original.npz: the case of drq_case.py by DrQ's original code, unmodified.

    python tests/agents/drq/drq_original.py CHECKOUT OUT.npz

CHECKOUT is of github.com/denisyarats/drq at dd040f1; Python needs PyTorch (made with 1.12.1) and
NumPy. What that code imports for other purposes (hydra, gym, scikit-image) is replaced by empty
modules; its agent, networks and losses are used as they are, on CPU. Only its sources of
randomness are fed: the replay buffer, and PyTorch's standard normal.
"""

import pathlib
import sys
import types

import drq_case as case
import numpy as np
import torch


def original(checkout: str) -> types.ModuleType:
    """Its module `drq`."""
    for name in ("gym", "skimage", "skimage.util", "skimage.util.shape", "hydra", "hydra.utils"):
        sys.modules[name] = types.ModuleType(name)
    sys.modules["gym"].Wrapper = object
    sys.modules["skimage.util.shape"].view_as_windows = None
    # Its configuration makes the networks; ours are functions that make them.
    sys.modules["hydra"].utils = sys.modules["hydra.utils"]
    sys.modules["hydra.utils"].instantiate = lambda make: make()
    sys.path.insert(0, checkout)
    import drq

    return drq


def agent(drq):
    """An agent with the case's weights."""
    constants = case.CONSTANTS

    def encoder():
        return drq.Encoder((9, case.SIZE, case.SIZE), case.PROJECTED)

    made = drq.DRQAgent(
        obs_shape=(9, case.SIZE, case.SIZE), action_shape=(case.ACTIONS,), action_range=(-1, 1),
        device="cpu", encoder_cfg=encoder,
        critic_cfg=lambda: drq.Critic(encoder, (case.ACTIONS,), case.UNITS, 2),
        actor_cfg=lambda: drq.Actor(encoder, (case.ACTIONS,), case.UNITS, 2, (-10, 2)),
        discount=constants["discount"], init_temperature=constants["init_temperature"],
        lr=constants["lr"], actor_update_frequency=constants["every"],
        critic_tau=constants["tau"], critic_target_update_frequency=constants["every"],
        batch_size=case.BATCH,
    )  # fmt: skip
    values = case.weights()
    for name, parameter in parameters(made).items():
        value = values[name.removeprefix("target_")]
        with torch.no_grad():
            parameter.copy_(torch.tensor(to_torch(name, value)))
    return made


def parameters(agent) -> dict[str, torch.nn.Parameter]:
    """Its parameters by our names."""
    found = {}
    for prefix, critic in (("", agent.critic), ("target_", agent.critic_target)):
        for i, conv in enumerate(critic.encoder.convs):
            found |= _layer(f"{prefix}encoder/h{i + 1}", conv)
        found |= _projection(f"{prefix}critic", critic.encoder.head)
        found |= _mlp(f"{prefix}critic/q1_h", critic.Q1) | _mlp(f"{prefix}critic/q2_h", critic.Q2)
    actor = agent.actor
    return found | _projection("actor", actor.encoder.head) | _mlp("actor/h", actor.trunk)


def _layer(name, layer):
    return {f"{name}/kernel": layer.weight, f"{name}/bias": layer.bias}


def _projection(part, head):
    linear, norm = head
    gains = {f"{part}/norm/gain": norm.weight, f"{part}/norm/bias": norm.bias}
    return _layer(f"{part}/projection", linear) | gains


def _mlp(prefix, layers):
    linear = [layer for layer in layers if isinstance(layer, torch.nn.Linear)]
    names = (f"{prefix}0", f"{prefix}1", f"{prefix}out")
    return {k: v for n, one in zip(names, linear, strict=True) for k, v in _layer(n, one).items()}


def to_torch(name, value):
    """Our axes to PyTorch's: kernels first by outputs, channels before rows and columns."""
    if name.endswith("projection/kernel"):
        value = value.reshape(case.GRID, case.GRID, case.FILTERS, -1)
        return value.transpose(3, 2, 0, 1).reshape(case.PROJECTED, -1)
    return value.transpose(3, 2, 0, 1) if value.ndim == 4 else value.T


def from_torch(name, value):
    """The way back."""
    if name.endswith("projection/kernel"):
        value = value.reshape(-1, case.FILTERS, case.GRID, case.GRID)
        return value.transpose(2, 3, 1, 0).reshape(-1, case.PROJECTED)
    return value.transpose(2, 3, 1, 0) if value.ndim == 4 else value.T


class Replay:
    """The original's buffer, with the case's shifts."""

    def __init__(self, data):
        self._data = data

    def sample(self, batch_size):
        data = self._data
        views = {
            name: [self._shifted(first, offsets) for offsets in np.split(data[name], case.COPIES)]
            for first, name in ((0, "shift"), (1, "next_shift"))
        }
        (obs, obs_aug), (next_obs, next_obs_aug) = views["shift"], views["next_shift"]
        action, reward, discount = (data[k][:, -1] for k in ("action", "reward", "discount"))
        reward, not_done = (torch.tensor(value[:, None]) for value in (reward, discount))
        return obs, torch.tensor(action), reward, next_obs, not_done, obs_aug, next_obs_aug

    def _shifted(self, first, offsets):
        frames = [self._data["image"][:, first + i].transpose(0, 3, 1, 2) for i in range(3)]
        edges = (0, 0), (case.PAD, case.PAD), (case.PAD, case.PAD)
        padded = [np.pad(image, edges, "edge") for image in np.concatenate(frames, 1)]
        crops = [
            image[:, row : row + case.SIZE, column : column + case.SIZE]
            for image, (row, column) in zip(padded, offsets, strict=True)
        ]
        return torch.tensor(np.stack(crops)).float()


class Log:
    """Its logger: keeps the losses."""

    def __init__(self):
        self.found = {}

    def log(self, name, value, step):
        self.found[name] = float(value)

    def _nothing(self, *_):
        pass

    log_histogram = log_image = log_param = _nothing


def main(checkout: str, out: str) -> None:
    made = agent(original(checkout))
    found = {}
    for update in range(case.UPDATES):
        data, log = case.batch(update), Log()
        normals = [*np.split(data["next_action"], case.COPIES), data["new_action"]]
        given = iter(torch.tensor(value) for value in normals)
        torch.distributions.normal._standard_normal = lambda *_, given=given, **__: next(given)
        made.update(Replay(data), log, update)
        for key in ("critic/loss", "actor/loss", "alpha/loss", "alpha/value"):
            if f"train_{key}" in log.found:
                found[f"{update}/{key}"] = log.found[f"train_{key}"]
    after = {n: from_torch(n, p.detach().numpy()) for n, p in parameters(made).items()}
    after["temperature/log_alpha"] = made.log_alpha.detach().numpy()
    np.savez_compressed(out, **found, **{f"after/{n}": v for n, v in case.summary(after).items()})
    print(f"{len(found)} losses and {len(after)} weights in {pathlib.Path(out)}")


if __name__ == "__main__":
    main(*sys.argv[1:])
