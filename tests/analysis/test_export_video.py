"""Videos of episodes and of what the world model sees, decoded again."""

import dataclasses
import os
import shutil
from types import SimpleNamespace

import imageio.v3 as imageio
import imageio_ffmpeg
import numpy as np
import pytest
from loop_fakes import CountingEnv
from PIL import Image
from tool_modules import tool
from trained import save_tiny_run

import clion_tf
from clion_tf import command
from clion_tf.analysis import evaluation, trained_agent
from clion_tf.analysis.videos import filming
from clion_tf.analysis.videos.filming import Film
from clion_tf.envs import RemoteEnv
from clion_tf.learning import reconstruction
from clion_tf.learning.augmentation import memory_unit
from clion_tf.learning.noise import GivenNoise
from clion_tf.pictures import picture_rows, video_files
from clion_tf.replay.episode_player import RandomPolicy, run_episodes
from clion_tf.training import training_process

FRAMES = 21


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "walker ü"
    save_tiny_run(folder)
    return folder


@pytest.fixture(scope="module")
def bad_runs(run):
    """Beside the good one: `unsaved` has no checkpoint yet, `broken` no environment."""
    shutil.copytree(run, run.parent / "unsaved", ignore=lambda *_: ["checkpoints"])
    broken = shutil.copytree(run, run.parent / "broken")
    flags = (run / "run.flags").read_text()
    (broken / "run.flags").write_text(flags.replace("env_fakes:pictured", "env_fakes:broken"))


def export(*words):
    return tool("export_video").main([str(word) for word in words])


def decoded(path):
    """[T, H, W, 3]"""
    if path.suffix == ".gif":
        return imageio.imread(path, index=None, mode="RGB")
    reader = imageio_ffmpeg.read_frames(str(path))
    width, height = next(reader)["size"]
    return np.stack([np.frombuffer(data, np.uint8).reshape(height, width, 3) for data in reader])


def film(frames, seed=0):
    """An episode of noise."""
    random = np.random.default_rng(seed)
    episode = {
        "image": random.integers(0, 256, (frames, 64, 64, 3), np.uint8),
        "action": random.uniform(-1, 1, (frames, 2)).astype(np.float32),
        "reward": np.arange(frames, dtype=np.float32),
    }
    shown = random.integers(0, 256, (frames, 80, 80, 3), np.uint8)
    return Film(episode, shown, 2 * np.arange(frames))


def test_policy_video_holds_all_episodes_at_the_size_asked_for(run, tmp_path, capsys):
    out = tmp_path / "walker.mp4"
    assert export(f"--logdir={run}", f"--out={out}", "--size=96", "--episodes=2") == 0
    frames = decoded(out)
    assert frames.shape == (2 * FRAMES, 96, 96, 3)
    # The fake draws 10 times the control step, and black above and below; both episodes alike.
    middle = frames[:, 50:68, 10:80].mean((1, 2, 3))
    expected = np.minimum(255, 20 * np.arange(FRAMES))
    assert np.abs(middle - np.tile(expected, 2)).max() < 4
    assert os.listdir(tmp_path) == ["walker.mp4"]
    said = capsys.readouterr()
    assert said.out.startswith(f"{out}: 1000 steps of training, returns 820.0, 820.0")
    assert said.err == ""


def test_filming_changes_nothing_of_what_the_agent_does(run):
    trained = clion_tf.load(run)
    plain = evaluation.spec(trained.config, rotation_degrees=5.0, task="env_fakes:counting")
    with RemoteEnv(plain) as env:
        [expected] = run_episodes([env], trained.policy(), [1], lambda step: None)
    spec = dataclasses.replace(plain, picture_size=(80, 80))
    _, filmed = filming.film_agent(trained, spec, 2)
    for key, value in expected.items():
        np.testing.assert_array_equal(filmed.episode[key], value, err_msg=key)
    assert filmed.pictures.shape == (FRAMES, 80, 80, 3)
    assert filmed.steps.tolist() == list(range(0, 41, 2))


def test_a_failed_attempt_is_not_in_the_film(monkeypatch):
    class Env(CountingEnv):
        def wait_ready(self):
            pass

        def _obs(self):
            obs = super()._obs()
            return {**obs, "picture": obs["image"][1:3]}

        def step(self, action):
            *result, info = super().step(action)
            return *result, {**info, "steps": 3}

    env = Env(length=5, fails=[0])
    monkeypatch.setattr(training_process, "RemoteEnv", lambda spec, timeout: env)
    config = trained_agent.Config()
    trained = SimpleNamespace(config=config, policy=lambda: RandomPolicy(2, False, seed=0))
    (take,) = filming.film_agent(trained, evaluation.spec(config), 1)
    assert env.episodes == [0, 0]  # It broke at its fourth step, and played again.
    assert take.pictures[:, 0, 0, 0].tolist() == [0, 1, 2, 3, 4, 5]
    assert take.steps.tolist() == [0, 3, 6, 9, 12, 15]


def test_return_and_step_are_drawn_in(monkeypatch):
    drawn = []
    one = film(4)
    plain = one.pictures.copy()
    frames = filming.captioned(one, "episode 2")
    np.testing.assert_array_equal(one.pictures, plain)
    assert (frames != plain).any((1, 2, 3)).all()
    monkeypatch.setattr(picture_rows, "write", lambda canvas, text, *where: drawn.append(text))
    filming.captioned(one)
    assert drawn == [f"return {r}\nstep {s}" for r, s in ((0.0, 0), (1.0, 2), (3.0, 4), (6.0, 6))]


@pytest.mark.parametrize("size", [64, 256, 1024])
@pytest.mark.parametrize("ground", [0, 255])
def test_words_are_readable_on_light_and_dark(size, ground):
    canvas = Image.new("RGB", (2 * size, size), (ground,) * 3)
    picture_rows.write(canvas, "return 1000\nstep 1000\nepisode 10", size, 0, size)
    pixels = np.asarray(canvas)
    assert (pixels[:, :size] == ground).all()
    written = pixels[:, size:]
    assert (written > 220).all(-1).sum() > 30 and (written < 35).all(-1).sum() > 30
    assert (written[:, -2:] == ground).all() and (written[3 * size // 4 :] == ground).all()


def test_open_loop_is_predicted_anew_in_each_sequence(run):
    models = clion_tf.load(run).agent.models
    one = film(20)
    column = filming.open_loop(models, one, 8, GivenNoise())
    assert column.rows.shape == (16, 3, 64, 64, 3)
    assert column.steps.tolist() == list(range(0, 32, 2))
    ahead = ["reconstruction"] * 5 + [f"prediction, {n} ahead" for n in (1, 2, 3)]
    assert column.labels == [("truth", what, "error") for what in 2 * ahead]
    short = filming.open_loop(models, film(3), 3, GivenNoise())
    assert short.labels[2][1] == "prediction, 1 ahead"
    np.testing.assert_array_equal(column.rows[:, 0], one.episode["image"][:16])
    second = Film({key: value[8:16] for key, value in one.episode.items()}, None, one.steps[8:16])
    again = filming.open_loop(models, second, 8, GivenNoise())
    np.testing.assert_allclose(column.rows[8:].astype(int), again.rows, atol=1)
    # Images after the context are never seen, those of the context are.
    for frame, changes in ((7, False), (4, True)):
        other = {key: value.copy() for key, value in one.episode.items()}
        other["image"][frame] = 255 - other["image"][frame]
        changed = filming.open_loop(models, Film(other, None, one.steps), 8, GivenNoise())
        assert (changed.rows[:, 1] != column.rows[:, 1]).any() == changes


def test_columns_stand_side_by_side_and_the_shorter_waits():
    columns = [
        filming.Column(np.full((n, 3, 64, 64, 3), 50 * n, np.uint8), np.arange(n), n * ["abc"])
        for n in (2, 3)
    ]
    for column in columns:
        column.rows[-1, :, 32:, 32:] = 200
    clips = list(filming.clips(columns, 128, 9, length=2))
    assert [clip.shape for clip in clips] == [(2, 384, 256, 3), (1, 384, 256, 3)]
    frames = np.concatenate(clips)
    # The lower right quarter of each cell, which has no words.
    quarters = frames.reshape(3, 3, 128, 2, 128, 3)[:, :, 65:, :, 65:].mean((1, 2, 4, 5))
    assert quarters.tolist() == [[100, 150], [200, 150], [200, 200]]
    cut = list(filming.clips(columns, 128, 1))
    np.testing.assert_array_equal(cut[0], frames[:1])


def test_a_gif_of_the_model_stays_small(tmp_path):
    """Noise costs more than anything that a model could show; an MP4 has all frames."""
    parse = tool("export_video").parse
    chosen = parse(["--logdir=x", "--out=a.GIF", "--what=openloop"])
    random = np.random.default_rng(0)
    noise = random.integers(0, 256, (500, 3, 64, 64, 3), np.uint8)
    labels = [("truth", f"prediction, {n % 50} ahead", "error") for n in range(500)]
    column = filming.Column(noise, np.arange(500), labels)
    clips = filming.clips([column], chosen.size, chosen.frames)
    path = video_files.save_clips(tmp_path / "a.gif", clips, chosen.fps)
    assert len(decoded(path)) == chosen.frames >= 50 and path.stat().st_size < 3e6
    chosen = parse(["--logdir=x", "--out=a.gif", "--what=memory", "--frames=500", "--size=256"])
    assert (chosen.size, chosen.frames) == (256, 500)
    for words in (["--out=a.mp4", "--what=openloop"], ["--out=a.gif"]):
        chosen = parse(["--logdir=x", *words])
        assert chosen.size == 256 and chosen.frames > 1e6


@pytest.mark.parametrize(
    "name, words",
    [("open.gif", ["--what=openloop"]), ("memory.mp4", ["--what=memory", "--state=hs"])],
)
def test_model_videos_are_written(run, tmp_path, name, words):
    out = tmp_path / name
    words += [f"--logdir={run}", f"--out={out}", "--size=64", "--checkpoint=1000", "--episodes=2"]
    assert export(*words) == 0
    frames = decoded(out)
    used = FRAMES if "memory" in name else FRAMES // 6 * 6
    assert frames.shape == (used, 3 * 64, 2 * 64, 3)
    assert np.abs(frames[:, 130:].astype(int) - 128).mean() < 80  # Errors are about grey.


def test_memory_rows_are_what_the_model_decodes(run):
    models = clion_tf.load(run).agent.models
    one = film(7)
    data = {key: one.episode[key][None] for key in ("image", "action")}
    deter = reconstruction.posterior(models, data, GivenNoise())["deter"]
    for units, sigma in (("absolute", 0.1), ("relative", 0.1 * memory_unit(deter, "relative"))):
        column = filming.memory(models, one, GivenNoise(), 0.1, units, False, -1.0)
        decoded = reconstruction.images(models, data, GivenNoise(), sigma)[0]
        np.testing.assert_array_equal(column.rows[:, 1], picture_rows.to_pixels(decoded))
        assert column.labels[0][1] == f"from (h', s), sigma {float(sigma):g}"


@pytest.mark.parametrize(
    "words, code, message",
    [
        (["--out={tmp}/a.avi"], 2, "must end in .mp4, .gif"),
        (["--out={tmp}/none/a.mp4"], 2, "no such folder"),
        (["--out={tmp}/folder.mp4"], 2, "is a folder"),
        (["--size=63"], 2, "--size=63: use 64 to 2048"),
        (["--size=9999"], 2, "--size=9999"),
        (["--frames=9"], 2, "--frames goes with --what=openloop or memory"),
        (["--what=openloop", "--sigma=0"], 2, "--sigma goes with --what=memory"),
        (["--state=h"], 2, "--state goes with --what=memory"),
        (["--logdir={tmp}"], 2, "no run of clion_tf there"),
        (["--logdir={tmp}/none"], 2, "no run of clion_tf there"),
        (["--logdir={runs}/unsaved"], 2, "no checkpoint there yet"),
        (["--checkpoint=7"], 2, "no checkpoint at 7 steps (kept: 1000)"),
        (["--checkpoint={tmp}/none.npz"], 2, "no such checkpoint"),
        (["--logdir={runs}/broken"], 2, "cannot be made"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(
    run, bad_runs, tmp_path, capsys, words, code, message
):
    (tmp_path / "folder.mp4").mkdir()
    before = sorted(os.listdir(tmp_path))
    all_words = [f"--logdir={run}", f"--out={tmp_path}/a.mp4", *words]
    assert export(*(word.format(tmp=tmp_path, runs=run.parent) for word in all_words)) == code
    said = capsys.readouterr()
    assert said.out == "" and said.err.count("\n") == 1
    assert said.err.startswith("export_video: error: ") and message in said.err
    assert sorted(os.listdir(tmp_path)) == before


@pytest.mark.parametrize(
    "word",
    ["--fps=0", "--fps=nan", "--episodes=0", "--seed=-1", "--sigma=-1", "--rotation=181"],
)
def test_numbers_that_make_no_sense(run, tmp_path, word):
    with pytest.raises(SystemExit) as caught:
        export(f"--logdir={run}", f"--out={tmp_path}/a.mp4", word)
    assert caught.value.code == 2


def test_a_gif_of_an_episode(run, tmp_path, capsys):
    out = tmp_path / "a b.gif"
    assert export(f"--logdir={run}", f"--out={out}", "--size=64") == 0
    assert capsys.readouterr().err == ""
    assert decoded(out).shape == (FRAMES, 64, 64, 3)


def test_a_seed_is_that_of_episodes_and_policy(run, tmp_path, monkeypatch):
    seen = []

    def of_agent(trained, spec, count):
        seen.append((trained.config.seed, spec.seed, spec.rotation_degrees))
        raise command.UsageError("enough")

    monkeypatch.setattr(filming, "film_agent", of_agent)
    for words in ([], ["--seed=9", "--rotation=3"]):
        assert export(f"--logdir={run}", f"--out={tmp_path}/a.mp4", *words) == 2
    assert seen == [(0, 0, 0.0), (9, 9, 3.0)]
