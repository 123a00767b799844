"""Estimates of the theory's errors from a run, and the tool that draws the bounds."""

import json
import math
import shutil
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from places import ROOT
from scipy import stats
from small_agents import ACTIONS, seeded, tensors, tiny_agent, tiny_config
from tool_modules import tool

from clion_tf.agents.clion import Agent
from clion_tf.analysis.theory import bounds as theory
from clion_tf.analysis.theory import horizon_errors
from clion_tf.command import UsageError
from clion_tf.config import to_flagfile
from clion_tf.learning import evaluator, world_model
from clion_tf.learning.noise import GivenNoise
from clion_tf.logdir.checkpoints import Checkpoints, Counters
from clion_tf.replay.episode_files import save_episode

KNOWN = 5  # Episodes that the checkpoint knows; the folder has one more.


def episode(seed, frames=30, discrete=False, reward=1.0):
    random = np.random.default_rng(seed)
    action = random.uniform(-1, 1, (frames, ACTIONS)).astype(np.float32)
    if discrete:
        action = np.eye(ACTIONS, dtype=np.float32)[action.argmax(-1)]
    return {
        "image": random.integers(0, 256, (frames, 64, 64, 3), np.uint8),
        "action": action,
        "reward": np.linspace(-reward, 0, frames, dtype=np.float32),
        "discount": np.ones(frames, np.float32),
    }


def save_run(folder, episodes=KNOWN + 1, updates=7, **options):
    """A run of an untrained agent whose checkpoint says that it has made updates."""
    config = tiny_config(logdir=str(folder), precision="32", **options)
    state = Agent(config, ACTIONS).named_state()
    arrays = {name: variable.numpy() for name, variable in state.items()}
    counters = Counters(steps=1000, episodes=min(KNOWN, episodes), updates=updates)
    Checkpoints(folder / "checkpoints").save(arrays, counters)
    (folder / "run.flags").write_text(to_flagfile(config))
    for number in range(episodes):
        # An episode that the checkpoint does not know would be told by its rewards.
        save_episode(folder / "episodes", number, episode(number, reward=1.0 + 9 * (number == 5)))
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return save_run(tmp_path_factory.mktemp("runs") / "run")


@pytest.fixture
def own(run, tmp_path):
    """A copy to spoil."""
    return shutil.copytree(run, tmp_path / "own")


@pytest.fixture(scope="module")
def agent():
    return tiny_agent(overshoot=1)


def contents(folder):
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def look(agent, data, noise=None, **others):
    return horizon_errors.transitions(agent, data, noise or seeded(), **others)


# What the networks say.


def test_transitions_are_those_of_the_losses(agent):
    """Without noise every sample is a mean, and fakes are the priors after one step."""
    data = episode(0, frames=6)
    batch = tensors({key: value[None] for key, value in data.items()})
    out = world_model.loss(agent.models, agent.config, batch, GivenNoise())
    judged = evaluator.loss(agent.models, agent.config, out.post, batch["action"], GivenNoise())
    mean, std, prior_mean, prior_std = (
        state[key][0, 1:].numpy() for state in (out.post, out.prior) for key in ("mean", "std")
    )
    found = look(agent, data, GivenNoise(), samples=1)
    np.testing.assert_allclose(found.real_logit, judged.real_logit, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found.fake_logit, judged.fake_logit, rtol=1e-4, atol=1e-6)
    ratio = stats.norm.logpdf(mean, prior_mean, prior_std) - stats.norm.logpdf(mean, mean, std)
    np.testing.assert_allclose(found.log_ratio[0], ratio.sum(-1), rtol=1e-4, atol=1e-5)
    each = np.log(prior_std / std) + (std**2 + (mean - prior_mean) ** 2) / (2 * prior_std**2) - 0.5
    np.testing.assert_allclose(found.kl, each.sum(-1), rtol=1e-4)
    np.testing.assert_array_equal(found.fake_rank, 0)  # Nothing is nearer to a mean than itself.
    assert np.all(found.real_rank > 0)


def test_samples_of_the_prior_have_uniform_ranks(agent):
    found = look(agent, episode(0))
    assert found.fake_rank.shape == (horizon_errors.SAMPLES, 29)
    assert stats.kstest(found.fake_rank.ravel(), "uniform").pvalue > 0.01
    assert found.rank.shape == found.kl.shape == (29,)


@pytest.mark.parametrize("discrete", [False, True])
def test_ranks_tell_other_actions_from_the_policy_own(discrete):
    agent = tiny_agent(discrete=discrete, action_init_std=0.3)
    for variable in agent.models.actor.trainable_variables:
        variable.assign(3.0 * variable)  # A policy that has preferences.
    random = np.random.default_rng(0)
    feat = tf.constant(random.normal(size=(1500, agent.models.rssm.feat_size)), tf.float32)
    policy = agent.models.actor(feat)
    noise = random.gumbel if discrete else random.normal
    own = policy.sample_from(tf.constant(noise(size=(1500, ACTIONS)), tf.float32))
    rank = horizon_errors.action_ranks(agent, feat, own, seeded())
    assert stats.kstest(rank, "uniform").pvalue > 0.01
    assert theory.threshold_gap(rank[:, None]) < 0.06
    other = tf.roll(own, 1, 0)  # The same actions in other states.
    rank = horizon_errors.action_ranks(agent, feat, other, seeded())
    assert theory.threshold_gap(rank[:, None]) > 0.1


# What follows from it.


def normals(ratio_is_known, count=400, samples=500, distance=1.0):
    """Posteriors N(0, 1), priors N(distance, 1), both in every one of `count` transitions."""
    random = np.random.default_rng(0)
    real = random.normal(size=(samples, count))
    fake = distance + random.normal(size=(samples, count))

    def log_ratio(x):  # Of prior and posterior.
        return distance * x - distance**2 / 2

    return horizon_errors.Transitions(
        log_ratio(real),
        log_ratio(fake),
        stats.norm.cdf(real - distance),
        stats.norm.cdf(fake - distance),
        np.full(count, distance**2 / 2),
        -log_ratio(real) if ratio_is_known else np.full_like(real, 0.3),
        -log_ratio(fake) if ratio_is_known else np.full_like(fake, 0.3),
        random.uniform(size=count),
    )


def test_errors_of_normals():
    found = horizon_errors.errors(normals(ratio_is_known=False), ratio=False)
    exact = 2 * stats.norm.cdf(0.5) - 1
    assert found.model == pytest.approx(exact, abs=0.005)
    # One threshold tells them apart as well as anything can, for their ratio is monotone.
    assert found.model_floor == pytest.approx(exact, abs=0.01)
    assert found.model_pinsker == pytest.approx(0.5)
    assert found.policy < 0.1
    # Equal weights change nothing; eq. 12's integral has no 1/2.
    assert found.weighted == pytest.approx(found.model, abs=1e-12)
    assert found.weighted_floor == pytest.approx(found.model_floor, abs=0.01)
    assert found.weighted_integral == pytest.approx(2 * found.model, abs=1e-12)
    assert found.evaluator_gap == 0.0


def test_the_exact_density_ratio_leaves_no_error():
    found = horizon_errors.errors(normals(ratio_is_known=True), ratio=True)
    assert found.model > 0.37
    assert found.weighted < 0.05  # What is left is Z, from a finite number of samples.
    assert found.weighted_floor < 0.02
    # Of such an evaluator, D = p / (p + q): E_p D - E_q D = 1/2 integral (p - q)^2 / (p + q).
    assert 0.1 < found.evaluator_gap < found.model
    # Its probability, the default weight, is no density ratio.
    assert horizon_errors.errors(normals(ratio_is_known=True), ratio=False).weighted > 0.1


@pytest.mark.parametrize("power, exact", [(1.0, 0.0), (0.5, 2 * stats.norm.cdf(1) - 1)])
def test_bounds_on_the_reweighted_model_where_few_samples_reach_the_other(power, exact):
    # At a distance of 4, KL 8 nats; (p / q)^1/2 q is N(2, 1) but for its mass.
    found = normals(ratio_is_known=True, samples=32, distance=4.0)
    real, fake = power * found.real_logit, power * found.fake_logit
    found = horizon_errors.errors(found._replace(real_logit=real, fake_logit=fake), ratio=True)
    assert found.weighted == pytest.approx(exact, abs=0.03)
    assert max(0.0, exact - 0.1) <= found.weighted_floor <= found.weighted + 0.01


def test_floors_are_below_what_they_bound(agent):
    found = horizon_errors.errors(look(agent, episode(0)), ratio=False)
    assert 0 <= found.evaluator_gap <= found.model <= found.model_pinsker <= 1
    assert 0 <= found.model_floor <= found.model
    assert 0 <= found.weighted_floor <= found.weighted + 0.02
    assert 0 <= found.weighted_integral <= 2


# A run.


def test_episodes_are_spread_and_end_with_the_newest_known(run):
    folder = run / "episodes"
    (folder / "20200101T000000-abc-30.npz").write_bytes(b"of others")
    assert list(horizon_errors.episode_files(folder, KNOWN, 10)) == [0, 1, 2, 3, 4]
    assert list(horizon_errors.episode_files(folder, KNOWN, 3)) == [0, 2, 4]
    assert list(horizon_errors.episode_files(folder, KNOWN, 1)) == [0, 4]
    assert list(horizon_errors.episode_files(folder, 3, 10)) == [0, 1, 2]
    with pytest.raises(UsageError, match="two episodes"):
        horizon_errors.episode_files(folder, 1, 10)
    with pytest.raises(UsageError, match="two episodes"):
        horizon_errors.episode_files(folder / "none", 5, 10)


def test_estimates_of_a_run(run, agent):
    files = horizon_errors.episode_files(run / "episodes", KNOWN, 3)
    found = horizon_errors.estimate(agent, 0, files)
    assert list(found.episodes) == [0, 2, 4]
    assert found.newest == found.episodes[4]
    assert found.reward_max == pytest.approx(1.0)
    old = [found.episodes[number].model for number in (0, 2)]
    assert found.replay.model == pytest.approx(np.mean(old))
    assert found == horizon_errors.estimate(agent, 0, files)  # Equal seeds, equal estimates.
    assert found != horizon_errors.estimate(agent, 1, files)


def test_damaged_episodes_are_left_out_and_stay(own, agent, caplog):
    files = horizon_errors.episode_files(own / "episodes", KNOWN, 3)
    files[2].write_bytes(b"nothing")
    before = contents(own)
    found = horizon_errors.estimate(agent, 0, files)
    assert list(found.episodes) == [0, 4] and files[2].name in caplog.text
    files[4].write_bytes(b"nothing")
    with pytest.raises(UsageError, match="newest episode"):
        horizon_errors.estimate(agent, 0, files)
    before["episodes/" + files[4].name] = b"nothing"
    assert contents(own) == before


# The tool.


def call(folder, out, *words):
    return tool("horizon").main([f"--logdir={folder}", f"--out={out}", *words])


def test_tool(run, tmp_path, capsys):
    before = contents(run)
    out, table = tmp_path / "h.png", tmp_path / "h.json"
    assert call(run, out, f"--json={table}", "--episodes=3") == 0
    text = capsys.readouterr().out
    assert "3 of its 5 episodes, 4 the newest" in text and "r_max = 1 " in text
    with Image.open(out) as image:
        assert image.width > 1000
    found = json.loads(table.read_text())
    assert list(found["episodes"]) == ["0", "2", "4"] and found["newest"] == found["episodes"]["4"]
    assert found["largest_error"] == pytest.approx(2 / (1 - 0.99))
    assert [(b["equation"], b["side"]) for b in found["bounds"]] == [
        (10, "least"), (10, "most"), (13, "least"), (13, "most")
    ]  # fmt: skip
    for bound in found["bounds"]:
        errors = (bound["policy_error"], bound["model_error"])
        best = theory.best_rollout_length(*errors, 0.99)
        assert bound["best"] == (best if np.isfinite(best) else None)
        name = f"eq. {bound['equation']}, {bound['side']}"
        line = next(line for line in text.splitlines() if line.startswith(name))
        assert line.split()[5] == ("infinity" if bound["best"] is None else f"{best:.0f}")
    least, most = found["bounds"][:2]
    assert least["model_error"] == found["newest"]["model"] and most["policy_error"] == 1
    assert least["best"] <= (math.inf if most["best"] is None else most["best"])
    assert contents(run) == before


def test_tool_without_an_evaluator_or_rewards(tmp_path, capsys):
    folder = save_run(tmp_path / "run", episodes=2, evaluator=False)
    for number in range(2):
        save_episode(folder / "episodes", number, episode(number, reward=0.0))
    out, table = tmp_path / "h.svg", tmp_path / "h.json"
    assert call(folder, out, f"--json={table}") == 0
    text, warned = capsys.readouterr()
    assert "eps_w: none, the run has no evaluator" in text and "eq. 13" not in text
    assert not warned
    assert "r_max = 1 " in text
    assert out.read_text().rstrip().endswith("</svg>")
    found = json.loads(table.read_text())
    assert found["newest"]["weighted"] is None and found["newest"]["evaluator_gap"] is None
    assert [bound["equation"] for bound in found["bounds"]] == [10, 10]
    (due,) = (folder / "checkpoints").iterdir()
    due.rename(due.with_stem(f"{due.stem}-stopped"))  # Its newest episode may be trained on.
    assert call(folder, out) == 0
    (warned,) = capsys.readouterr().err.splitlines()
    assert warned.startswith(f"horizon: warning: {due.stem}-stopped.npz is of a stop")


def test_tool_refuses(run, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    empty = tmp_path / "empty"
    untrained = save_run(tmp_path / "untrained", updates=0)
    short = save_run(tmp_path / "short", episodes=1)
    far = shutil.copytree(run, tmp_path / "far")
    flags = far / "run.flags"
    flags.write_text(flags.read_text().replace("--discount=0.99", "--discount=1"))
    out = tmp_path / "h.png"
    for words, reason in (
        ((empty, out), "no run"),
        ((tmp_path / "none", out), "no run"),
        ((untrained, out), "nothing is learned yet"),
        ((short, out), "two episodes"),
        ((far, out), "--discount=1: the bounds need one in (0, 1)"),
        ((run, tmp_path / "h.gif"), "h.gif"),
        ((run, tmp_path / "none" / "h.png"), "none"),
        ((run, out, f"--json={tmp_path / 'h.txt'}"), "h.txt"),
        ((run, out, "--checkpoint=5"), "no checkpoint"),
    ):
        assert call(*words) == 2
        error = capsys.readouterr().err
        assert reason in error and error.startswith("horizon: error: ")
        assert len(error.splitlines()) == 1
    for words in (["--episodes=0"], ["--reward_max=0"], ["--reward_max=nan"]):
        with pytest.raises(SystemExit) as exit_:
            call(run, out, *words)
        assert exit_.value.code == 2
    assert not out.exists()


def test_as_a_command_it_refuses_before_tensorflow_is_there(tmp_path):
    code = (
        "import runpy, sys; sys.argv[:] = ['tools/horizon.py', '--logdir=none']\n"
        "try: runpy.run_path('tools/horizon.py', run_name='__main__')\n"
        "except SystemExit as error: sys.exit(error.code + 10 * ('tensorflow' in sys.modules))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=60,
        env={"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert result.returncode == 2, result.stderr
    assert result.stderr == "horizon: error: none: no run of clion_tf there\n"
