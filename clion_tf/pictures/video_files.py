"""Videos and pictures as files or bytes, by packages that bring all they need (no system ffmpeg).

Frames are uint8 [T, H, W, C] with C = 1 or 3.
"""

import contextlib
import io
import os
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

import imageio.v3 as imageio
import imageio_ffmpeg
import numpy as np
from PIL import Image

from clion_tf.files import atomic_write

SUFFIXES = (".mp4", ".gif")

_PALETTE_FRAMES = 32  # Frames of a GIF, evenly spread, from which its colours are chosen.
_SMALLEST_SIDE = 256  # Pixels to which the smaller side is enlarged at least.


def encode_gif(frames: np.ndarray, fps: float, scale: int = 1) -> bytes:
    """An endless GIF of frames uint8 [T, H, W, C], each pixel a square of `scale` pixels.

    All frames share 256 colours ("ours": 7 times faster than colours for each, half the bytes, no
    flicker). GIFs count in hundredths of a second and viewers slow down what is faster than 50
    frames per second, so the pace is the nearest that all can keep. Equal frames in a row are
    stored as one that is shown longer.
    """
    encoded = io.BytesIO()
    _write_gif(encoded, [_checked(frames, fps)], fps, scale)
    return encoded.getvalue()


def _write_gif(file: BinaryIO, clips: Iterable[np.ndarray], fps: float, scale: int) -> None:
    pace = max(20, 10 * round(100 / fps))
    with imageio.imopen(file, "w", plugin="pillow", extension=".gif") as gif:
        for indices, palette in _quantized(clips):
            enlarged = indices.repeat(scale, axis=0).repeat(scale, axis=1)
            gif.write(enlarged, palette=palette, duration=pace, loop=0)


def _quantized(clips: Iterable[np.ndarray]) -> Iterator[tuple[np.ndarray, bytes]]:
    """Frames as uint8 [H, W] indices of 256 colours, chosen from the first clip, and these."""
    palette = None
    for frames in clips:
        width = frames.shape[2]
        rgb = np.ascontiguousarray(np.broadcast_to(frames, (*frames.shape[:-1], 3)))
        if palette is None:
            few = rgb[:: -(-len(rgb) // _PALETTE_FRAMES)]
            palette = Image.fromarray(few.reshape(-1, width, 3)).quantize(256)
            colours = bytes(palette.getpalette())
        for frame in rgb:
            picture = Image.fromarray(frame).quantize(palette=palette, dither=Image.Dither.NONE)
            yield np.asarray(picture), colours


def save_video(path: Path | str, frames: np.ndarray, fps: float, scale: int | None = None) -> Path:
    """Writes frames uint8 [T, H, W, C] as .mp4 or .gif, whole or not at all; returns the path.

    Each pixel becomes a square of `scale` pixels; without a scale, as many as bring the smaller
    side to 256. An odd side of an MP4 gets one line more, for H.264 wants even ones. Raises
    ValueError for frames or a suffix that cannot be, OSError if the file cannot be written.
    """
    frames = _checked(frames, fps)
    if scale is None:
        scale = max(1, -(-_SMALLEST_SIDE // min(frames.shape[1:3])))
    if scale < 1:
        raise ValueError(f"scale must be at least 1, not {scale}")
    return save_clips(path, [frames], fps, scale)


def save_clips(path: Path | str, clips: Iterable[np.ndarray], fps: float, scale: int = 1) -> Path:
    """Like `save_video` for clips uint8 [T, H, W, C] of one size, one after the other.

    Each is encoded as it comes, so that only one need be in memory. A GIF takes its colours from
    the first, and is written at the end: until then a byte a pixel is kept. What making a clip
    raises goes on to the caller, and nothing is written.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise ValueError(f"a video is .mp4 or .gif, not {path.name!r}")
    path.parent.mkdir(parents=True, exist_ok=True)
    write = _write_gif if suffix == ".gif" else _write_mp4
    with atomic_write(path) as file:
        write(file, _of_one_size(clips, fps), fps, scale)
    return path


def _of_one_size(clips: Iterable[np.ndarray], fps: float) -> Iterator[np.ndarray]:
    size = None
    for clip in clips:
        frames = _checked(clip, fps)
        size = frames.shape[1:] if size is None else size
        if frames.shape[1:] != size:
            raise ValueError(f"clips must be of one size, not {size} and {frames.shape[1:]}")
        yield frames
    if size is None:
        raise ValueError("a video needs at least one clip")


def grid(videos: np.ndarray) -> np.ndarray:
    """Puts videos [B, T, H, W, C] side by side: [T, H, B * W, C]."""
    videos = np.asarray(videos)
    if videos.ndim != 5:
        raise ValueError(f"videos must be [B, T, H, W, C], not {list(videos.shape)}")
    batch, time, height, width, channels = videos.shape
    return videos.transpose(1, 2, 0, 3, 4).reshape(time, height, batch * width, channels)


def _checked(frames: np.ndarray, fps: float) -> np.ndarray:
    frames = np.asarray(frames)
    if frames.ndim != 4 or frames.shape[-1] not in (1, 3) or 0 in frames.shape:
        raise ValueError(f"frames must be [T, H, W, 1 or 3], not {list(frames.shape)}")
    if frames.dtype != np.uint8:
        raise ValueError(f"frames must be uint8, not {frames.dtype}")
    if not fps > 0:
        raise ValueError(f"fps must be positive, not {fps}")
    return frames


def _write_mp4(file: BinaryIO, clips: Iterable[np.ndarray], fps: float, scale: int) -> None:
    """Has ffmpeg write to the file's name. Raises OSError with its last words if it fails."""
    name = os.path.abspath(file.name)
    # ffmpeg enlarges the frames itself, so that they are held here at their own size only.
    filters = f"scale=iw*{scale}:ih*{scale}:flags=neighbor,pad=ceil(iw/2)*2:ceil(ih/2)*2"
    options = ["-vf", filters, "-crf", "16", "-movflags", "+faststart", "-f", "mp4"]
    settings = {"fps": fps, "codec": "libx264", "macro_block_size": 1, "ffmpeg_log_level": "error"}
    frames = (frame for clip in clips for frame in clip)
    count, problem = 0, "no reason given"
    with tempfile.TemporaryFile() as errors:
        with (
            imageio.imopen(name, "w", plugin="FFMPEG", extension=".mp4") as video,
            video.legacy_get_writer(**settings, output_params=options) as writer,
        ):
            for frame in frames:
                try:
                    with _stderr_to(errors) if not count else contextlib.nullcontext():
                        writer.append_data(frame)  # The first one starts ffmpeg.
                except (OSError, RuntimeError) as error:
                    problem = str(error)  # It has ended early, is missing, or does not start.
                    break
                count += 1
        if not _holds(name, count):
            errors.seek(0)
            said = errors.read().decode(errors="replace").strip().splitlines()
            raise OSError(f"ffmpeg wrote no video: {said[-1] if said else problem.splitlines()[0]}")


@contextlib.contextmanager
def _stderr_to(file: BinaryIO) -> Iterator[None]:
    """What a process that is started meanwhile writes to stderr, ever, goes into the file."""
    sys.stderr.flush()
    kept = os.dup(2)
    os.dup2(file.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _holds(name: str, count: int) -> bool:
    """Whether a video can be read and has so many frames: imageio hides how ffmpeg ended."""
    try:
        return imageio_ffmpeg.count_frames_and_secs(name)[0] == count > 0
    except (RuntimeError, OSError):
        return False
