"""Videos and pictures, decoded again."""

import io
import os
import tracemalloc

import imageio.v3 as imageio
import imageio_ffmpeg
import numpy as np
import pytest
from PIL import Image

from clion_tf.pictures import video_files


def moving(frames=10, height=64, width=64, channels=3):
    """A bright square that moves to the right over a gradient."""
    result = np.zeros((frames, height, width, channels), np.uint8)
    result[:] = np.linspace(0, 120, width, dtype=np.uint8)[:, None]
    for time in range(frames):
        left = 2 + 4 * time
        result[time, 20:36, left : left + 12, 0] = 250
    return result


def closeness(left, right):
    return np.abs(left.astype(int) - right.astype(int)).mean()


@pytest.mark.parametrize("channels", [1, 3])
def test_gif_decodes(channels):
    frames = moving(channels=channels)
    data = video_files.encode_gif(frames, fps=20)
    decoded = imageio.imread(data, extension=".gif", index=None, mode="RGB")
    assert decoded.shape == (10, 64, 64, 3)
    assert closeness(decoded, np.broadcast_to(frames, decoded.shape)) < 3


@pytest.mark.parametrize(
    "fps, milliseconds", [(20, 50), (30, 30), (500, 20), (4, 250), (1e-5, 655_350)]
)
def test_gif_pace_and_endless_loop(fps, milliseconds):
    with Image.open(io.BytesIO(video_files.encode_gif(moving(3), fps))) as gif:
        assert gif.info["duration"] == milliseconds
        assert gif.info["loop"] == 0


def test_gif_keeps_the_time_of_equal_frames():
    still = moving(1).repeat(5, axis=0)
    with Image.open(io.BytesIO(video_files.encode_gif(still, 20))) as gif:
        total = 0
        for index in range(gif.n_frames):
            gif.seek(index)
            total += gif.info.get("duration", 0)
    assert gif.n_frames == 1 and total in (0, 250)  # One picture needs no time.


@pytest.mark.parametrize("channels", [1, 3])
def test_mp4_decodes_enlarged(tmp_path, channels):
    frames = moving(channels=channels)
    path = video_files.save_video(tmp_path / "with spaces é" / "walker.mp4", frames, fps=20)
    reader = imageio_ffmpeg.read_frames(str(path))
    meta = next(reader)
    decoded = [np.frombuffer(data, np.uint8).reshape(256, 256, 3) for data in reader]
    assert meta["size"] == (256, 256) and meta["fps"] == 20 and meta["codec"] == "h264"
    assert len(decoded) == 10
    expected = frames.repeat(4, axis=1).repeat(4, axis=2)
    assert closeness(np.stack(decoded), np.broadcast_to(expected, (10, 256, 256, 3))) < 6
    assert os.listdir(path.parent) == ["walker.mp4"]


@pytest.mark.parametrize(
    "height, width, expected",
    [
        (64, 64, (256, 256)),
        (64, 192, (256, 768)),
        (100, 300, (300, 900)),
        (300, 400, (300, 400)),
    ],
)
def test_gif_files_are_enlarged_by_whole_factors(tmp_path, height, width, expected):
    path = video_files.save_video(tmp_path / "a.gif", moving(2, height, width), 20)
    assert imageio.improps(path, plugin="pillow").shape[1:3] == expected


def test_odd_sizes_fit_into_mp4(tmp_path):
    path = video_files.save_clips(tmp_path / "odd.mp4", [moving(3, 63, 65)], 20)
    assert next(imageio_ffmpeg.read_frames(str(path)))["size"] == (66, 64)


def test_one_frame_is_a_video(tmp_path):
    for name in ("one.mp4", "one.gif"):
        assert video_files.save_video(tmp_path / name, moving(1), 20).stat().st_size > 100


@pytest.mark.parametrize(
    "frames, found",
    [
        (moving()[0], r"uint8 \[64, 64, 3\]"),
        (moving()[..., :2], r"uint8 \[10, 64, 64, 2\]"),
        (moving()[:0], r"uint8 \[0, 64, 64, 3\]"),
        (moving() / 255, "float64"),
    ],
)
def test_wrong_frames_are_refused(tmp_path, frames, found):
    message = f"frames must be uint8 .*, not {found}"
    for name in ("a.mp4", "a.gif"):
        with pytest.raises(ValueError, match=message) as caught:
            video_files.save_video(tmp_path / name, frames, 20)
        assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match=message):
        video_files.encode_gif(frames, 20)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    "script, message",
    [
        ("echo begun >&2; echo no room left >&2; exit 1", "no room left"),
        ("exit 0", "no reason given|Broken pipe"),
        # Killed at the end: what it has written cannot be read.
        ('"$FFMPEG" "$@"; eval "last=\\${$#}"; truncate -s 900 "$last"', "no reason given"),
        # All but the last frames.
        ('head -c 61440 | "$FFMPEG" "$@"', "no reason given|Broken pipe"),
    ],
)
def test_a_failed_mp4_leaves_the_old_one(tmp_path, monkeypatch, capfd, script, message):
    path = video_files.save_video(tmp_path / "videos" / "a.mp4", moving(), 20)
    before = path.read_bytes()
    broken = tmp_path / "ffmpeg"
    broken.write_text(f'#!/bin/sh\ncase "$*" in *libx264*) {script};; *) "$FFMPEG" "$@";; esac\n')
    broken.chmod(0o755)
    monkeypatch.setenv("FFMPEG", imageio_ffmpeg.get_ffmpeg_exe())
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(broken))
    with pytest.raises(OSError, match=f"^ffmpeg wrote no video: .*({message})") as caught:
        video_files.save_video(path, moving(), 20)
    assert "\n" not in str(caught.value) and capfd.readouterr() == ("", "")
    assert path.read_bytes() == before and os.listdir(path.parent) == ["a.mp4"]


def test_no_ffmpeg_is_said(tmp_path, monkeypatch):
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(tmp_path / "none"))
    with pytest.raises(OSError, match=r"wrote no video: .*No such file"):
        video_files.save_video(tmp_path / "a.mp4", moving(), 20)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("name", ["a.mp4", "a.gif"])
def test_clips_come_one_after_the_other(tmp_path, name):
    frames = moving(9)
    whole = video_files.save_clips(tmp_path / f"whole-{name}", [frames], 20)
    clips = (frames[start : start + 3] for start in (0, 3, 6))
    path = video_files.save_clips(tmp_path / name, clips, 20)
    decoded = [imageio.imread(p, index=None, **_reader(p)) for p in (path, whole)]
    assert decoded[0].shape == decoded[1].shape == (9, 64, 64, 3)
    assert closeness(*decoded) < 3


def _reader(path):
    return {"mode": "RGB"} if path.suffix == ".gif" else {"plugin": "FFMPEG"}


def test_an_mp4_keeps_one_clip_in_memory(tmp_path):
    def clips():
        for start in range(20):
            yield np.full((20, 64, 64, 3), 10 * start, np.uint8)

    tracemalloc.start()
    video_files.save_clips(tmp_path / "a.mp4", clips(), 20)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 3 * 20 * 64 * 64 * 3  # Of 20 clips; one is being made while one is written.


@pytest.mark.parametrize("name", ["a.mp4", "a.gif"])
def test_a_clip_that_cannot_be_made_leaves_nothing(tmp_path, name):
    def failing(error):
        yield moving(3)
        raise error

    for error in (BrokenPipeError("the simulator is gone"), KeyboardInterrupt("Ctrl-C")):
        with pytest.raises(type(error), match=str(error)):
            video_files.save_clips(tmp_path / name, failing(error), 20)
    assert os.listdir(tmp_path) == []
