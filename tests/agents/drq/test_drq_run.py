"""DrQ through the loop, the replay, the environments, checkpoints and tools that CLION has."""

import json

import numpy as np
import pytest
import tensorflow as tf
from drq_agents import ACTIONS, SIZE, tiny_config
from places import FAKES
from small_agents import without_graphs
from tool_modules import tool

import clion_tf
from clion_tf.agents import KINDS
from clion_tf.agents.drq.drq_agent import DrQ
from clion_tf.config import to_flagfile
from clion_tf.envs import EnvSpec, RemoteEnv, SupervisedEnvs
from clion_tf.envs.make_env import make
from clion_tf.learning.noise import key
from clion_tf.logdir.run_folder import RunFolder
from clion_tf.replay.replay_buffer import Replay
from clion_tf.training import loop
from clion_tf.training.build_run import assemble
from clion_tf.training.training_process import specs

RUN = {
    "task": "env_fakes:pictured",
    "time_limit": 20,
    "action_repeat": 2,
    "prefill": 40,
    "pretrain": 0,
    "train_every": 20,
    "train_steps": 3,
    "steps": 120,
    "eval_every": 40,
    "video": "none",
    "log_every": 20,
    "keep_checkpoints": 1,
    "replay_capacity": 80,
}


@pytest.fixture(autouse=True)
def fakes(monkeypatch):
    monkeypatch.syspath_prepend(FAKES)


def started(folder, stopping=lambda: False, **options):
    """A run with real workers, put together as the command line does."""
    config = tiny_config(logdir=str(folder), **{**RUN, **options})
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "run.flags").write_text(to_flagfile(config))
    envs = [SupervisedEnvs(lambda spec=spec: RemoteEnv(spec), 0) for spec in specs(config)]
    return assemble(config, RunFolder(folder), *envs, stopping), envs


@pytest.fixture(scope="module")
def logdir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("drq") / "run"
    run, envs = started(folder)
    with without_graphs():
        loop.train(run)
    run.logger.close()
    for env in envs:
        env.close()
    return folder


def test_it_trains_and_logs(logdir):
    rows = [json.loads(line) for line in (logdir / "metrics.jsonl").read_text().splitlines()]
    losses = [row["critic_loss"] for row in rows if "critic_loss" in row]
    assert losses and np.isfinite(losses).all()
    assert [row["step"] for row in rows if "test/return" in row] == [40, 80, 120]
    # Batches come from the newest 80 steps only: the files of the first episodes are gone.
    names = sorted(path.name for path in (logdir / "episodes").iterdir())
    assert names[0] > "000000" and names[-1] == "000005-11.npz"
    assert not (logdir / "diagnostics").exists()


def test_it_is_loaded_and_acts(logdir):
    trained = clion_tf.load(logdir, device="cpu")
    assert isinstance(trained.agent, DrQ) and trained.observed == {"image": (SIZE, SIZE, 3)}
    image = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)
    trained.reset()
    first = trained.act(image)
    assert first.shape == (ACTIONS,) and np.abs(first).max() <= 1
    second = trained.act(255 - image)
    trained.reset()
    assert np.array_equal(trained.act(image), first)
    assert np.array_equal(trained.act(255 - image), second)  # Of the stack, so of the memory.
    with pytest.raises(ValueError, match="image is uint8"):
        trained.act(np.zeros((64, 64, 3), np.uint8))


def test_tools_that_need_no_world_model(logdir, tmp_path, capsys):
    out = tmp_path / "scores.json"
    words = [f"--logdir={logdir}", "--rotations=0,5", "--episodes=2", f"--json={out}"]
    assert tool("evaluate").main(words) == 0
    assert len(json.loads(out.read_text())["cells"]) == 2
    film = tmp_path / "film.gif"
    words = [f"--logdir={logdir}", "--size=64", f"--out={film}", "--device=cpu"]
    assert tool("export_video").main(words) == 0
    assert film.stat().st_size > 1000
    capsys.readouterr()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("horizon", ["--out=x.png"]),
        ("offline", []),
        ("export_video", ["--what=openloop", "--out=x.gif"]),
    ],
)
def test_tools_that_need_one_say_so(logdir, tmp_path, monkeypatch, capsys, name, words):
    monkeypatch.chdir(tmp_path)
    assert tool(name).main([f"--logdir={logdir}", *words]) == 2
    assert capsys.readouterr().err.strip().endswith("its agent, drq, has no world model")
    assert list(tmp_path.iterdir()) == []


def test_it_is_exported(logdir, tmp_path):
    """As it acts itself, and with what the run has noted of its environment."""
    words = [f"--logdir={logdir}", f"--out={tmp_path / 'policy'}"]
    assert tool("export_policy").main(words) == 0
    model, trained = tf.saved_model.load(str(tmp_path / "policy")), clion_tf.load(logdir)
    image = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)
    state = model.initial(1)
    for step in range(4):
        state = model.act(image[None] + step, key(0, "test", 0, step), **state)
        assert np.array_equal(state["action"][0], trained.act(image + np.uint8(step)))
    about = json.loads((tmp_path / "policy" / "policy.json").read_text())
    assert about["environment"]["image"] == {"name": "image", "shape": [SIZE, SIZE, 3]}
    assert about["environment"]["action"] == {
        "shape": [ACTIONS], "dtype": "float32", "low": [-1.0] * ACTIONS, "high": [1.0] * ACTIONS
    }  # fmt: skip


def test_a_run_goes_on_as_if_it_had_not_stopped(logdir, tmp_path, eagerly):
    for steps in (60, 120):
        run, envs = started(tmp_path / "cut", steps=steps)
        loop.train(run)
        run.logger.close()
        for env in envs:
            env.close()
    (one,), (other,) = ((f / "checkpoints").glob("*.npz") for f in (logdir, tmp_path / "cut"))
    with np.load(one) as expected, np.load(other) as found:
        weights = [name for name in expected.files if name.startswith(("weights", "optimizer"))]
        assert len(weights) > 50
        for name in weights:
            np.testing.assert_array_equal(found[name], expected[name], err_msg=name)


def test_angles_are_told_and_stored(tmp_path, eagerly):
    run, envs = started(
        tmp_path / "same", stack_rotation="same", rotation_degrees=5.0, steps=60, log_images=False
    )
    loop.train(run)
    for env in envs:
        env.close()
    batch = run.replay.sample(50, 0)
    angles = batch["rotation"]
    assert angles.shape == (50, 4) and np.abs(angles).max() <= 5 and np.ptp(angles) > 2
    plain = make(EnvSpec("env_fakes:pictured", size=(SIZE, SIZE)))
    told = make(EnvSpec("env_fakes:pictured", size=(SIZE, SIZE), rotation_degrees=5.0,
                        rotation_told=True))  # fmt: skip
    first, second = (env.reset(seed=3)[0] for env in (plain, told))
    np.testing.assert_array_equal(first["image"], second["image"])
    turned = make(EnvSpec("env_fakes:pictured", size=(SIZE, SIZE), rotation_degrees=5.0))
    assert not np.array_equal(turned.reset(seed=3)[0]["image"], first["image"])


def test_no_rotation_is_an_angle_of_zero():
    env = make(EnvSpec("env_fakes:pictured", size=(SIZE, SIZE), rotation_told=True))
    assert env.reset(seed=0)[0]["rotation"] == 0.0 and env.observation_space["rotation"].shape == ()


def test_sequences_begin_before_the_first_frame(tmp_path):
    replay = Replay(tmp_path, 4, padding=2)
    frames = 3
    replay.add(
        {
            "image": np.arange(frames, dtype=np.uint8)[:, None, None, None]
            * np.ones((1, 5, 5, 3), np.uint8),
            "action": np.arange(frames, dtype="f4")[:, None],
            "reward": np.arange(frames, dtype="f4"),
            "discount": np.ones(frames, "f4"),
        }
    )
    drawn = replay.sample(200, 0)
    kinds = {tuple(row) for row in drawn["reward"].astype(int).tolist()}
    # Transitions 0 -> 1 and 1 -> 2; a sequence's last action led to its last frame.
    assert kinds == {(0, 0, 0, 1), (0, 0, 1, 2)}
    np.testing.assert_array_equal(drawn["image"][..., 0, 0, 0], drawn["reward"])


def test_agents_by_name():
    config = tiny_config(task="env_fakes:pictured")
    shapes = {"image": (SIZE, SIZE, 3)}
    assert isinstance(KINDS["drq"](config, 2, False, shapes), DrQ)
