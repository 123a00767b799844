"""Fig. 3: reconstructions from augmented memory, their errors, the figure and the tool."""

import json
import os
import shutil
import subprocess
import sys
import types

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from places import ROOT
from small_agents import seeded, tensors, tiny_agent, tiny_batch, tiny_config
from tool_modules import tool
from trained import save_tiny_run

import clion_tf
from clion_tf.analysis.videos import memory_study
from clion_tf.analysis.videos.filming import Film
from clion_tf.learning import augmentation, reconstruction, world_model
from clion_tf.learning.noise import GivenNoise
from clion_tf.logdir.checkpoints import Counters
from clion_tf.pictures import picture_rows
from clion_tf.training import heldout_diagnostics

SIGMA = 0.3


@pytest.fixture(scope="module")
def agent():
    return tiny_agent(beta2=0.5, sigma_h=SIGMA, decoding_target="observation")


@pytest.fixture(scope="module")
def data():
    return tiny_batch(tiny_config())


def test_error_without_noise_is_that_of_the_image_loss(agent, data):
    out = world_model.loss(agent.models, agent.config, tensors(data), seeded())
    constant = 64 * 64 * 3 * np.log(2 * np.pi)
    expected = 2 * float(out.terms["image"]) - constant
    found = reconstruction.errors(agent.models, data, seeded(), [0.0])
    np.testing.assert_allclose(found, [expected], rtol=1e-4)


def test_error_is_what_the_decoding_constraint_bounds(agent, data):
    out = world_model.loss(agent.models, agent.config, tensors(data), seeded())
    found = reconstruction.errors(agent.models, data, seeded(), [0.0, SIGMA])
    assert found.shape == (2,) and found.dtype == np.float64
    np.testing.assert_allclose(found[1], out.decoding.loss, rtol=1e-5)
    assert abs(found[0] - found[1]) > 1e-3
    images = reconstruction.images(agent.models, data, seeded(), SIGMA)
    np.testing.assert_allclose(images, out.decoding.augmented["image"].mode(), atol=1e-5)
    truth = reconstruction.true_images(data).numpy()
    np.testing.assert_allclose(((images - truth) ** 2).sum((2, 3, 4)).mean(), found[1], rtol=1e-5)


@pytest.mark.parametrize("sigma2", [-1.0, 0.7])
def test_resampled_memory_is_that_of_the_augmentation(agent, data, sigma2):
    post = reconstruction.posterior(agent.models, data, seeded())
    noise = {"decoding": tf.random.stateless_normal(post["deter"].shape, [1, 2])}
    noise["augment_stoch"] = tf.random.stateless_normal(post["stoch"].shape, [3, 4])
    found = reconstruction.augmented_memory(post, GivenNoise(noise), SIGMA, True, sigma2)
    start = augmentation.flatten(post)
    count = start["deter"].shape[0]
    deter, stoch = (tf.reshape(value, [1, count, -1]) for value in noise.values())
    expected = augmentation.augment(start, 1, deter, stoch, SIGMA, sigma2)
    for key, value in augmentation.flatten(found).items():
        np.testing.assert_allclose(value, expected[key][count:], rtol=1e-6, err_msg=key)
    kept = reconstruction.augmented_memory(post, GivenNoise(noise), SIGMA)
    np.testing.assert_array_equal(kept["stoch"], post["stoch"])
    np.testing.assert_array_equal(kept["deter"], found["deter"])


def test_open_loop_sees_the_context_and_then_actions_only(agent, data, monkeypatch):
    monkeypatch.setattr(reconstruction, "CONTEXT", 2)
    models, action = agent.models, tf.constant(data["action"])
    post = reconstruction.posterior(models, data, GivenNoise())
    found = reconstruction.open_loop(models, post, action, GivenNoise())
    seen = reconstruction.decode(models, post)
    np.testing.assert_allclose(found[:, :2], seen[:, :2], atol=1e-5)
    state = {key: value[:, 1] for key, value in post.items()}
    for time in range(2, action.shape[1]):
        state = models.rssm.img_step(state, action[:, time], tf.zeros([2, 3]))
        np.testing.assert_allclose(found[:, time], reconstruction.decode(models, state), atol=1e-5)


def test_comparison_has_grey_where_nothing_is_wrong():
    truth = np.full((2, 4, 4, 3), -0.5, np.float32)
    model = truth.copy()
    model[1] = 0.5
    rows = picture_rows.comparison(truth, model)
    assert rows.shape == (2, 3, 4, 4, 3) and rows.dtype == np.uint8
    assert rows[:, :, 0, 0, 0].tolist() == [[0, 0, 128], [0, 255, 255]]
    assert picture_rows.to_pixels(np.array([-9.0, 9.0])).tolist() == [0, 255]


def test_pictures_of_a_run_show_the_same_as_the_tools(agent, data):
    class Replay:
        def newest(self, length, rows):
            assert (length, rows) == (6, heldout_diagnostics.SEQUENCES)
            return data

    scalars, found, diagnosed = heldout_diagnostics.diagnose_newest_episode(agent, Replay(), 3)
    assert set(found) == {"openloop", "memory"}
    assert np.isfinite(scalars["model"]["heldout_image_loss"])
    for strip in found.values():
        assert strip.shape == (6, 3 * 64, 2 * 64, 3) and strip.dtype == np.uint8
        for sequence in range(2):
            left = 64 * sequence
            np.testing.assert_array_equal(strip[:, :64, left : left + 64], data["image"][sequence])
    noise = heldout_diagnostics.noises.SeededNoise(
        tf.constant(heldout_diagnostics.noises.key(0, "report", 3))
    )
    images = picture_rows.to_pixels(reconstruction.images(agent.models, data, noise, SIGMA))
    shown = found["memory"][:, 64:128, 64:].astype(int)
    assert np.abs(shown - images[1]).max() <= 1
    # Five context frames of six: only the last picture is predicted.
    seen = picture_rows.to_pixels(reconstruction.images(agent.models, data, noise, 0.0))[0]
    row = found["openloop"][:, 64:128, :64].astype(int)
    assert np.abs(row[:5] - seen[:5]).max() <= 1 and np.abs(row[5] - seen[5]).max() > 1
    expected = reconstruction.errors(agent.models, data, noise, heldout_diagnostics.SIGMAS)
    assert diagnosed["decoding"]["error"] == pytest.approx(expected.tolist())


def test_figure_has_three_rows_a_block(agent):
    random = np.random.default_rng(0)
    frames = random.integers(0, 256, (7, 64, 64, 3), np.uint8)
    film = Film({"image": frames, "action": np.zeros((7, 2), "f4")}, None, 5 * np.arange(7))
    run = types.SimpleNamespace(agent=agent, config=tiny_config(), counters=Counters(steps=4000))
    figure = memory_study.draw({"x/plain": run, "other": run}, film, 4, SIGMA, True)
    labels = [axes.get_ylabel() for axes in figure.axes]
    assert labels == ["input", "reconstruction\nfrom $(h', s')$", "error"] * 2
    title = figure.axes[0].get_title("left")
    assert title == "with constraints (β1 = 0.01, β2 = 0.5): plain, 4,000 steps, σ = 0.3"
    ticks = figure.axes[-1].get_xticklabels()
    assert [label.get_text() for label in ticks] == ["0", "10", "20", "30"]
    shown = figure.axes[0].images[0].get_array()
    np.testing.assert_array_equal(shown[:, 64:128], frames[2])


@pytest.fixture(scope="module")
def logdirs(tmp_path_factory):
    """Without and with constraints, of other weights; another task; another action repeat."""
    folder = tmp_path_factory.mktemp("runs")
    plain, constrained = folder / "plain", folder / "constrained"
    save_tiny_run(plain, beta1=0.0, beta2=0.0, seed=1)
    save_tiny_run(constrained, deter_size=5)
    flags = (plain / "run.flags").read_text()
    for name, old, new in (("task", ":pictured", ":image"), ("repeat", "repeat=2", "repeat=1")):
        other = shutil.copytree(plain, folder / name)
        (other / "run.flags").write_text(flags.replace(old, new))
    return [str(folder / name) for name in ("plain", "constrained", "task", "repeat")]


def reconstruct(*words):
    return tool("reconstruct").main([str(word) for word in words])


def test_two_runs_look_at_the_same_frames(logdirs, tmp_path, capsys, monkeypatch):
    films = []
    measure = memory_study.measure
    monkeypatch.setattr(
        memory_study, "measure", lambda *given: films.extend(given[1]) or measure(*given)
    )
    words = [f"--out={tmp_path}/fig3.png", f"--json={tmp_path}/fig3.json", "--sigmas=0,0.5"]
    assert reconstruct("--logdirs", *logdirs[:2], *words, "--episodes=2", "--columns=3") == 0
    result = json.loads((tmp_path / "fig3.json").read_text())
    assert sorted(os.listdir(tmp_path)) == ["fig3.json", "fig3.png"]
    assert (result["task"], result["frames"], result["episodes"]) == ("env_fakes:pictured", 42, 2)
    labels = [(run["label"], run["beta2"]) for run in result["runs"]]
    assert labels == [("without constraints", 0.0), ("with constraints", 0.5)]
    for logdir, run in zip(logdirs[:2], result["runs"], strict=True):
        models = clion_tf.load(logdir).agent.models
        each = [
            reconstruction.errors(models, film.sequence(), memory_study._noise(number), [0, 0.5])
            for number, film in enumerate(films)
        ]
        np.testing.assert_allclose(run["errors"], np.mean(each, 0), rtol=1e-5)
    out = capsys.readouterr().out.splitlines()
    assert out[0].startswith("env_fakes:pictured, 42 frames of 2 episodes, decoded from (h', s)")
    assert out[1] == memory_study.UNIT and out[2].split() == ["sigma", "0", "0.5"]
    assert out[3].split()[-1] == f"{result['runs'][0]['errors'][1]:.1f}"
    with Image.open(tmp_path / "fig3.png") as picture:
        assert picture.width > 400 and picture.height > 700


def test_one_run_in_another_format(logdirs, tmp_path):
    out = tmp_path / "fig3.pdf"
    words = ["--columns=100", "--sigmas=0", "--state=hs"]
    assert reconstruct("--logdirs", logdirs[1], f"--out={out}", *words) == 0
    assert out.read_bytes().startswith(b"%PDF")


@pytest.mark.parametrize(
    "runs, words, message",
    [
        ([0, 1], ["--out={tmp}/a.txt"], "must end in .png, .pdf, .svg"),
        ([0, 1], ["--json={tmp}/none/a.json"], "no such folder"),
        ([0, 0], [], "names a run twice"),
        ([0, 1, 0], [], "one run's folder, or two"),
        ([0, 2], [], "different tasks, views or action repeats"),
        ([0, 3], [], "different tasks, views or action repeats"),
        ([0, 4], [], "no run of clion_tf there"),
        ([0, 1], ["--checkpoint=a.npz"], "a file can be of one run only"),
        ([0], ["--checkpoint=9"], "no checkpoint at 9 steps"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(logdirs, tmp_path, capsys, runs, words, message):
    before = sorted(os.listdir(tmp_path))
    folders = [*logdirs, tmp_path / "none"]
    all_words = ["--logdirs", *(folders[run] for run in runs), f"--out={tmp_path}/a.png"]
    assert reconstruct(*all_words, *(word.format(tmp=tmp_path) for word in words)) == 2
    said = capsys.readouterr()
    assert said.out == "" and said.err.count("\n") == 1 and message in said.err
    assert said.err.startswith("reconstruct: error: ")
    assert sorted(os.listdir(tmp_path)) == before


@pytest.mark.parametrize(
    "word", ["--sigmas=0,nan", "--sigmas=", "--sigma=-0.1", "--columns=0", "--rotation=200"]
)
def test_numbers_that_make_no_sense(logdirs, tmp_path, word):
    with pytest.raises(SystemExit) as caught:
        reconstruct("--logdirs", logdirs[0], f"--out={tmp_path}/a.png", word)
    assert caught.value.code == 2


def test_refusals_need_no_tensorflow(tmp_path):
    words = ["-X", "importtime", ROOT / "tools" / "reconstruct.py"]
    words += [f"--logdirs={tmp_path}", f"--out={tmp_path}/a.png"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    result = subprocess.run(
        [sys.executable, *words], env=environment, capture_output=True, text=True, timeout=60
    )
    assert result.returncode == 2 and "no run of clion_tf there" in result.stderr
    assert "tensorflow" not in result.stderr and "matplotlib" not in result.stderr
