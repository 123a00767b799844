"""Lines of metrics.jsonl, TensorBoard events read back, and the console."""

import errno
import io
import json
import math
import os
from contextlib import nullcontext

import imageio.v3 as imageio
import numpy as np
import pytest
import tensorflow as tf
from tensorboard.backend.event_processing import event_accumulator, plugin_event_accumulator

from clion_tf.logdir.metrics_log import Logger, Progress


def lines(logdir):
    return [json.loads(line) for line in (logdir / "metrics.jsonl").read_text().splitlines()]


def events(logdir):
    accumulator = event_accumulator.EventAccumulator(
        str(logdir / "tensorboard"),
        size_guidance={"scalars": 0, "images": 0},
        purge_orphaned_data=True,
    )
    return accumulator.Reload()


def series(logdir, tag):
    return [(event.step, event.value) for event in events(logdir).Scalars(tag)]


def test_lines_have_the_original_dreamers_keys(tmp_path):
    logger = Logger(tmp_path)
    logger.scalars(2000, {"train": {"return": 12.5, "length": 500}, "": {"episodes": 2}})
    logger.scalars(3000, {"model": {"model_loss": np.float32(0.5)}, "test": {"return": 3}})
    # Each line is there when written, not when the logger is closed.
    assert lines(tmp_path) == [
        {"step": 2000, "train/return": 12.5, "train/length": 500, "episodes": 2},
        {"step": 3000, "model_loss": 0.5, "test/return": 3},
    ]
    logger.close()


def test_tensorboard_has_groups(tmp_path):
    logger = Logger(tmp_path)
    logger.scalars(np.int64(5), {"model": {"kl": 3.5}, "speed": {"updates": tf.constant(2)}})
    logger.scalars(6, {"": {"episodes": 7}, "model": {"kl": 4.5}})
    logger.close()
    assert sorted(events(tmp_path).Tags()["scalars"]) == ["episodes", "model/kl", "speed/updates"]
    assert series(tmp_path, "model/kl") == [(5, 3.5), (6, 4.5)]
    assert series(tmp_path, "speed/updates") == [(5, 2.0)]
    assert series(tmp_path, "episodes") == [(6, 7.0)]


def test_numbers_that_json_does_not_know_are_null(tmp_path):
    logger = Logger(tmp_path)
    logger.scalars(1, {"model": {"nan": math.nan, "up": math.inf, "down": -np.float32(np.inf)}})
    logger.scalars(2, {"model": {"nan": 1.0}})
    logger.close()
    assert lines(tmp_path) == [
        {"step": 1, "nan": None, "up": None, "down": None},
        {"step": 2, "nan": 1.0},
    ]


@pytest.mark.parametrize(
    "groups",
    [
        {"model": {"loss": 1.0}, "behaviour": {"loss": 2.0}},
        {"model": {"loss": 1.0}, "": {"loss": 2.0}},
        {"model": {"step": 1.0}},
    ],
)
def test_names_that_clash_are_refused(tmp_path, groups):
    logger = Logger(tmp_path)
    with pytest.raises(ValueError, match="two metrics are called"):
        logger.scalars(1, groups)
    assert lines(tmp_path) == []
    logger.scalars(1, {"train": {"return": 1.0}, "test": {"return": 2.0}})
    assert lines(tmp_path) == [{"step": 1, "train/return": 1.0, "test/return": 2.0}]
    logger.close()


def test_resuming_writes_nothing_twice(tmp_path):
    straight, cut = tmp_path / "straight", tmp_path / "cut"
    logger = Logger(straight)
    for step in range(1, 7):
        logger.scalars(step, {"model": {"loss": step}})
    logger.close()
    logger = Logger(cut)
    position = None
    for step in range(1, 6):
        logger.scalars(step, {"model": {"loss": step if step < 4 else -1.0}})
        position = logger.position if step == 3 else position
    logger.close()
    with (cut / "metrics.jsonl").open("a") as file:
        file.write('{"step": 6, "los')  # A torn line.
    logger = Logger(cut, resume_bytes=position)
    assert logger.position == position
    for step in range(4, 7):
        logger.scalars(step, {"model": {"loss": step}})
    logger.close()
    assert (cut / "metrics.jsonl").read_bytes() == (straight / "metrics.jsonl").read_bytes()
    assert series(cut, "model/loss") == [(step, float(step)) for step in range(1, 7)]


def test_tensorboard_hides_what_was_not_written_again(tmp_path):
    logger = Logger(tmp_path)
    logger.scalars(1, {"model": {"loss": 1}})
    position = logger.position
    logger.scalars(2, {"model": {"loss": 2}, "test": {"return": 5}})
    logger.close()
    Logger(tmp_path, resume_bytes=position).close()
    assert series(tmp_path, "model/loss") == [(1, 1.0)]
    assert series(tmp_path, "test/return") == []
    # What TensorBoard itself reads with drops them too.
    accumulator = plugin_event_accumulator.EventAccumulator(
        str(tmp_path / "tensorboard"), tensor_size_guidance={"tensors": 0}
    ).Reload()
    assert [event.step for event in accumulator.Tensors("model/loss")] == [1]


def test_the_clock_may_go_backwards(tmp_path, monkeypatch):
    positions = []
    for step, clock in ((1, 3e9), (2, 2e9), (3, 1e9)):
        monkeypatch.setattr("clion_tf.logdir.metrics_log.time.time", lambda now=clock: now)
        logger = Logger(tmp_path, resume_bytes=positions[-1] if positions else None)
        logger.scalars(step, {"model": {"loss": step}})
        positions.append(logger.position)
        logger.scalars(step + 1, {"model": {"loss": -1}})
        logger.close()
    assert series(tmp_path, "model/loss") == [(1, 1.0), (2, 2.0), (3, 3.0), (4, -1.0)]


def test_resuming_from_nothing_and_from_less_than_the_checkpoint_says(tmp_path, caplog):
    logger = Logger(tmp_path)
    logger.scalars(1, {"model": {"loss": 1}})
    logger.scalars(2, {"model": {"loss": 2}})
    end = logger.position
    logger.close()
    with (tmp_path / "metrics.jsonl").open("r+") as file:
        file.truncate(end - 3)
    logger = Logger(tmp_path, resume_bytes=end)
    assert "metrics were lost" in caplog.text
    assert [line["step"] for line in lines(tmp_path)] == [1]
    logger.close()
    logger = Logger(tmp_path, resume_bytes=0)
    assert logger.position == 0 and lines(tmp_path) == []
    logger.close()


@pytest.mark.parametrize("damage", [b"\xff\x00", b'{"step": "x"}', b"[1]", b"[" * 99_999, b"{}"])
def test_resuming_after_a_damaged_line(tmp_path, damage):
    logger = Logger(tmp_path)
    logger.scalars(1, {"model": {"loss": 1}})
    logger.close()
    with (tmp_path / "metrics.jsonl").open("ab") as file:
        file.write(damage + b"\n")
        end = file.tell()
    logger = Logger(tmp_path, resume_bytes=end)
    logger.scalars(2, {"model": {"loss": 2}})
    logger.close()
    assert series(tmp_path, "model/loss") == [(1, 1.0), (2, 2.0)]


def test_a_line_for_the_file_alone(tmp_path):
    logger = Logger(tmp_path)
    logger.scalars(1, {"model": {"loss": 1}}, events=False)
    logger.scalars(2, {"model": {"loss": 2}})
    logger.close()
    assert [line["step"] for line in lines(tmp_path)] == [1, 2]
    assert series(tmp_path, "model/loss") == [(2, 2.0)]


def test_a_disk_that_is_full_at_the_start(tmp_path, monkeypatch):
    class Full:
        def __init__(self, path):
            raise tf.errors.ResourceExhaustedError(None, None, "No space left on device")

    monkeypatch.setattr("clion_tf.logdir.metrics_log.io.TFRecordWriter", Full)
    with pytest.raises(OSError, match="TensorBoard events: No space left"):
        Logger(tmp_path)


def test_a_new_run_keeps_an_older_file(tmp_path):
    logger = Logger(tmp_path)
    logger.scalars(9, {"model": {"loss": 1}})
    logger.close()
    logger = Logger(tmp_path)
    logger.scalars(2, {"model": {"loss": 2}})
    logger.close()
    assert lines(tmp_path) == [{"step": 2, "loss": 2}]
    assert json.loads((tmp_path / "metrics.jsonl.old").read_text())["step"] == 9
    assert series(tmp_path, "model/loss") == [(2, 2.0)]


def test_gifs_are_read_back(tmp_path):
    frames = np.zeros((6, 32, 64, 3), np.uint8)
    for time in range(6):
        frames[time, :, 10 * time : 10 * time + 8] = 200
    logger = Logger(tmp_path)
    logger.video(10, "test/video", frames, fps=20)
    logger.close()
    images = {tag: events(tmp_path).Images(tag)[0] for tag in events(tmp_path).Tags()["images"]}
    assert images.keys() == {"test/video"}
    gif = images["test/video"]
    assert (gif.step, gif.width, gif.height) == (10, 64, 32)
    assert gif.encoded_image_string[:6] == b"GIF89a"
    decoded = imageio.imread(gif.encoded_image_string, extension=".gif", index=None)
    assert decoded.shape[0] == 6


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_progress_without_a_terminal_is_lines_only(capsys):
    progress = Progress(1000)
    progress.show(500, train=1.0)
    progress.message("Train episode of length 1000 with return 12.5.")
    progress.close()
    assert capsys.readouterr().err == "Train episode of length 1000 with return 12.5.\n"


def test_progress_on_a_terminal(monkeypatch):
    stream = Terminal()
    monkeypatch.setattr("sys.stderr", stream)
    progress = Progress(1000, initial=200)
    progress.show(500, train=12.5, updates_per_second=0.25)
    progress.show(500, test=0.0)
    progress.message("A line.")
    progress.show(5000)
    progress.close()
    text = stream.getvalue()
    assert "500/1000" in text and "1000/1000" in text and "5000" not in text
    assert "train=12.5, updates_per_second=0.25, test=0" in text
    assert "A line.\n" in text


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC])
def test_a_terminal_that_is_closed_ends_no_run(monkeypatch, number):
    stream = Terminal()
    monkeypatch.setattr("sys.stderr", stream)
    progress = Progress(1000)

    def write(text):
        raise OSError(number, "gone")

    monkeypatch.setattr(stream, "write", write)
    ended = pytest.raises(OSError, match="gone") if number != errno.EIO else nullcontext()
    with ended:
        progress.message("A line.")
    if number == errno.EIO:
        progress.show(500, train=1.0)


def test_what_a_checkpoint_counts_on_is_on_disk(tmp_path, monkeypatch):
    logger, flushed = Logger(tmp_path), []
    monkeypatch.setattr("os.fsync", lambda number: flushed.append(os.fstat(number).st_ino))
    logger.scalars(1, {"model": {"loss": 1}})
    assert logger.position > 0
    assert flushed == [(tmp_path / "metrics.jsonl").stat().st_ino]
    logger.close()
