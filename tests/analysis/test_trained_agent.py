"""Trained agents from logdirs: they act as in training, and nothing in the folder changes."""

import logging
import shutil

import numpy as np
import pytest
from trained import frames, save_run

import clion_tf
from clion_tf.analysis import trained_agent
from clion_tf.config import ConfigError
from clion_tf.logdir import checkpoints
from clion_tf.logdir.checkpoints import CheckpointError
from clion_tf.logdir.run_folder import LogdirError
from clion_tf.replay.episode_player import AgentPolicy


def contents(folder):
    """{name: (time of the last change, bytes)} of all there is."""
    return {
        str(path.relative_to(folder)): (
            path.stat().st_mtime_ns,
            path.read_bytes() if path.is_file() else None,
        )
        for path in sorted(folder.rglob("*"))
    }


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "run"
    return folder, save_run(folder)


@pytest.fixture
def own(run, tmp_path):
    """A copy to spoil."""
    return shutil.copytree(run[0], tmp_path / "run")


@pytest.mark.parametrize(
    "options",
    [
        {"eval_action": "densest", "eval_noise": 0.2, "seed": 3},
        {"discrete": True, "actions": 3, "pcont": "True", "eval_action": "sample"},
        {"precision": "bf16", "evaluator": False, "eval_action": "mean"},
    ],
    ids=["densest with noise", "discrete with pcont", "mean in bf16"],
)
def test_acts_as_the_training_loop_does(tmp_path, options):
    agent = save_run(tmp_path / "run", (1000,), **options)
    trained = clion_tf.load(tmp_path / "run", device="cpu")
    assert (trained.config.task, trained.counters.steps) == ("walker_walk", 1000)
    theirs = AgentPolicy(agent, training=False, amount=options.get("eval_noise", 0.0))
    for episode in (7, 0):
        trained.reset(episode)
        theirs.begin([episode])
        for image in frames(4):
            action = trained.act({"image": image})
            assert action.dtype == np.float32 and np.array_equal(
                action, theirs.act([{"image": image}])[0]
            )


def test_begins_with_episode_0_and_repeats_it_after_reset(run, eagerly):
    trained = clion_tf.load(run[0], device="cpu", eval_action="sample")
    first, second = trained.act(frames(1)[0]), trained.act(frames(1)[0])
    trained.reset()
    assert np.array_equal(trained.act(frames(1)[0]), first)
    assert not np.array_equal(first, second)
    trained.reset(1)
    assert not np.array_equal(trained.act(frames(1)[0]), first)


def test_policies_have_states_of_their_own(run, eagerly):
    trained = clion_tf.load(run[0], device="cpu")
    one, two = trained.policy(), trained.policy()
    one.begin([0])
    two.begin([0])
    seen = [{"image": frames(1)[0]}]
    first = one.act(seen)
    one.act(seen)
    assert np.array_equal(two.act(seen), first)


def test_loading_changes_nothing_in_the_folder(own, eagerly):
    (own / "checkpoints" / "000003000.npz").write_bytes(b"half a checkpoint")
    before = contents(own)
    clion_tf.load(own, device="cpu").act(frames(1)[0])
    assert contents(own) == before


@pytest.mark.parametrize("form", ["{}", "{:09d}", "checkpoint"])
def test_chosen_checkpoint(run, form):
    wanted = form.format(1000)
    if form == "checkpoint":
        wanted = run[0] / "checkpoints" / "000001000.npz"
    saved = trained_agent.read(run[0], wanted)
    assert saved.counters.steps == 1000 and saved.path.name == "000001000.npz"
    other = trained_agent.read(run[0]).weights["actor/hout/kernel"]
    assert not np.array_equal(saved.weights["actor/hout/kernel"], other)


def test_newest_checkpoint_that_can_be_read(own, caplog):
    assert trained_agent.read(own).counters.steps == 3000
    newest = own / "checkpoints" / "000003000.npz"
    newest.write_bytes(newest.read_bytes()[:-1000])
    with caplog.at_level(logging.WARNING):
        assert trained_agent.read(own).counters.steps == 2000
    assert "000003000.npz: damaged" in caplog.text and "the one before" in caplog.text
    with pytest.raises(CheckpointError, match="damaged checkpoint"):
        trained_agent.read(own, 3000)
    for path in (own / "checkpoints").iterdir():
        path.write_bytes(b"")
    with pytest.raises(CheckpointError, match="no checkpoint that can be read"):
        trained_agent.read(own)


def test_a_run_that_goes_on_meanwhile(own, monkeypatch, caplog):
    """It removes what was newest when we looked, twice, and has a newer one each time."""
    load, opened = checkpoints.load, []

    def slow(path, arrays):
        opened.append(path.name)
        if len(opened) < 3:
            path.rename(path.with_name(f"{4000 + len(opened):09d}.npz"))
        return load(path, arrays)

    monkeypatch.setattr(checkpoints, "load", slow)
    saved = trained_agent.read(own)
    assert opened == ["000003000.npz", "000004001.npz", "000004002.npz"]
    assert saved.path.name == opened[-1] and not caplog.records


@pytest.mark.parametrize(
    "wanted, error, text",
    [
        (5, CheckpointError, r"no checkpoint at 5 steps \(kept: 1000, 2000, 3000\)"),
        ("no/such.npz", CheckpointError, "no/such.npz: no such checkpoint"),
        (-1000, CheckpointError, "no checkpoint at -1000 steps"),
    ],
)
def test_no_such_checkpoint(run, wanted, error, text):
    with pytest.raises(error, match=text):
        trained_agent.read(run[0], wanted)


def test_no_run_or_nothing_saved_yet(tmp_path, own):
    for folder in (tmp_path / "missing", tmp_path, own / "run.flags"):
        with pytest.raises(LogdirError, match="no run of clion_tf there"):
            trained_agent.read(folder)
    shutil.rmtree(own / "checkpoints")
    with pytest.raises(CheckpointError, match="no checkpoint there yet"):
        trained_agent.read(own)
    (own / "run.flags").write_text("--no_such_flag=1\n")
    with pytest.raises(LogdirError, match=r"run\.flags: cannot read the run's options"):
        trained_agent.read(own)


def test_checkpoints_of_other_sizes(run, tmp_path):
    for option, value in (("stoch_size", 2), ("stoch_size", 50), ("num_units", 9)):
        folder = shutil.copytree(run[0], tmp_path / f"{option}{value}")
        flags = (folder / "run.flags").read_text().replace(f"--{option}=", f"--{option}={value} #")
        lines = [line.split(" #")[0] for line in flags.splitlines()]
        (folder / "run.flags").write_text("\n".join(lines))
        with pytest.raises(CheckpointError, match=r"000003000\.npz: not of this run's sizes"):
            clion_tf.load(folder, device="cpu")
    np.savez(tmp_path / "other.npz", meta=np.array("{}"), **{"weights/a": np.zeros(2)})
    with pytest.raises(CheckpointError, match="not of this run's sizes"):
        clion_tf.load(run[0], tmp_path / "other.npz", device="cpu")


@pytest.mark.parametrize("options", [{"device": "tpu"}, {"eval_action": "best"}, {"seed": -1}])
def test_options_that_cannot_be(run, options):
    with pytest.raises(ConfigError, match=next(iter(options))):
        clion_tf.load(run[0], **{"device": "cpu", **options})


def test_stderr_stays_the_callers(run, monkeypatch):
    """File descriptor 2 is the whole process's: other threads write there too."""

    def fail(*_):
        raise AssertionError("stderr is redirected")

    with monkeypatch.context() as patch:
        patch.setattr("os.dup2", fail)
        assert clion_tf.load(run[0], device="cpu").counters.steps == 3000


def test_another_seed_is_other_noise(run, eagerly):
    one, other = (
        clion_tf.load(run[0], device="cpu", eval_action="sample", seed=seed) for seed in (0, 1)
    )
    assert other.config.seed == 1
    assert not np.array_equal(one.act(frames(1)[0]), other.act(frames(1)[0]))


def test_noise_on_memory_that_cannot_be(run, eagerly):
    trained = clion_tf.load(run[0], device="cpu")
    for amount in (-1.0, np.nan, np.inf):
        with pytest.raises(ConfigError, match=r"memory noise of .*: must be a finite number"):
            trained.with_memory_noise(amount)
    # Of an agent with noise the last amount counts.
    twice, once = (
        trained.with_memory_noise(9.0).with_memory_noise(0.5),
        trained.with_memory_noise(0.5),
    )
    for image in frames(3):
        assert np.array_equal(twice.act(image), once.act(image))


def test_what_is_no_image(run, eagerly):
    trained = clion_tf.load(run[0], device="cpu", eval_action="sample")
    expected = trained.act(frames(1)[0])
    trained.reset()
    for wrong in (
        np.zeros((64, 64, 3), np.float32),
        np.zeros((1, 64, 64, 3), np.uint8),
        {"image": np.zeros(3, np.uint8)},
    ):
        with pytest.raises(
            ValueError, match=r"an observation's image is uint8 \(64, 64, 3\), not "
        ):
            trained.act(wrong)
    assert np.array_equal(trained.act(frames(1)[0]), expected)
