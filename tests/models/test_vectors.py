"""Vector observations, alone and beside images."""

import numpy as np
import pytest
import tensorflow as tf
from scipy import stats
from small_agents import seeded, tensors, tiny_agent, tiny_batch, tiny_config, weights

from clion_tf.agents.clion import Agent
from clion_tf.learning import update_metrics, world_model
from clion_tf.learning.preprocessing import preprocess
from clion_tf.replay.observation_shapes import PIXELS, check, shapes_of
from clion_tf.replay.replay_buffer import Replay
from clion_tf.training import heldout_diagnostics

SIZE = 5
VECTOR = {"vector": (SIZE,)}
BOTH = {**PIXELS, **VECTOR}
KINDS = {"vector": VECTOR, "both": BOTH}


def agent(observed, precision="32", **options):
    return Agent(tiny_config(**options), 2, precision=precision, observed=observed)


def batch(observed, seed=0):
    data = tiny_batch(tiny_config(), seed)
    random = np.random.default_rng(seed + 100)
    shape = (*data["reward"].shape, SIZE)
    data["vector"] = random.normal(size=shape).astype("f4")
    return {key: value for key, value in data.items() if key not in PIXELS or key in observed}


@pytest.mark.parametrize(("kind", "precision"), [("vector", "32"), ("both", "bf16")])
def test_updates(kind, precision, eagerly):
    one = agent(KINDS[kind], precision, free_nats=0.0)  # Below them the prior has no gradient.
    before = weights(one)
    values = one.train(batch(KINDS[kind]), 0)
    named = dict(zip(one.metric_names, values, strict=True))
    assert named["model/skipped"] == 0 and np.isfinite(values).all()
    assert ("model/image_loss" in named) == (kind == "both") and "model/vector_loss" in named
    still = [n for n, w in weights(one).items() if np.array_equal(w, before[n])]
    # eq. 4's difference of means hardly moves the evaluator's last bias at the start.
    assert set(still) <= {"evaluator/hout/bias"}


def test_parts_that_there_are():
    parts = {name.split("/")[0] for name in weights(agent(VECTOR))}
    assert "vector_encoder" in parts and "vector_decoder" in parts
    assert not parts & {"encoder", "decoder"}
    assert {name.split("/")[0] for name in weights(tiny_agent())} >= {"encoder", "decoder"}
    assert parts | {"encoder", "decoder"} == {n.split("/")[0] for n in weights(agent(BOTH))}


def test_networks_of_vectors_are_two_elu_layers_each():
    models, random = agent(VECTOR).models, np.random.default_rng(5)
    for network, inputs, outputs in (
        (models.vector_encoder, SIZE, ("h0", "h1")),
        (models.vector_decoder, models.rssm.feat_size, ("h0", "h1", "hout")),
    ):
        for weight in network.trainable_variables:
            weight.assign(random.normal(size=weight.shape))  # Biases too, which begin at 0.
        x = random.normal(size=(4, inputs))
        found = network(tf.constant(x, tf.float32))
        named = {v.path.split("/", 1)[1]: v.numpy().astype("f8") for v in network.variables}
        assert sorted({name.split("/")[0] for name in named}) == list(outputs)
        for name in outputs:
            x = x @ named[f"{name}/kernel"] + named[f"{name}/bias"]
            if name != "hout":
                x = np.where(x > 0, x, np.expm1(np.minimum(x, 0)))
        found = found if network is models.vector_encoder else found.mode()
        np.testing.assert_allclose(found, x, rtol=1e-4, atol=1e-4)


def test_density_of_a_vector_is_a_unit_gaussians():
    one, data = agent(VECTOR, beta2=0.0), tensors(batch(VECTOR))
    out = world_model.loss(one.models, one.config, data, seeded())
    mean = out.decoded["vector"].mode().numpy()
    expected = stats.norm.logpdf(data["vector"].numpy(), mean).sum(-1).mean()
    np.testing.assert_allclose(out.terms["vector"], -expected, rtol=1e-5)
    total = out.clipped_kl - expected + out.terms["reward"]
    np.testing.assert_allclose(out.loss, total, rtol=1e-5)


def test_decoding_constraint_covers_all_that_is_observed():
    one = agent(BOTH, beta1=0.0, decoding_target="observation")
    data = tensors(batch(BOTH))
    out = world_model.loss(one.models, one.config, data, seeded())
    noise = seeded().normal("decoding", out.post["deter"].shape)
    state = {"stoch": out.post["stoch"], "deter": out.post["deter"] + 0.1 * noise}
    found = one.models.decode(one.models.rssm.get_feat(state))
    seen = preprocess(data)
    expected = sum(
        ((found[key].mode() - seen[key]).numpy().astype("f8") ** 2).reshape(2, 6, -1).sum(-1)
        for key in ("image", "vector")
    )
    np.testing.assert_allclose(out.decoding.distance, expected, rtol=1e-5)


def test_embedding_constraint_is_of_the_images_only():
    out = {}
    for name, change in (("plain", 0.0), ("moved", 3.0)):
        data = batch(BOTH)
        data["vector"] += change
        one = agent(BOTH)
        out[name] = world_model.loss(one.models, one.config, tensors(data), seeded())
    distances = (one.embedding.distance for one in out.values())
    np.testing.assert_allclose(*distances, rtol=1e-6)
    norms = (update_metrics.model(one)["model/embed_norm"] for one in out.values())
    np.testing.assert_allclose(*norms, rtol=1e-6)
    assert not np.allclose(out["plain"].post["mean"], out["moved"].post["mean"])
    blind = agent(VECTOR)
    found = world_model.loss(blind.models, blind.config, tensors(batch(VECTOR)), seeded())
    assert found.embedding is None and found.decoding is not None
    assert "model/embed_norm" not in update_metrics.model(found)


@pytest.mark.parametrize("precision", ["bf16", "16"])
def test_vectors_are_not_rounded_to_16_bits(precision):
    """bfloat16 has steps of 1 at 200, and 70,000 is no number of float16."""
    models, plain = agent(VECTOR, precision).models, agent(VECTOR).models
    seen = np.array([[200.1] * SIZE, [200.4] * SIZE, [7e4] * SIZE], "f4")
    encoded = models.vector_encoder(tf.constant(seen)).numpy()
    np.testing.assert_allclose(encoded, plain.vector_encoder(tf.constant(seen)), rtol=1e-5)
    models.vector_decoder.hout.bias.assign([200.1, 200.4, 7e4, 0.0, 1.0])
    feat = tf.zeros([1, models.rssm.feat_size], models.rssm.compute_dtype)
    means = models.vector_decoder(feat).mode().numpy()
    np.testing.assert_allclose(means, [[200.1, 200.4, 7e4, 0.0, 1.0]], rtol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_policy_looks_at_everything(kind):
    one, data = agent(KINDS[kind], eval_action="mean"), batch(KINDS[kind])
    seen = {key: data[key][:, 0] for key in KINDS[kind]}

    def act(**changed):
        return one.policy({**seen, **changed}, one.initial(2), (0, 0), False, 0.0)[0]

    action = act()
    assert action.shape == (2, 2)
    for key, value in seen.items():
        other = value.copy()
        other[1] = 255 - other[1] if key == "image" else -other[1]
        found = act(**{key: other})
        np.testing.assert_allclose(found[0], action[0], rtol=1e-5, atol=1e-7)
        assert not np.allclose(found[1], action[1], rtol=1e-5, atol=1e-7)


def test_model_learns_a_vector():
    """What repeats itself is soon told: the loss falls towards that of a perfect prediction."""
    one = agent(VECTOR, model_lr=1e-2, free_nats=0.0)
    data = batch(VECTOR)
    data["vector"][:] = np.linspace(-2, 2, SIZE)
    perfect = SIZE * np.log(2 * np.pi) / 2
    found = []
    for update in range(60):
        named = dict(zip(one.metric_names, one.train(data, update), strict=False))
        found.append(named.get("model/vector_loss"))
    assert found[1] > perfect + 2 and found[-1] < perfect + 0.2


@pytest.mark.parametrize("kind", KINDS)
def test_replay_keeps_and_draws_them(tmp_path, kind):
    data = {key: value[0] for key, value in batch(KINDS[kind]).items()}
    replay = Replay(tmp_path, 3, shapes={**KINDS[kind], "action": (2,)})
    replay.add(data)
    drawn = replay.sample(4, 0)
    assert set(drawn) == {*KINDS[kind], "action", "reward", "discount"}
    starts = [np.flatnonzero((data["vector"][:4] == v[0]).all(-1))[0] for v in drawn["vector"]]
    for row, start in enumerate(starts):
        for key, values in drawn.items():
            np.testing.assert_array_equal(values[row], data[key][start : start + 3])
    again = Replay(tmp_path, 3, shapes={**KINDS[kind], "action": (2,)})
    assert again.load() == 1 and equal(again.sample(4, 0), drawn)


def equal(one, other):
    return one.keys() == other.keys() and all(np.array_equal(one[k], other[k]) for k in one)


def test_episodes_without_what_is_needed_are_set_aside(tmp_path):
    data = {key: value[0] for key, value in batch(VECTOR).items()}
    Replay(tmp_path, 3).add(data)
    assert Replay(tmp_path, 3, shapes={**BOTH, "action": (2,)}).load() == 0
    assert [path.suffix for path in tmp_path.iterdir()] == [".bad"]
    data["vector"][2, 1] = np.nan
    with pytest.raises(ValueError, match="'vector' has numbers that are not finite"):
        Replay(tmp_path / "new", 3).add(data)


def test_heldout_needs_no_pictures():
    class Episodes:
        def newest(self, batch_length, rows):
            return batch(VECTOR)

    one = agent(VECTOR)
    scalars, pictures, diagnosed = heldout_diagnostics.diagnose_newest_episode(one, Episodes(), 3)
    assert pictures == {} and "decoding" not in diagnosed
    assert np.isfinite(scalars["model"]["heldout_vector_loss"])
    assert "weights" in diagnosed


def test_what_is_checked_of_an_observation():
    check({"vector": np.zeros(SIZE, "f4"), "picture": None}, VECTOR)
    for wrong, words in (
        ({}, "not nothing"),
        ({"vector": np.zeros(4, "f4")}, r"not float32 \(4,\)"),
        ({"vector": np.zeros(SIZE)}, r"not float64 \(5,\)"),
    ):
        with pytest.raises(ValueError, match=rf"vector is float32 \(5,\), {words}"):
            check(wrong, VECTOR)
    # It would stay in the memory of the agent that saw it.
    for odd in (np.nan, np.inf):
        with pytest.raises(ValueError, match="vector has numbers that are not finite"):
            check({"vector": np.full(SIZE, odd, "f4")}, VECTOR)


def test_shapes_come_in_one_order():
    import gymnasium

    boxes = {
        "vector": gymnasium.spaces.Box(-1, 1, (SIZE,), np.float32),
        "picture": gymnasium.spaces.Box(0, 255, (200, 200, 3), np.uint8),
        "image": gymnasium.spaces.Box(0, 255, (64, 64, 3), np.uint8),
    }
    assert list(shapes_of(gymnasium.spaces.Dict(boxes)).items()) == list(BOTH.items())


@pytest.mark.parametrize(
    ("task", "pcont", "expected"),
    [
        ("walker_walk", "auto", False),
        ("lqr_lqr_2_1", "auto", True),
        ("dmc_lqr_lqr_6_2", "auto", True),
        ("gym:CartPole-v1", "auto", True),
        ("atari_pong", "auto", True),
        ("env_fakes:counting", "auto", True),
        ("gym:CartPole-v1", "False", False),
        ("walker_walk", "True", True),
    ],
)
def test_discount_head_where_a_task_may_terminate(task, pcont, expected):
    config = tiny_config(task=task, pcont=pcont)
    assert config.predicts_discount == expected
    assert (Agent(config, 2).models.pcont is not None) == expected
