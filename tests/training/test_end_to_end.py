"""Whole runs through the real command: rendering, training, files, going on, Ctrl-C."""

import json
import math
import os
import re
import signal

import imageio_ffmpeg
import numpy as np
import pytest
from forked import Process
from places import ROOT
from tensorboard.backend.event_processing import event_accumulator

from clion_tf.logdir import checkpoints, code_versions
from clion_tf.logdir.run_folder import RunFolder

# Longer repeats than the preset's: fewer frames, as rendering takes long; and a smaller graph.
DEBUG = (
    f"--flagfile={ROOT}/flags/debug.flags", "--action_repeat=20", "--batch_length=5",
    "--horizon=3",
)  # fmt: skip
FRAMES = 26  # Of an episode of 500 environment steps.
LOSSES = {
    "model_loss", "image_loss", "reward_loss", "div", "embedding_constraint",
    "decoding_constraint", "actor_loss", "value_loss", "evaluator_loss",
}  # fmt: skip


def finish(*words):
    """Runs the command to its end; returns its lines on stderr."""
    process = Process("clion_tf.run", words)
    out, errors = process.communicate(timeout=280)
    assert process.returncode == 0, errors
    assert out == "" and "Traceback" not in errors
    return errors.splitlines()


def interrupt(*words, after):
    """Presses Ctrl-C once a line begins with `after`; returns exit code and lines of stderr."""
    process = Process("clion_tf.run", words)
    lines = []
    try:
        for line in process.stderr:
            lines.append(line.rstrip("\n"))
            if line.startswith(after):
                # It has a process group of its own, as a terminal gives it.
                os.killpg(process.pid, signal.SIGINT)
        return process.wait(60), lines
    finally:
        process.kill()
        process.stderr.close()


def metrics(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def steps_of(folder, name):
    return [line["step"] for line in metrics(folder) if name in line]


@pytest.fixture(scope="module")
def debug(tmp_path_factory):
    """The debug run: (its folder, how Ctrl-C ended it, what it said when it went on to its end)."""
    folder = tmp_path_factory.mktemp("runs") / "de bug ü"
    words = (*DEBUG, f"--logdir={folder}")
    # In the seed episodes, before a graph is built.
    code, lines = interrupt(*words, after="[500] train return ")
    return folder, (code, lines, metrics(folder)), finish(*words)


def test_ctrl_c(debug):
    folder, (code, lines, logged), later = debug
    assert code == 128 + signal.SIGINT
    assert lines[0] == f"walker_walk in {folder}: new run"
    assert lines[-1].startswith("stopped; the same command resumes")
    assert not any("Traceback" in line or "error" in line for line in lines)
    assert re.search(r"resuming at (500|1000) environment steps$", later[0])
    # No step twice and none left out.
    assert logged and metrics(folder)[: len(logged)] == logged


def test_debug_run_says_what_happens(debug):
    folder, (_, begun, _), lines = debug
    assert next(line for line in begun if line[0] == "[").startswith("[500] train return ")
    assert lines[1].startswith("learner on ") and "rendering by" in lines[1]
    assert lines[2].startswith("parameters: model ")
    assert any(line.startswith("replay: ") and "GB free" in line for line in lines[:5])
    assert any("model loss" in line and "steps/s" in line for line in lines)
    assert lines[-2].startswith("[3000] test return ")
    assert lines[-1] == f"done: 3000 environment steps in {folder}"


def test_debug_run_leaves_every_loss_and_return(debug):
    folder, *_ = debug
    assert steps_of(folder, "train/return") == [500, 1000, 1500, 2000, 2500, 3000]
    assert steps_of(folder, "test/return") == [2000, 3000]
    logged = [line for line in metrics(folder) if "model_loss" in line]
    assert [line["step"] for line in logged] == [2500, 3000]
    for line in logged:
        assert line.keys() >= LOSSES
        assert all(math.isfinite(value) for value in line.values())
    assert logged[-1]["updates"] == 10  # 5 of pretraining, 5 after 500 steps more.
    for line in metrics(folder):
        if "train/return" in line:
            assert 0 <= line["train/return"] <= 500 and line["train/length"] == FRAMES - 1


def test_debug_run_leaves_checkpoints_episodes_and_options(debug):
    folder, *_ = debug
    names = [path.name for path in sorted((folder / "checkpoints").iterdir())]
    assert names == ["000001000.npz", "000002000.npz", "000003000.npz"]
    arrays, counters = checkpoints.load(folder / "checkpoints" / names[-1])
    assert (counters.steps, counters.episodes, counters.updates) == (3000, 6, 10)
    assert {"weights", "optimizer"} == {name.split("/")[0] for name in arrays}
    episodes = sorted((folder / "episodes").iterdir())
    assert [path.name for path in episodes] == [f"{n:06d}-{FRAMES}.npz" for n in range(6)]
    with np.load(episodes[-1]) as file:
        assert file["image"].shape == (FRAMES, 64, 64, 3) and file["image"].std() > 5
    saved = RunFolder(folder).options()
    assert (saved.steps, saved.batch_size, saved.task) == (3000, 4, "walker_walk")
    (made_with,) = code_versions.read(folder)
    assert made_with["step"] == 0 and {"python", "tensorflow", "mujoco"} < made_with.keys()


def test_debug_run_leaves_videos(debug):
    folder, *_ = debug
    videos = sorted((folder / "videos").glob("test-*"))
    assert [path.name for path in videos] == ["test-000002000.mp4", "test-000003000.mp4"]
    reader = imageio_ffmpeg.read_frames(str(videos[-1]))
    width, height = next(reader)["size"]
    frames = [np.frombuffer(frame, np.uint8) for frame in reader]
    assert len(frames) == FRAMES and width == height == 256
    assert np.std(frames[0]) > 5 and not np.array_equal(frames[0], frames[-1])


def test_debug_run_leaves_diagnostics(debug):
    folder, *_ = debug
    paths = sorted((folder / "diagnostics").iterdir())
    assert [path.name for path in paths] == ["000002000.json", "000003000.json"]
    found = json.loads(paths[-1].read_text())
    assert (found["steps"], found["updates"]) == (3000, 10)
    errors = found["decoding"]["error"]
    assert found["decoding"]["sigma"][0] == 0 and 0 < errors[0] != errors[-1]
    weights = found["weights"]
    assert len(weights["original"]["mean"]) == len(weights["augmented"]["mean"]) == 3
    both = np.mean([weights["original"]["mean"], weights["augmented"]["mean"]])
    assert both == pytest.approx(1.0, rel=1e-3)
    assert len(found["scores"]["real"]["by_age"]) == 3  # K is the horizon.


def test_debug_run_leaves_tensorboard_events(debug):
    folder, *_ = debug
    events = event_accumulator.EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    scalars, images = set(events.Tags()["scalars"]), set(events.Tags()["images"])
    groups = {tag.split("/")[0] for tag in scalars if "/" in tag}
    assert groups == {"train", "test", "model", "behaviour", "evaluator", "speed"}
    assert {tag.split("/")[-1] for tag in scalars} >= LOSSES
    assert images == {"test/video", "model/openloop", "model/memory"}
    assert [event.step for event in events.Scalars("test/return")] == [2000, 3000]
