"""The agent: who trains whom, what each switch reduces to, compiled = plain, precisions."""

import functools

import numpy as np
import pytest
import tensorflow as tf
from scipy import stats
from small_agents import (
    RecordedNoise,
    seeded,
    tensors,
    tiny_agent,
    tiny_batch,
    tiny_config,
    weights,
)

from clion_tf.config import DREAMER
from clion_tf.learning import behaviour, replica_sums, update_metrics, world_model
from clion_tf.learning.noise import GivenNoise, SeededNoise, key
from clion_tf.learning.preprocessing import preprocess_image
from clion_tf.logdir import checkpoints
from clion_tf.models.layers import watching

# Of the density of an image, whatever is decoded.
IMAGE_CONSTANT = 64 * 64 * 3 * 0.5 * np.log(2 * np.pi)
OWNERS = {
    "model": {"encoder", "rssm", "decoder", "reward", "pcont"},
    "actor": {"actor"},
    "value": {"value"},
    "evaluator": {"evaluator"},
}


def outputs(agent, noise=None):
    return agent.gradients(tensors(tiny_batch(tiny_config())), noise or seeded())


@functools.cache
def computed(**options):
    """The gradients and quantities of a new agent, for tests that change neither."""
    return outputs(tiny_agent(**options))


def test_each_loss_moves_exactly_its_own_networks():
    agent = tiny_agent(pcont="True")
    grads, _ = outputs(agent)
    for loss, owned in OWNERS.items():
        before = weights(agent)
        agent.optimizers[loss].apply(grads[loss], tf.linalg.global_norm(grads[loss]))
        after = weights(agent)
        moved = {n.split("/")[0] for n, w in after.items() if not np.array_equal(w, before[n])}
        assert moved == owned, loss


def test_every_weight_gets_a_gradient():
    agent = tiny_agent(pcont="True", free_nats=0.0)  # Below the free nats the prior has none.
    grads, _ = outputs(agent)
    for loss, values in grads.items():
        for variable, gradient in zip(agent.optimizers[loss].variables, values, strict=True):
            # eq. 4's difference of means hardly moves the evaluator's last bias at the start.
            if variable.path != "evaluator/hout/bias":
                assert np.any(gradient.numpy() != 0), variable.path


def test_losses_do_not_see_the_step_of_another():
    """Section 7: all losses at the weights from before the update."""
    agent, reference = tiny_agent(), tiny_agent()
    grads, _ = outputs(reference)
    for name, gradient in grads.items():
        reference.optimizers[name].apply(gradient, tf.linalg.global_norm(gradient))
    agent.update(tensors(tiny_batch(tiny_config())), seeded())
    for name, weight in weights(agent).items():
        np.testing.assert_allclose(weight, weights(reference)[name], rtol=1e-5, atol=1e-7)


def test_model_gradient_is_untouched_by_behaviour_and_evaluator():
    """What imagination does never flows back into the world model."""
    full, _ = computed()
    alone, _ = computed(evaluator=False, augmentations=0)
    for a, b in zip(full["model"], alone["model"], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("discrete", [False, True])
def test_all_noise_of_an_update_is_of_its_kind(discrete):
    """Golden numbers are computed without noise, or with noise that was given."""
    noise, agent = (
        RecordedNoise(),
        tiny_agent(discrete=discrete, overshoot_from="both", sigma_inference=0.1),
    )
    batch = tiny_batch(tiny_config(), discrete=discrete)
    _, out = agent.gradients(tensors(batch), noise)
    kinds = dict.fromkeys(replica_sums.AXES, "normal") | {"rotation": "uniform"}
    kinds["imagined_action"] = "gumbel" if discrete else "normal"
    assert noise.kinds == kinds
    # And imagination goes on from a sampled state, by an action that was sampled.
    start, rssm, actor = out.imagined.start, agent.models.rssm, agent.models.actor
    feat, action = out.imagined.feat, out.imagined.action
    sampled = actor(rssm.get_feat(start)).sample_from(noise.given["imagined_action"][0])
    np.testing.assert_allclose(action[0], sampled, rtol=1e-5, atol=1e-6)
    state = rssm.img_step(start, action[0], noise.given["imagined_state"][0])
    np.testing.assert_allclose(feat[1], rssm.get_feat(state), rtol=1e-5, atol=1e-6)


def test_constraints_off_leave_dreamers_model_loss():
    _, off = computed(**DREAMER)
    _, on = computed()
    constraints = 0.01 * on.world.embedding.loss + 0.5 * on.world.decoding.loss
    expected = on.world.loss - constraints
    assert float(off.world.loss) == pytest.approx(float(expected), rel=1e-6)
    assert off.world.embedding is None and off.world.decoding is None


def test_decoding_constraint_without_noise_is_the_image_error():
    _, out = computed(sigma_h=0.0, decoding_target="observation")
    constant = 64 * 64 * 3 * np.log(2 * np.pi)
    squared = 2 * float(out.world.terms["image"]) - constant
    assert float(out.world.decoding.loss) == pytest.approx(squared, rel=1e-3)


@pytest.mark.parametrize("norm", ["squared", "euclidean"])
def test_reconstruction_as_target_is_zero_without_noise(norm):
    grads, out = computed(sigma_h=0.0, constraint_norm=norm)
    assert float(out.world.decoding.loss) == 0.0
    assert all(np.isfinite(gradient).all() for gradient in grads["model"])


def test_the_decoding_constraint_moves_both_branches():
    """Their one decoder gets the gradient of the difference, not of the noisy branch alone."""
    model = tiny_agent(sigma_h=1.0, beta1=0.0, beta2=1.0)
    plain = tiny_agent(sigma_h=1.0, beta1=0.0, beta2=0.0)
    with_it, without = outputs(model)[0]["model"], outputs(plain)[0]["model"]
    names = [v.path for v in model.optimizers["model"].variables]
    at = names.index("decoder/h5/bias")
    # The last bias moves both pictures alike: no difference, no gradient.
    np.testing.assert_allclose(with_it[at], without[at], rtol=1e-4, atol=1e-4)
    kernel = names.index("decoder/h5/kernel")
    assert not np.allclose(with_it[kernel], without[kernel], rtol=1e-3)


@pytest.mark.parametrize(("clip", "clipped"), [(1e9, 0.0), (1e-9, 1.0)])
def test_clipped_updates_are_counted(clip, clipped):
    agent = tiny_agent(grad_clip=clip)
    config = tiny_config()
    scalars = agent.update(tensors(tiny_batch(config)), seeded())
    found = {name: float(v) for name, v in scalars.items() if name.endswith("_clipped")}
    groups = {"model": "model", "evaluator": "evaluator"}
    names = ("model", "actor", "value", "evaluator")
    assert found == {f"{groups.get(n, 'behaviour')}/{n}_clipped": clipped for n in names}


def test_the_start_is_one_more_row_and_changes_no_other():
    """What is imagined is the same; from_start adds z_0 in front, its reward and its value."""
    _, later = computed(from_start=False)
    _, first = computed(from_start=True)
    first, later = first.imagined, later.imagined
    np.testing.assert_allclose(first.feat[1:], later.feat, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(first.reward[1:], later.reward, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(first.value[1:], later.value, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(first.returns[1:], later.returns, rtol=1e-5)
    np.testing.assert_allclose(first.logit[1:], later.logit, atol=1e-5)
    np.testing.assert_allclose(first.action, later.action)


def test_with_the_start_one_step_of_imagination_is_enough():
    agent = tiny_agent(horizon=1)
    gradients, losses = agent.gradients(tensors(tiny_batch(agent.config)), seeded())
    assert losses.imagined.returns.shape[0] == 1
    for name in ("actor", "value"):
        assert 0 < tf.linalg.global_norm(gradients[name]) < np.inf


def test_the_start_lets_noise_on_memory_reach_critic_and_weights():
    """The augmented h is an input of both with from_start, and of neither without."""
    far, near = ({"sigma1": sigma, "horizon": 2} for sigma in (100.0, 0.0))
    _, moved = computed(**far)
    _, still = computed(**near)
    moved, still = moved.imagined, still.imagined
    originals = moved.originals
    for name in ("value", "logit"):
        change = np.abs(getattr(moved, name)[0] - getattr(still, name)[0])
        assert np.all(change[:originals] == 0) and np.mean(change[originals:]) > 1, name


def test_embedding_gradient_option_changes_gradients_only():
    both, out = computed(beta1=10.0)
    one, out_one = computed(beta1=10.0, embedding_gradient="rotated")
    assert float(out.world.loss) == pytest.approx(float(out_one.world.loss))
    assert not np.allclose(both["model"][0], one["model"][0])


@pytest.mark.parametrize("units", ["absolute", "relative"])
def test_inference_starts_from_noisy_memory_when_asked(units):
    """In standard deviations of h over the batch at that step, or in units of h."""
    agent = tiny_agent(sigma_inference=0.5, sigma_units=units)
    data = tensors(tiny_batch(agent.config))
    eps = np.random.default_rng(2).normal(size=[2, 6, 6]).astype(np.float32)
    noise = GivenNoise({"inference": eps})
    post = world_model.loss(agent.models, agent.config, data, noise).post
    rssm, observed = agent.models.rssm, preprocess_image(data["image"])
    embed, state = agent.models.encode({"image": observed}), rssm.initial(2)
    for t in range(6):
        unit = 1.0 if units == "absolute" else np.sqrt(np.var(state["deter"], 0).mean())
        state = {**state, "deter": state["deter"] + 0.5 * unit * eps[:, t]}
        state, _ = rssm.obs_step(state, data["action"][:, t], embed[:, t], tf.zeros([2, 3]))
        np.testing.assert_allclose(post["deter"][:, t], state["deter"], rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(post["mean"][:, t], state["mean"], rtol=1e-4, atol=1e-5)


def test_no_rotation_means_no_embedding_distance():
    _, out = computed(constraint_degrees=0.0)
    assert float(out.world.embedding.loss) == pytest.approx(0.0, abs=1e-9)


def test_uniform_scores_give_dreamers_losses():
    agent = tiny_agent()
    for variable in agent.models.evaluator.trainable_variables:
        variable.assign(tf.zeros_like(variable))
    grads, out = outputs(agent)
    plain_grads, plain = computed(evaluator=False)
    np.testing.assert_allclose(out.imagined.weight, 1.0, rtol=1e-6)
    for loss in ("actor", "value"):
        found, expected = (float(losses.minimised()[loss]) for losses in (out, plain))
        assert found == pytest.approx(expected, rel=1e-6)
        for a, b in zip(grads[loss], plain_grads[loss], strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-8)


def test_copies_without_noise_count_as_the_originals():
    _, copied = outputs(tiny_agent(evaluator=False), noise=GivenNoise())
    _, plain = outputs(tiny_agent(evaluator=False, augmentations=0), noise=GivenNoise())
    for loss in ("actor", "value"):
        found, expected = (float(losses.minimised()[loss]) for losses in (copied, plain))
        assert found == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("asked", [True, False])
def test_weights_carry_a_gradient_to_the_actor_only_when_asked(asked):
    agent = tiny_agent(weight_gradient=asked)
    data = tensors(tiny_batch(tiny_config()))
    post = world_model.loss(agent.models, agent.config, data, seeded()).post
    with watching([agent.models.actor]) as tape:
        weight = behaviour.losses(agent.models, agent.config, post, seeded()).weight
        squared = tf.reduce_sum(tf.square(weight))  # Their sum is always the same.
    gradients = tape.gradient(squared, [v.value for v in agent.models.actor.trainable_variables])
    assert all((gradient is not None and np.any(gradient != 0)) == asked for gradient in gradients)


def test_weight_gradient_changes_the_actors_alone():
    through, _ = computed(weight_gradient=True)
    stopped, _ = computed()
    assert not np.allclose(through["actor"][0], stopped["actor"][0])
    for a, b in zip(through["value"], stopped["value"], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-8)


def test_discount_head_leaves_out_last_states():
    config = tiny_config(pcont="True")
    _, out = computed(pcont="True")
    starts = config.batch_size * (config.batch_length - 1)
    assert out.imagined.feat.shape[1] == (1 + config.augmentations) * starts


def test_what_is_discounted_is_what_the_head_says():
    """Without it 0.99 everywhere; a step counts as much as the product of those before it says."""
    agent = tiny_agent(pcont="True")
    _, out = outputs(agent)
    found = out.imagined
    head = agent.models.pcont(found.feat).mean().numpy()
    assert np.ptp(head) > 0.01 and np.all((0 < head) & (head < 1))
    before = np.concatenate([np.ones_like(head[:1]), head[:-1]])[:-1]
    np.testing.assert_allclose(found.discount, np.cumprod(before, 0), rtol=1e-5)
    # Backwards: V = r + p ((1 - lambda) v' + lambda V').
    later, lam = found.value[-1].numpy(), agent.config.disclam
    for step in reversed(range(len(found.returns))):
        mixed = (1 - lam) * found.value[step + 1] + lam * later
        later = found.reward[step] + head[step] * mixed.numpy()
        np.testing.assert_allclose(found.returns[step], later, rtol=1e-4, atol=1e-6)
    plain = computed()[1].imagined.discount
    expected = 0.99 ** np.arange(len(plain), dtype=np.float32)[:, None]
    np.testing.assert_allclose(plain, np.broadcast_to(expected, plain.shape), rtol=1e-5)


@pytest.mark.parametrize("pcont", [False, True])
def test_share_of_weight_on_augmented_trajectories(pcont):
    agent = tiny_agent(pcont=str(pcont), augmentations=3)
    for variable in agent.models.evaluator.trainable_variables:
        variable.assign(tf.zeros_like(variable))
    _, out = outputs(agent)
    share = update_metrics.evaluator(out.evaluator, out.imagined)["evaluator/weight_augmented"]
    assert float(share) == pytest.approx(3 / 4)


def test_discrete_actions_are_one_hot_all_through():
    agent = tiny_agent(discrete=True)
    config = tiny_config()
    _, out = agent.gradients(tensors(tiny_batch(config, discrete=True)), seeded())
    action = out.imagined.action.numpy()
    np.testing.assert_allclose(np.sort(action, -1)[..., -1], 1.0, atol=1e-6)
    np.testing.assert_allclose(action.sum(-1), 1.0, atol=1e-6)


# Tracing and compiling take seconds that grow with L and H.
SHORT = {"batch_length": 3, "horizon": 2, "overshoot": 1, "augmentations": 1}


def test_train_traces_once_and_repeats_itself():
    short = {**SHORT, "batch_length": 2}
    agent, again, other = tiny_agent(**short), tiny_agent(**short), tiny_agent(**short, seed=1)
    begun = {name: v.numpy() for name, v in again.named_state().items()}

    def train():
        """Two updates of a new agent, by one graph."""
        checkpoints.restore(agent.named_state(), begun)
        rows = [
            agent.train(tiny_batch(tiny_config(**short), update), update) for update in range(2)
        ]
        assert np.isfinite(rows).all() and len(agent.metric_names) == len(rows[0])
        return rows, {name: v.numpy() for name, v in agent.named_state().items()}

    for name, value in agent.named_state().items():
        assert np.array_equal(value.numpy(), begun[name]), name
    (rows, first), (same_rows, second) = train(), train()
    assert np.array_equal(rows, same_rows) and not np.array_equal(rows[0], rows[1])
    for name, value in first.items():
        assert np.array_equal(value, second[name]), name
    assert agent._train.experimental_get_tracing_count() == 1
    kernels = [weights(one)["encoder/h1/kernel"] for one in (again, other)]
    assert not np.array_equal(*kernels)


def test_the_seed_and_the_number_of_an_update_name_its_noise(eagerly):
    agent, seen = tiny_agent(**SHORT, seed=3), []
    agent.update = lambda data, noise: (
        seen.append(noise.normal("posterior", [5]).numpy()) or {"group/name": tf.constant(0.0)}
    )
    batch = tiny_batch(tiny_config(**SHORT))
    for update in (7, 7, 8):
        agent.train(batch, update)
    expected = [SeededNoise(key(3, "update", n)).normal("posterior", [5]) for n in (7, 7, 8)]
    np.testing.assert_array_equal(seen, expected)
    assert not np.array_equal(seen[0], seen[2])


@pytest.mark.parametrize(("precision", "tolerance"), [("bf16", 0.05), ("16", 0.02)])
def test_low_precision_trains_on_float32_weights(precision, tolerance):
    agent = tiny_agent(precision)
    _, expected = computed()
    scalars = agent.update(tensors(tiny_batch(tiny_config())), seeded())
    references = {
        "model/model_loss": expected.world.loss,
        "model/image_loss": expected.world.terms["image"],
        "behaviour/value_loss": expected.imagined.value_loss,
    }
    constants = dict.fromkeys(("model/model_loss", "model/image_loss"), IMAGE_CONSTANT)
    for name, reference in references.items():
        found, expected = (float(x) - constants.get(name, 0.0) for x in (scalars[name], reference))
        assert found == pytest.approx(expected, rel=tolerance), name
    for name, value in agent.named_state().items():
        assert "float16" not in str(value.dtype), name
    if precision == "16":  # A first step that overflows is skipped and halves the scale.
        halved = float(scalars["model/skipped"])
        assert float(scalars["model/model_loss_scale"]) == 2.0 ** (15 - halved)


@pytest.mark.parametrize("precision", ["32", "bf16", "16"])
def test_a_bad_number_in_the_batch_skips_the_update(precision):
    agent = tiny_agent(precision, **SHORT)
    batch = tiny_batch(tiny_config(**SHORT))
    good = agent.update(tensors(batch), seeded())
    while precision == "16" and float(good["model/skipped"]):  # Until the loss scale fits.
        good = agent.update(tensors(batch), seeded())
    assert float(good["model/skipped"]) == 0.0
    before = {name: v.numpy() for name, v in agent.named_state().items()}
    batch["reward"][0, 1] = np.nan
    bad = agent.update(tensors(batch), seeded())
    assert float(bad["model/skipped"]) == 1.0
    for name, value in agent.named_state().items():
        # That a loss is not finite is not the fault of its scale.
        if not name.endswith("step_counter"):
            np.testing.assert_array_equal(value.numpy(), before[name], err_msg=name)


class TestPolicy:
    IMAGES = np.random.default_rng(3).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)

    def act(self, training=True, step=(0, 0), amount=0.3, images=IMAGES, **options):
        agent = self.agent(**options)
        return agent.policy({"image": images}, agent.initial(len(images)), step, training, amount)

    @staticmethod
    @functools.cache
    def agent(**options):
        """Acting changes nothing in it."""
        return tiny_agent(**options)

    def test_actions_are_in_range_and_repeat(self):
        action, state = self.act()
        again, _ = self.act()
        assert action.shape == (3, 2) and action.dtype == np.float32
        assert np.abs(action).max() <= 1
        assert np.array_equal(action, again)
        assert np.array_equal(action, state["action"])  # The model hears of the explored action.

    @pytest.mark.parametrize("training", [True, False], ids=["train", "test"])
    def test_noise_depends_on_episode_and_step(self, training):
        options = {"training": training, "amount": 0.0, "eval_action": "sample"}
        base, _ = self.act(step=(2, 5), **options)
        assert np.array_equal(base, self.act(step=(2, 5), **options)[0])
        for other in ((2, 6), (3, 5), (5, 2)):
            assert not np.allclose(base, self.act(step=other, **options)[0])

    def test_training_and_testing_have_noise_of_their_own(self):
        """Both sample the same policy here, so only the noise can tell them apart."""
        train, test = (
            self.act(training, (2, 5), 0.0, eval_action="sample")[0] for training in (True, False)
        )
        assert not np.allclose(train, test)
        # With the same noise they are the same.
        agent = self.agent(eval_action="sample")
        seen = {"image": tf.constant(self.IMAGES)}
        act = agent.policy_step
        same = [
            act(seen, agent.initial(3), seeded(), training, 0.0, agent.models)[0].numpy()
            for training in (True, False)
        ]
        np.testing.assert_allclose(*same, rtol=1e-5)

    @pytest.mark.parametrize("how", ["densest", "mean", "sample"])
    def test_evaluation_policies(self, how):
        action, _ = self.act(training=False, amount=0.0, eval_action=how)
        mean, _ = self.act(training=False, amount=0.0, eval_action="mean")
        assert np.abs(action).max() <= 1
        assert np.allclose(action, mean) == (how == "mean")

    def test_the_densest_action_is_one_of_a_hundred_samples(self):
        agent, noise = self.agent(), RecordedNoise()
        seen = {"image": tf.constant(self.IMAGES)}
        models = agent.models
        action, state = agent.policy_step(seen, agent.initial(3), noise, False, 0.0, models)
        assert noise.given["action"].shape == (100, 3, 2) and noise.kinds["action"] == "normal"
        policy = models.actor(models.rssm.get_feat(state))
        expected = policy.densest_from(noise.given["action"])
        np.testing.assert_allclose(action, expected, rtol=1e-5, atol=1e-6)

    def test_the_policy_acts_from_a_sampled_state(self):
        agent, ones = self.agent(), GivenNoise({"posterior": tf.ones([3, 3])})
        seen = {"image": tf.constant(self.IMAGES)}
        _, state = agent.policy_step(seen, agent.initial(3), ones, True, 0.0, agent.models)
        moved = state["stoch"] - state["mean"]
        np.testing.assert_allclose(moved, state["std"], rtol=1e-5)

    def explored(self, amount, discrete=False, **options):
        """Actions [400, A] without and with exploration, which nothing else tells apart."""
        agent = self.agent(discrete=discrete, **options)
        seen, state = {"image": np.repeat(self.IMAGES[:1], 400, 0)}, agent.initial(400)
        return [agent.policy(seen, state, (0, 0), False, a)[0] for a in (0.0, amount)]

    @pytest.mark.parametrize("amount", [0.05, 0.1])
    def test_gaussian_exploration_has_the_standard_deviation_asked_for(self, amount):
        quiet, loud = self.explored(amount, eval_action="mean")
        free = np.abs(quiet) < 1 - 4 * amount  # Of being clipped.
        added = (np.float64(loud) - quiet)[free]
        # The standard deviation of 400 draws has an error of 3.5 %.
        assert added.size > 400 and added.std() == pytest.approx(amount, rel=0.1)
        assert abs(added.mean()) < 0.15 * amount

    def test_explored_actions_are_clipped(self):
        _, loud = self.explored(5.0, eval_action="mean")
        assert np.abs(loud).max() == 1 and np.mean(np.abs(loud) == 1) > 0.5

    def test_rows_do_not_mix(self):
        """One environment's action does not depend on the images of the others."""
        changed = self.IMAGES.copy()
        changed[1:] = 0
        a, _ = self.act(training=False, amount=0.0, images=self.IMAGES)
        b, _ = self.act(training=False, amount=0.0, images=changed)
        np.testing.assert_allclose(a[0], b[0], atol=1e-5)

    def test_epsilon_greedy_turns_some_actions(self):
        greedy, some = self.explored(0.4, discrete=True)
        assert np.array_equal(greedy.sum(-1), np.ones(400))
        changed = np.mean(np.any(greedy != some, -1))
        assert changed == pytest.approx(0.4 / 2, abs=0.08)  # Half of the turns keep the action.

    @pytest.mark.parametrize("discrete", [False, True])
    def test_completely_random_is_for_training(self, discrete):
        quiet, random = self.explored(0.3, discrete, expl="completely_random")
        plain, _ = self.explored(0.3, discrete)
        assert np.array_equal(quiet, plain)
        assert not np.array_equal(quiet, random)

    def test_completely_random_actions_are_uniform(self):
        """Whatever the amount, and however the actor has it."""
        for amount in (0.01, 0.3):
            _, box = self.explored(amount, expl="completely_random")
            assert stats.kstest(box.ravel(), stats.uniform(-1, 2).cdf).pvalue > 0.01
        _, chosen = self.explored(0.3, discrete=True, expl="completely_random")
        assert np.array_equal(np.unique(chosen), [0, 1])
        counts = chosen.sum(0)
        assert counts.sum() == 400 and stats.chisquare(counts).pvalue > 0.01

    def test_traces_once(self):
        agent = tiny_agent()
        for rows in (3, 1):  # However many environments there are.
            state, seen = agent.initial(rows), {"image": self.IMAGES[:rows]}
            for step in range(2):
                _, state = agent.policy(seen, state, (0, step), True, 0.1 * step)
        assert agent._act(True, False).experimental_get_tracing_count() == 1


def test_preprocess_spans_minus_half_to_half():
    pixels = tf.constant([0, 255] * 6, tf.uint8)
    found = preprocess_image(tf.reshape(pixels, [1, 2, 2, 3]))
    np.testing.assert_allclose(found, np.reshape([-0.5, 0.5] * 6, [1, 2, 2, 3]))


def test_starts_are_augmented_as_the_options_say():
    agent = tiny_agent(sigma1=0.5, sigma2=0.25, sigma_units="relative", evaluator=False)
    noise = RecordedNoise()
    _, out = agent.gradients(tensors(tiny_batch(tiny_config())), noise)
    count, start = out.imagined.originals, out.imagined.start
    post = {key: value.numpy().reshape(count, -1) for key, value in out.world.post.items()}
    unit, given = np.sqrt(post["deter"].var(0).mean()), noise.given
    expected = {"deter": post["deter"] + 0.5 * unit * given["augment_deter"][1].numpy()}
    expected["stoch"] = post["mean"] + 0.25 * given["augment_stoch"][1].numpy()
    for name, value in expected.items():  # Of the second copy.
        np.testing.assert_allclose(start[name][2 * count : 3 * count], value, rtol=1e-5, atol=1e-6)


def test_each_loss_has_its_own_learning_rate():
    rates = {"model": 0.1, "actor": 0.2, "value": 0.3, "evaluator": 0.4}
    agent = tiny_agent(**{f"{name}_lr": rate for name, rate in rates.items()})
    before = weights(agent)
    agent.update(tensors(tiny_batch(tiny_config())), seeded())
    for loss, rate in rates.items():
        name = f"{'reward' if loss == 'model' else loss}/h0/kernel"
        # Adam's first step is the rate.
        moved = np.abs(weights(agent)[name] - before[name]).max()
        assert moved == pytest.approx(rate, rel=0.01), loss
