"""The whole update against an independent NumPy computation, at B, L, H and A that all differ."""

import numpy as np
import pytest
from small_agents import ACTIONS, seeded, tensors, tiny_agent, tiny_batch, tiny_config, weights

from clion_tf.dreamer.parity import outputs

OPTIONS = {"delta1": 0.15, "delta2": 22.0, "sigma1": 0.3, "sigma_h": 0.2, "beta1": 0.7}
# Two sets of readings that have none in common.
READINGS = {
    "as_dreamer": {"decoding_target": "observation", "from_start": False},
    "from_start": {
        "delta1": 0.15, "delta2": 0.16, "sigma_h": 3.0, "sigma1": 1.5, "sigma_units": "relative",
        "constraint_norm": "euclidean", "overshoot_from": "both",
        "evaluator_objective": "bce", "weighting": "ratio",
    },
}  # fmt: skip


@pytest.fixture(scope="module", params=READINGS)
def case(request):
    options = {**OPTIONS, **READINGS[request.param]}
    config = tiny_config(**options)
    agent = tiny_agent(**options)
    for variable in agent.models.evaluator.trainable_variables:
        variable.assign(3.0 * variable)  # Scores that differ, so that weights do.
    batch = tiny_batch(config)
    _, losses = agent.gradients(tensors(batch), seeded())
    out = {name: np.asarray(value, np.float64) for name, value in outputs(losses).items()}
    return config, agent, batch, out


def dense(weights, part, layers, x):
    """A dense head of elu layers, float64."""
    for name in [f"h{i}" for i in range(layers)] + ["hout"]:
        x = x @ weights[f"{part}/{name}/kernel"].astype(np.float64) + weights[f"{part}/{name}/bias"]
        if name != "hout":
            x = np.where(x > 0, x, np.expm1(np.minimum(x, 0)))
    return x[..., 0]


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def test_shapes(case):
    config, _, _, out = case
    batch, length, horizon = config.batch_size, config.batch_length, config.horizon
    total = (1 + config.augmentations) * batch * length
    steps = horizon + config.from_start
    assert out["imagined_feat"].shape == (steps, total, 9)
    assert out["imagined_action"].shape == (horizon, total, ACTIONS)
    assert out["imagined_reward"].shape == out["imagined_value"].shape == (steps, total)
    for name in ("lambda_return", "discount", "weight", "evaluator_logit"):
        assert out[name].shape == (steps - 1, total), name
    kinds = 2 if config.fakes_from == "both" else 1
    assert out["real_logit"].shape == (batch, length - 1)
    assert out["fake_logit"].shape == (kinds * batch, length - 1)
    assert out["post_mean"].shape == out["prior_mean"].shape == (batch, length, 3)
    assert out["image_mean"].shape == (batch, length, 64, 64, 3)


def test_model_loss_is_likelihoods_kl_and_constraints(case):
    config, _, data, out = case
    image = data["image"] / 255 - 0.5
    count = config.batch_size * config.batch_length
    target = out["image_mean"] if config.decoding_target == "reconstruction" else image
    power = 2 if config.constraint_norm == "squared" else 1
    image_nll = reward_nll = kl = embedding = decoding = 0.0
    for b in range(config.batch_size):
        for t in range(config.batch_length):
            error = out["image_mean"][b, t] - image[b, t]
            image_nll += 0.5 * np.sum(error**2) + 0.5 * image[b, t].size * np.log(2 * np.pi)
            missed = out["reward_mean"][b, t] - data["reward"][b, t]
            reward_nll += 0.5 * missed**2 + 0.5 * np.log(2 * np.pi)
            for i in range(config.stoch_size):
                m, s = out["post_mean"][b, t, i], out["post_std"][b, t, i]
                pm, ps = out["prior_mean"][b, t, i], out["prior_std"][b, t, i]
                kl += np.log(ps / s) + (s**2 + (m - pm) ** 2) / (2 * ps**2) - 0.5
            moved = np.sum((out["embed_transformed"][b, t] - out["embed"][b, t]) ** 2)
            embedding += max(moved ** (power / 2) - config.delta1**power, 0)
            drawn = np.sum((out["image_from_noisy_memory"][b, t] - target[b, t]) ** 2)
            decoding += max(drawn ** (power / 2) - config.delta2**power, 0)
    loss = (image_nll + reward_nll) / count + max(kl / count, config.free_nats)
    loss += config.beta1 * embedding / count + config.beta2 * decoding / count
    assert out["kl_before_free_nats"] == pytest.approx(kl / count, rel=1e-4)
    assert out["embedding_constraint"] == pytest.approx(embedding / count, rel=1e-4)
    assert out["decoding_constraint"] == pytest.approx(decoding / count, rel=1e-4)
    for found, name in ((decoding, "decoding"), (embedding, "embedding")):
        without_margin = np.sum(out[f"{name}_constraint_each"] ** (power / 2))
        assert 0 < found < without_margin  # The margin did something.
    assert out["model_loss"] == pytest.approx(loss, rel=1e-5)


def test_evaluator_judges_the_transition_that_the_action_made(case):
    """W(z_k) = EVA(z_k, a_k, z_{k+1}), k = 1 ... H-1; with from_start from 0 on."""
    config, agent, _, out = case
    first = 0 if config.from_start else 1  # Of which step the first row of features is.
    for k in range(first, config.horizon):
        z, following = out["imagined_feat"][k - first], out["imagined_feat"][k - first + 1]
        rows = np.concatenate([z, out["imagined_action"][k], following], -1)
        expected = dense(weights(agent), "evaluator", config.evaluator_layers, rows)
        found = out["evaluator_logit"][k - first]
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_trajectories_begin_at_their_start(case):
    config, _, _, out = case
    start = np.concatenate([out["start_stoch"], out["start_deter"]], -1)
    assert np.array_equal(out["imagined_feat"][0], start) == config.from_start
    np.testing.assert_array_equal(out["discount"][0], 1.0)


def test_weights_are_normalised_over_everything(case):
    config, _, _, out = case
    score = sigmoid(out["evaluator_logit"])
    if config.weighting == "ratio":
        score = score / (1 - score)
    np.testing.assert_allclose(out["weight"], score / score.mean(), rtol=1e-4)
    assert out["weight"].std() > 0.01


def test_behaviour_losses_by_explicit_k_step_returns(case):
    """eqs. 6 to 9, each return as the mixture of its k-step returns."""
    config, agent, _, out = case
    reward, value = out["imagined_reward"], out["imagined_value"]
    feat = out["imagined_feat"]
    np.testing.assert_allclose(reward, dense(weights(agent), "reward", 2, feat), atol=1e-4)
    np.testing.assert_allclose(value, dense(weights(agent), "value", 3, feat), atol=1e-4)
    steps, lam, gamma = len(feat), config.disclam, config.discount
    actor = critic = 0.0
    for tau in range(steps - 1):
        longest = steps - 1 - tau  # Steps from here to the bootstrap v_H.

        def after(k, tau=tau):
            steps = sum(gamma**n * reward[tau + n] for n in range(k))
            return steps + gamma**k * value[tau + k]

        mixed = (1 - lam) * sum(lam ** (k - 1) * after(k) for k in range(1, longest))
        target = mixed + lam ** (longest - 1) * after(longest)
        np.testing.assert_allclose(out["lambda_return"][tau], target, rtol=1e-4, atol=1e-5)
        factor = out["weight"][tau] * gamma**tau
        actor -= np.sum(factor * target)
        log_prob = -0.5 * (value[tau] - target) ** 2 - 0.5 * np.log(2 * np.pi)
        critic -= np.sum(factor * log_prob)
    count = out["lambda_return"].size
    assert out["actor_loss"] == pytest.approx(actor / count, rel=1e-4)
    assert out["value_loss"] == pytest.approx(critic / count, rel=1e-4)


def test_evaluator_loss(case):
    config, agent, data, out = case
    feat = np.concatenate([out["post_stoch"], out["post_deter"]], -1)
    rows = np.concatenate([feat[:, :-1], data["action"][:, 1:], feat[:, 1:]], -1)
    real = dense(weights(agent), "evaluator", config.evaluator_layers, rows)
    np.testing.assert_allclose(out["real_logit"], real, rtol=1e-4, atol=1e-5)
    real, fake = sigmoid(out["real_logit"]), sigmoid(out["fake_logit"])
    expected = fake.mean() - real.mean()
    if config.evaluator_objective == "bce":
        expected = -np.log(real).mean() - np.log(1 - fake).mean()
    assert out["evaluator_loss"] == pytest.approx(expected, rel=1e-4)
