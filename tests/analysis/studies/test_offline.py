"""tools/offline.py: agents trained on a run's episodes, judged by those held out."""

import json

import numpy as np
import pytest
import tensorflow as tf
from small_agents import ACTIONS, tensors, tiny_agent, tiny_batch, tiny_config
from tensorflow_probability import distributions as tfd
from tool_modules import tool
from trained import save_tiny_run

from clion_tf.analysis import evaluation, trained_agent
from clion_tf.analysis.studies import judging, study_settings, study_training
from clion_tf.analysis.studies.study_settings import PARTS, variant
from clion_tf.analysis.studies.study_training import PartialAgent
from clion_tf.envs import EnvSpec
from clion_tf.learning import augmentation, evaluator, reconstruction, world_model
from clion_tf.learning import noise as noises
from clion_tf.logdir.checkpoints import CheckpointError, load, restore
from clion_tf.replay.replay_buffer import Replay, ReplayError

FRAMES = 12
pytestmark = pytest.mark.usefixtures("eagerly")


def fill(folder, count=4, seed=0):
    """Episodes whose rewards say which one they are."""
    random, replay = np.random.default_rng(seed), Replay(folder, 6)
    for number in range(count):
        replay.add(
            {
                "image": random.integers(0, 256, (FRAMES, 64, 64, 3), dtype=np.uint8),
                "action": random.uniform(-1, 1, (FRAMES, ACTIONS)).astype("f4"),
                "reward": np.full(FRAMES, number, "f4"),
                "discount": np.ones(FRAMES, "f4"),
            }
        )


@pytest.fixture(scope="module")
def logdir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("offline") / "run"
    save_tiny_run(folder, horizon=2, augmentations=1, time_limit=16)
    fill(folder / "episodes")
    return folder


def run(logdir, *words):
    return tool("offline").main([f"--logdir={logdir}", *words])


def saved_run(folder, **options):
    save_tiny_run(folder, **options)
    fill(folder / "episodes")
    return trained_agent.read(folder)


def labels(recorded, config):
    """Rewards of what is trained on, which say the episodes."""
    return set(recorded(config).sample(64, 0)["reward"].ravel())


def test_the_newest_are_held_out(logdir):
    saved = trained_agent.read(logdir)
    recorded, unseen = study_training.episodes(saved, 2, False)
    assert set(unseen["reward"].ravel()) == {2.0, 3.0}
    assert labels(recorded, saved.config) == {0.0, 1.0}
    with pytest.raises(ReplayError, match="has 4 episodes, so 4 cannot be held out"):
        study_training.episodes(saved, 4, False)


def test_what_is_held_out_of_a_bounded_replay(tmp_path):
    saved = saved_run(tmp_path / "run")
    for number in (0, 1):  # They gave way.
        (tmp_path / "run" / "episodes" / f"{number:06d}-{FRAMES}.npz").unlink()
    recorded, unseen = study_training.episodes(saved, 1, False)
    assert set(unseen["reward"].ravel()) == {3.0}
    assert labels(recorded, saved.config) == {2.0}
    with pytest.raises(ReplayError, match="has 2 episodes, so 2 cannot be held out"):
        study_training.episodes(saved, 2, False)


def test_a_run_that_goes_on_changes_nothing(tmp_path):
    saved = saved_run(tmp_path / "run")
    (tmp_path / "run" / "episodes" / "000001-5.npz").write_bytes(b"half")
    names = sorted(path.name for path in (tmp_path / "run" / "episodes").iterdir())
    recorded, _ = study_training.episodes(saved, 1, False)
    assert sorted(path.name for path in (tmp_path / "run" / "episodes").iterdir()) == names
    before = recorded(saved.config).sample(64, 0)["image"]
    fill(tmp_path / "run" / "episodes", 1, seed=5)
    assert np.array_equal(recorded(saved.config).sample(64, 0)["image"], before)


def test_a_run_that_removes_episodes_meanwhile(tmp_path):
    saved = saved_run(tmp_path / "run")
    recorded, _ = study_training.episodes(saved, 1, False)
    assert labels(recorded, saved.config) == {0.0, 1.0, 2.0}
    (tmp_path / "run" / "episodes" / f"000000-{FRAMES}.npz").unlink()
    with pytest.raises(ReplayError, match="has removed episodes since this began"):
        recorded(saved.config)


def test_batches_are_the_settings(logdir):
    saved = trained_agent.read(logdir)
    recorded, _ = study_training.episodes(saved, 1, False)
    settings = [
        variant(saved.config, words) for words in ({}, {"seed": "1"}, {"batch_length": "4"})
    ]
    drawn = [recorded(setting).sample(8, 0)["image"] for setting in settings]
    assert not np.array_equal(drawn[0], drawn[1])
    assert [batch.shape[1] for batch in drawn] == [6, 6, 4]


@pytest.mark.parametrize(
    "frames, used, length",
    [((5, 12, 7), {12, 7}, 7), ((4, 3, 5), {3, 4, 5}, 3), ((9, 7, 8), {7, 8, 9}, 7)],
)
def test_short_episodes_to_judge_by(tmp_path, frames, used, length):
    replay = Replay(tmp_path, 7)
    random = np.random.default_rng(0)
    for count in frames:
        replay.add(
            {
                "image": random.integers(0, 256, (count, 64, 64, 3), dtype=np.uint8),
                "action": np.zeros((count, ACTIONS), "f4"),
                "reward": np.full(count, count, "f4"),
                "discount": np.ones(count, "f4"),
            }
        )
    unseen = study_training._sequences(replay, 7, 3)
    assert set(unseen["reward"].ravel()) == used
    assert all(value.shape[1] == length for value in unseen.values())


def test_each_setting_is_trained_with_each_seed(logdir, tmp_path, capsys):
    out = tmp_path / "out.json"
    words = ["--updates=1", "--heldout=1", f"--out={out}"]
    assert run(logdir, *words, "--seeds=3,1") == 0
    shown = capsys.readouterr().out.splitlines()
    assert len(shown) == 2  # Of means over the seeds.
    settings = json.loads(out.read_text())["settings"]
    losses_ = []
    for name, line in zip(settings, shown[1:], strict=True):
        trainings = settings[name]["trainings"]
        assert list(trainings) == ["3", "1"]
        each = [one["found"]["image_loss"] for one in trainings.values()]
        assert each[0] != each[1]
        at = shown[0].split().index("image_loss")
        words_ = line.removeprefix(name).split()
        assert float(words_[at - 1]) == pytest.approx(np.mean(each), rel=1e-3)
        losses_.append(each)
    # A seed alone is the same training.
    alone = tmp_path / "alone.json"
    assert run(logdir, *words[:-1], f"--out={alone}", "--seeds=1") == 0
    again = json.loads(alone.read_text())["settings"]["as the run"]["trainings"]["1"]
    assert again["found"]["image_loss"] == losses_[0][1]


def test_settings_are_trained_and_kept(logdir, tmp_path, capsys):
    out = tmp_path / "out.json"
    words = ["--updates=2", "--heldout=1", "--vary", "sigma_h=0.3,beta1=0", f"--out={out}"]
    assert run(logdir, *words) == 0
    table = capsys.readouterr().out.splitlines()
    assert table[0].startswith("setting") and table[2].startswith("sigma_h=0.3,beta1=0")
    content = json.loads(out.read_text())
    base, other = content["settings"].values()
    assert other["options"] == {"sigma_h": 0.3, "beta1": 0.0} and base["options"] == {}
    assert base["trainings"].keys() == {"0"}
    base, other = (setting["trainings"]["0"] for setting in (base, other))
    assert "model/embedding_constraint" in base["metrics"]
    assert "model/embedding_constraint" not in other["metrics"]
    assert base["found"] != other["found"] and all(map(np.isfinite, other["found"].values()))
    # What is there is not made again: a third setting only adds to it.
    base["found"]["image_loss"] = 123456.0
    out.write_text(json.dumps(content))
    assert run(logdir, *words[:2], "--vary", "sigma1=0.4", f"--out={out}") == 0
    assert "123456.0" in capsys.readouterr().out
    again = json.loads(out.read_text())["settings"]
    assert list(again) == ["as the run", "sigma_h=0.3,beta1=0", "sigma1=0.4"]


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--vary", "sigma_h"], 2, "--vary sigma_h: say option=value"),
        (["--vary", "sigma_q=1"], 2, "sigma_q"),
        (["--vary", "sigma_h=-1"], 2, "--sigma_h=-1.0: must be 0 or greater"),
        (["--out=x.txt"], 2, "--out=x.txt: must end in .json"),
        (["--heldout=4"], 1, "cannot be held out"),
        (["--from_checkpoint", "--vary", "deter_size=7"], 2, "has another deter_size"),
        (["--learning=evaluator", "--vary", "evaluator=False"], 2, "there is none in the setting"),
        (["--vary", "agent=drq"], 2, "--vary agent=drq: the run's episodes are of its own agent"),
        (["--vary", "seed=3"], 2, "--seeds trains every setting at several seeds"),
    ],
)
def test_refusals(logdir, capsys, words, code, message):
    assert run(logdir, *words) == code
    said = capsys.readouterr().err
    assert message in said and said.count("\n") == 1


@pytest.mark.parametrize(
    "words",
    [
        ["--play=-1"],
        ["--anew=evaluator"],
        ["--anew_moments"],
        ["--seeds=0,x"],
        ["--learning=critic"],
        ["--learning="],
    ],
)
def test_words_that_cannot_be(logdir, words):
    with pytest.raises(SystemExit) as end:
        run(logdir, *words)
    assert end.value.code == 2


def test_trainings_of_another_process_are_kept(logdir, tmp_path, monkeypatch, capsys):
    """Two write to one file: the second trains while the first one is at it."""
    out, nested = tmp_path / "out.json", []

    def study(config, *_, **__):
        if config.seed == 0:
            nested.append(run(logdir, "--seeds=1", f"--out={out}"))
        return {"found": {"loss": float(config.seed)}, "metrics": {}}

    monkeypatch.setattr(study_training, "study", study)
    assert run(logdir, "--seeds=0", f"--out={out}") == 0 and nested == [0]
    trainings = json.loads(out.read_text())["settings"]["as the run"]["trainings"]
    assert {seed: one["found"]["loss"] for seed, one in trainings.items()} == {"0": 0.0, "1": 1.0}


def test_a_task_that_cannot_be_made_is_refused_before_training(logdir, monkeypatch, capsys):
    monkeypatch.setattr(study_training, "study", lambda *_, **__: pytest.fail("it trained"))
    monkeypatch.setattr(evaluation, "spec", lambda config: EnvSpec("env_fakes:broken"))
    assert run(logdir, "--play=1") == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_file_of_something_else_is_kept(logdir, tmp_path, capsys):
    out = tmp_path / "out.json"
    out.write_text('{"task": "other"}')
    assert run(logdir, f"--out={out}") == 2
    assert "holds something else" in capsys.readouterr().err
    assert out.read_text() == '{"task": "other"}'
    assert run(tmp_path / "none") == 2


def checkpoint(logdir):
    return load(next((logdir / "checkpoints").glob("*.npz")))[0]


def moved(agent, start):
    """The parts any of whose weights differ from a checkpoint's."""
    networks = {
        network.name: part
        for part, kinds in PARTS.items()
        for kind in kinds
        for network in agent.models.trained_by()[kind]
    }
    return {
        networks[name.partition("/")[0]]
        for name, variable in agent.models.named_weights().items()
        if not np.array_equal(variable.numpy(), start[f"weights/{name}"])
    }


def partial(learning=tuple(PARTS), **options):
    config = tiny_config(pcont="True", **options)  # As the run of an environment of one's own.
    return PartialAgent(config, ACTIONS, learning=learning)


@pytest.mark.parametrize(
    "learning", [("model",), ("behaviour",), ("evaluator",), ("model", "evaluator")]
)
def test_only_parts_that_learn_move(logdir, learning):
    start, agent = checkpoint(logdir), partial(learning)
    assert agent.take_over(start) == [] and moved(agent, start) == set()
    batch = tiny_batch(tiny_config())
    values = agent.train(batch, 0)
    assert moved(agent, start) == set(learning) and np.isfinite(values).all()
    assert {name.partition("/")[0] for name in agent.metric_names} == {"model", *learning}


def test_all_parts_learn_as_the_agent_does(logdir):
    start, batch = checkpoint(logdir), tiny_batch(tiny_config())
    whole = tiny_agent(pcont="True")
    restore(whole.named_state(), start)
    agent = partial()
    agent.take_over(start)
    names = []
    for one in (whole, agent):
        one.train(batch, 0), one.train(batch, 1)
        names.append(set(one.metric_names))
    assert names[0] == names[1]
    for name, variable in whole.named_state().items():
        np.testing.assert_array_equal(agent.named_state()[name].numpy(), variable.numpy(), name)


def test_what_begins_anew(logdir):
    start = checkpoint(logdir)
    # As if the run had learned for long: nothing is as a new agent has it.
    start = {name: array + 1 for name, array in start.items()}
    agent = partial(evaluator_units=9)
    assert agent.take_over(start) == ["evaluator"] and moved(partial(), start) == set(PARTS)
    agent = partial(model_lr=0.25)
    assert agent.take_over(start, ["behaviour"]) == ["behaviour"]
    assert moved(agent, start) == {"behaviour"}
    # The moments go with the weights, the rate is the setting's own.
    state = agent.named_state()
    assert state["optimizer/model/iteration"].numpy() == 1
    assert state["optimizer/actor/iteration"].numpy() == 0
    assert state["optimizer/model/learning_rate"].numpy() == 0.25
    with pytest.raises(CheckpointError, match="checkpoint does not fit"):
        partial(deter_size=7).take_over(start)


def test_moments_that_begin_anew(logdir):
    """The weights go on; of the optimisers, nothing does."""
    start = {name: array + 1 for name, array in checkpoint(logdir).items()}
    agent, new = partial(), partial().named_state()
    assert agent.take_over(start, moments=True) == []
    for name, variable in agent.named_state().items():
        expected = start[name] if name.startswith("weights/") else new[name].numpy()
        np.testing.assert_array_equal(variable.numpy(), expected, name)


def test_going_on_from_the_checkpoint(logdir, tmp_path, capsys):
    out = tmp_path / "out.json"
    words = ["--from_checkpoint", "--updates=1", "--heldout=1", f"--out={out}"]
    words += ["--learning=evaluator,behaviour", "--anew=evaluator", "--play=2"]
    assert run(logdir, *words, "--vary", "evaluator_units=5") == 0
    head = capsys.readouterr().out.split()
    assert head[:3] == ["setting", "return", "gain"] and "gain_error" not in head  # One training.
    content = json.loads(out.read_text())
    assert content["from_checkpoint"] and content["steps"] == 1000
    assert content["learning"] == ["behaviour", "evaluator"]
    trainings = [setting["trainings"]["0"] for setting in content["settings"].values()]
    for one in trainings:
        assert one["anew"] == ["evaluator"] and len(one["returns"]) == 2
        assert one["found"]["return"] == pytest.approx(np.mean(one["returns"]))
    # The world model is that of the checkpoint in both, so they see the same.
    base, other = (one["found"] for one in trainings)
    assert base["image_loss"] == other["image_loss"] and base["auc"] != other["auc"]
    # Other plans are other numbers, and so are other runs of the same name.
    assert run(logdir, *words[:-1], "--play=3") == 2
    assert "holds something else" in capsys.readouterr().err
    save_tiny_run(tmp_path / logdir.name, beta1=0.0)
    assert run(tmp_path / logdir.name, *words) == 2
    assert "holds something else" in capsys.readouterr().err


def test_gains_are_paired():
    base, mine = ([{"return": x} for x in each] for each in ((10.0, 200, 90), (13.0, 203, 96)))
    found = study_settings.mean(mine, base)
    assert found == pytest.approx({"return": 104.0, "gain": 4.0, "gain_error": 1.0})
    # One difference has no spread.
    assert study_settings.mean(mine[:1], base[:1]) == {"return": 13.0, "gain": 3.0}


def test_settings_gain_over_the_runs_own():
    def trained(*pairs):
        """{seed: training} of (kl, return) of seeds 4 and 7."""
        each = [{"found": {"kl": kl, "return": value}} for kl, value in pairs]
        return {"options": {}, "trainings": dict(zip(("4", "7"), each, strict=True))}

    found = {
        "as the run": trained((3.0, 10.0), (5.0, 20.0)),
        "kl_scale=2": trained((2.0, 13.0), (2.5, 21.0)),
    }
    offline = tool("offline")

    def row(name, *words):
        return offline.row(found, name, offline.parse(["--logdir=x", *words]))

    both = ["--seeds=4,7", "--play=2"]
    assert row("as the run", *both) == {"kl": 4.0, "return": 15.0}
    # Gains of 3 and 1 by seed: mean 2, standard error 1.
    expected = {"kl": 2.25, "return": 17.0, "gain": 2.0, "gain_error": 1.0}
    assert row("kl_scale=2", *both) == pytest.approx(expected)
    one = row("kl_scale=2", "--seeds=7", "--play=2")
    assert one == {"kl": 2.5, "return": 21.0, "gain": 1.0}


def test_another_precision_from_the_checkpoint(logdir):
    start = checkpoint(logdir)
    agent = PartialAgent(tiny_config(pcont="True"), ACTIONS, precision="16")
    assert agent.take_over(start) == [] and moved(agent, start) == set()
    scale = agent.named_state()["optimizer/model_scale/dynamic_scale"]
    assert scale.numpy() == 2.0**15


def test_episodes_to_judge_by_are_new(logdir):
    saved = trained_agent.read(logdir)
    recorded, unseen = study_training.episodes(saved, 2, True)
    assert len(unseen["reward"]) == 2 * study_training.SEQUENCES
    assert labels(recorded, saved.config) == {0.0, 1.0, 2.0, 3.0}
    assert not {0.0, 1.0, 2.0, 3.0} >= set(unseen["reward"].ravel())


def test_variant_takes_values_as_the_command_line_does():
    found = variant(tiny_config(), {"evaluator_objective": "bce", "weighting": "ratio"})
    assert found == tiny_config(evaluator_objective="bce", weighting="ratio")


def without_ranks(monkeypatch):
    """They are not defined for evaluators that say the same everywhere."""
    for name in ("_rank", "_rank_by_age"):
        monkeypatch.setattr(judging, name, lambda *_: 0.0)


@pytest.mark.parametrize(("sign", "auc"), [(1.0, 1.0), (-1.0, 0.0)])
def test_auc_of_an_evaluator_that_knows(monkeypatch, sign, auc):
    # Fakes from posterior states, and from noised ones that look more real than they do.
    real, fake = tf.constant([[1.0, 2.0]]), tf.constant([[-1.0, 0.0], [1.5, 1.5]])
    answers = evaluator.EvaluatorLoss(tf.constant(0.0), sign * real, sign * fake)
    monkeypatch.setattr(evaluator, "loss", lambda *_: answers)
    without_ranks(monkeypatch)
    agent, config = tiny_agent(), tiny_config()
    found = judging.judge(agent, tiny_batch(config))
    assert found["auc"] == auc and found["auc_augmented"] == 0.5
    assert 0 < found["ess"] <= 1
    # Only of steps that there are: the rolls have two, the first transition counts as 1.
    scores = {key: value for key, value in found.items() if "_score_" in key}
    expected = {"real_score_1": real[0, 0], "fake_score_1": fake[0, 0]}
    assert scores == pytest.approx({k: float(tf.sigmoid(sign * x)) for k, x in expected.items()})


@pytest.mark.parametrize("from_start", [True, False])
def test_augmented_share_by_step(monkeypatch, from_start):
    """An evaluator that says 1/2 everywhere leaves each trajectory its share at every step."""
    without_ranks(monkeypatch)
    options = {"augmentations": 1, "from_start": from_start}
    agent, config = tiny_agent(**options), tiny_config(**options)
    monkeypatch.setattr(agent.models, "evaluator", knowing(0.0, tfd.Bernoulli))
    found = judging.judge(agent, tiny_batch(config))
    shares = {key: value for key, value in found.items() if key.startswith("augmented_share")}
    # Without the start there is no first transition, and of a short horizon no fifth.
    names = ["augmented_share", *["augmented_share_1"] * from_start]
    assert config.horizon < 5
    assert shares == pytest.approx(dict.fromkeys(names, 0.5))


@pytest.mark.parametrize(
    "options, sign, likes",
    [
        ({}, 1.0, 0.0),
        ({}, -1.0, 0.0),
        ({}, 1.0, 1000.0),
        ({"augmentations": 0}, 1.0, 0.0),
        ({"overshoot_from": "posterior"}, -1.0, 0.0),
    ],
)
def test_ranks_by_an_evaluator_that_knows(monkeypatch, options, sign, likes):
    """It scores what it is shown by how near the prediction is to the posterior."""
    agent, data = tiny_agent(**options), tiny_batch(tiny_config())
    noise = noises.SeededNoise(tf.constant(noises.key(0, "judge", 0)))
    post = world_model.loss(agent.models, agent.config, tensors(data), noise).post
    feat = agent.models.rssm.get_feat(post)[:, 1:]
    age = tf.constant([[0.0, 1.0, 0.0, 1.0, 0.0]])  # Overshoot is 2; L - 1 is 5.

    def knows(rows):
        if rows.shape[1] != feat.shape[1]:  # The weights are asked for.
            return tfd.Bernoulli(tf.zeros(rows.shape[:-1]))
        drift = tf.norm(
            rows[..., -feat.shape[-1] :] - tf.tile(feat, [len(rows) // 2, 1, 1]), axis=-1
        )
        return tfd.Bernoulli(-sign * drift + likes * age)

    monkeypatch.setattr(agent.models, "evaluator", knows)
    found = judging.judge(agent, data)
    # Which age it likes counts for nothing where ages are told apart.
    assert found["augmented_rank"] == pytest.approx(sign)
    assert -1 <= found["augmented_image_rank"] <= 1
    assert found["rank_correlation"] == pytest.approx(sign) or likes


def test_noise_on_memory_is_in_its_standard_deviations():
    """So a model whose memory is twice as large gets twice the noise; and eq. 2's distance."""
    agent, data = tiny_agent(), tiny_batch(tiny_config())
    found = judging.judge(agent, data)
    noise = noises.SeededNoise(tf.constant(noises.key(0, "judge", 0)))
    tensors_ = tensors(data)
    post = world_model.loss(agent.models, agent.config, tensors_, noise).post
    sigma = float(augmentation.memory_unit(post["deter"], "relative"))
    assert found["memory_std"] == pytest.approx(sigma)
    moved = reconstruction.augmented_memory(post, noise, sigma)
    still, shifted = (reconstruction.decode(agent.models, state) for state in (post, moved))
    for name, target in (
        ("decoding_1", reconstruction.true_images(tensors_)), ("decoding_shift_1", still)
    ):  # fmt: skip
        squared = tf.reduce_sum(tf.square(shifted - target), [-3, -2, -1])
        assert found[name] == pytest.approx(float(tf.reduce_mean(squared)), rel=1e-4)
    assert found["decoding_shift_0"] == pytest.approx(0.0, abs=1e-6)


def test_predictions_that_begin_at_noisy_memory():
    agent, data = tiny_agent(), tensors(tiny_batch(tiny_config()))
    found = judging.judge(agent, data)
    noise = noises.SeededNoise(tf.constant(noises.key(0, "judge", 0)))
    post = world_model.loss(agent.models, agent.config, data, noise).post
    seen = {key: value[:, :5] for key, value in post.items()}  # And a sixth frame is predicted.
    sigma = float(augmentation.memory_unit(post["deter"], "relative"))

    def predicted(sigma):
        start = reconstruction.augmented_memory(seen, noise, sigma)
        return reconstruction.predict_open_loop(agent.models, start, data["action"][:, 5:], noise)

    still, moved = ({key: value[:, 0] for key, value in predicted(s).items()} for s in (0.0, sigma))
    images = [reconstruction.decode(agent.models, state) for state in (still, moved)]
    truth = reconstruction.true_images(data)[:, 5]
    for name, image, target in (
        ("error_0", images[0], truth), ("error_1", images[1], truth), ("shift_1", *images)
    ):  # fmt: skip
        squared = tf.reduce_sum(tf.square(image - target), [-3, -2, -1])
        assert found[f"open_loop_{name}"] == pytest.approx(float(tf.reduce_mean(squared)), rel=1e-4)
    assert found["open_loop_shift_0"] == 0.0 < found["open_loop_shift_0.3"]
    reward = agent.models.reward(agent.models.rssm.get_feat(moved)).mode()
    error = np.sqrt(np.mean(np.square(reward - data["reward"][:, 5])))
    assert found["open_loop_reward_error_1"] == pytest.approx(float(error), rel=1e-4)


def test_rotation_that_is_none_moves_nothing():
    config = tiny_config(constraint_degrees=0.0)
    found = judging.judge(tiny_agent(constraint_degrees=0.0), tiny_batch(config))
    assert found["rotation_shift"] == 0.0
    assert found["rotated_image_loss"] == found["image_loss"]
    turned = judging.judge(tiny_agent(), tiny_batch(tiny_config()))
    assert turned["rotation_shift"] > 0


def test_vectors_are_judged_without_images():
    from clion_tf.agents.clion import Agent

    data = tiny_batch(tiny_config())
    data["vector"] = data.pop("image")[:, :, 0, 0].astype("f4")
    agent = Agent(tiny_config(), ACTIONS, observed={"vector": (3,)})
    found = judging.judge(agent, data)
    assert "auc" in found and "vector_loss" in found and "decoding_0" not in found


def knowing(value, kind=lambda mean: tfd.Normal(mean, 1.0)):
    """A critic, or another network, that says this everywhere."""
    return lambda feat: kind(tf.fill(feat.shape[:-1], value))


def test_value_error_of_a_critic_that_knows(monkeypatch):
    """Rewards of 1 without end are worth 1 / (1 - discount) everywhere; one of 0 is off by that."""
    config, length = tiny_config(discount=0.9), 6
    data = tiny_batch(config)
    data["reward"], data["discount"] = np.ones((2, length), "f4"), np.ones((2, length), "f4")
    for constant, error in ((10.0, 0.0), (0.0, None)):
        agent = tiny_agent(discount=0.9)
        monkeypatch.setattr(agent.models, "value", knowing(constant))
        found = judging.judge(agent, data)
        # A sequence of 6 is judged at frame 3, which two rewards and the last value follow.
        expected = sum(0.9**k for k in range(2)) if error is None else error
        for amount in judging.AMOUNTS:
            assert found[f"value_error_{amount:g}"] == pytest.approx(expected, abs=1e-5)
        assert found["return_std"] == pytest.approx(0.0, abs=1e-5)


@pytest.mark.parametrize("length", [2, 3, 5])
def test_value_error_of_short_sequences(length):
    config = tiny_config(discount=0.9)
    data = {key: value[:, :length] for key, value in tiny_batch(config).items()}
    agent = tiny_agent(discount=0.9)
    agent.models.value = knowing(0.0)
    data["reward"], data["discount"] = np.ones((2, length), "f4"), np.ones((2, length), "f4")
    # The frame in the middle is judged, but not the last: so many rewards follow it.
    expected = sum(0.9**k for k in range(length - 1 - min(length // 2, length - 2)))
    found = judging.judge(agent, data)["value_error_0"]
    assert found == pytest.approx(expected, abs=1e-5)


def test_value_error_ends_with_the_episode():
    config = tiny_config(discount=0.9)
    data = tiny_batch(config)
    data["reward"][:], data["discount"][:] = 1.0, 1.0
    data["discount"][:, 3] = 0.0  # Terminal: what follows frame 3 does not count.
    agent = tiny_agent(discount=0.9)
    agent.models.value = knowing(1.0)
    assert judging.judge(agent, data)["value_error_1"] == pytest.approx(0.0, abs=1e-6)
