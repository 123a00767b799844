"""Videos and pictures as files or bytes, by packages that bring all they need (no system ffmpeg).

Frames are uint8 [T, H, W, C] with C = 1 or 3.
"""

import contextlib
import io
import os
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO

import imageio_ffmpeg
import numpy as np
from PIL import Image

from clion_tf.files import atomic_write

SUFFIXES = (".mp4", ".gif")

_PALETTE_FRAMES = 32  # Frames of a GIF, evenly spread, from which its colours are chosen.
_SMALLEST_SIDE = 256  # Pixels to which the smaller side is enlarged at least.


def encode_gif(frames: np.ndarray, fps: float) -> bytes:
    """An endless GIF of frames uint8 [T, H, W, C].

    All frames share 256 colours ("ours": 7 times faster than colours for each, half the bytes, no
    flicker). GIFs count in hundredths of a second and viewers slow down what is faster than 50
    frames per second, so the pace is the nearest that all can keep. Equal frames in a row are
    stored as one that is shown longer.
    """
    encoded = io.BytesIO()
    _write_gif(encoded, _colored([frames]), fps, 1)
    return encoded.getvalue()


def save_video(path: Path | str, frames: np.ndarray, fps: float) -> Path:
    """`save_clips` of frames uint8 [T, H, W, C], enlarged until the smaller side has 256 pixels."""
    scale = max(1, -(-_SMALLEST_SIDE // min(frames.shape[1:3])))
    return save_clips(path, [frames], fps, scale)


def save_clips(path: Path | str, clips: Iterable[np.ndarray], fps: float, scale: int = 1) -> Path:
    """Writes clips uint8 [T, H, W, C] of one size, one after the other, as .mp4 or .gif.

    The file appears whole or not at all. Each clip is encoded as it comes, so that only one need be
    in memory. A GIF takes its colours from the first, and is written at the end: until then a byte
    a pixel is kept. Each pixel becomes a square of `scale` pixels; an odd side of an MP4 gets one
    line more, for H.264 wants even ones.

    Raises:
      ValueError: for clips or a suffix that cannot be.
      OSError: if the file cannot be written. What making a clip raises goes on to the caller.
    """
    path = Path(path)
    if path.suffix.lower() not in SUFFIXES:
        raise ValueError(f"a video is .mp4 or .gif, not {path.name!r}")
    path.parent.mkdir(parents=True, exist_ok=True)
    write = _write_gif if path.suffix.lower() == ".gif" else _write_mp4
    with atomic_write(path) as file:
        write(file, _colored(clips), fps, scale)
    return path


def grid(videos: np.ndarray) -> np.ndarray:
    """Puts videos [B, T, H, W, C] side by side: [T, H, B * W, C]."""
    return np.concatenate(list(videos), axis=2)


def _colored(clips: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """The clips as uint8 [T, H, W, 3]."""
    size = None
    for frames in clips:
        size = size or frames.shape[1:3]
        fits = frames.ndim == 4 and frames.shape[1:3] == size and frames.shape[-1] in (1, 3)
        if not fits or frames.dtype != np.uint8 or 0 in frames.shape:
            found = f"{frames.dtype} {list(frames.shape)}"
            raise ValueError(f"frames must be uint8 [T, H, W, 1 or 3] of one size, not {found}")
        yield np.ascontiguousarray(np.broadcast_to(frames, (*frames.shape[:-1], 3)))


def _write_gif(file: BinaryIO, clips: Iterable[np.ndarray], fps: float, scale: int) -> None:
    pictures = _quantized(clips, scale)
    pace = max(20, 10 * round(100 / fps))
    first = next(pictures)
    how = {"save_all": True, "append_images": pictures, "palette": bytes(first.getpalette())}
    first.save(file, "GIF", duration=pace, loop=0, **how)


def _quantized(clips: Iterable[np.ndarray], scale: int) -> Iterator[Image.Image]:
    """Frames in 256 colours, chosen from the first clip."""
    palette = None
    for frames in clips:
        _, height, width, _ = frames.shape
        if palette is None:
            few = frames[:: -(-len(frames) // _PALETTE_FRAMES)]
            palette = Image.fromarray(few.reshape(-1, width, 3)).quantize(256)
        for frame in frames:
            picture = Image.fromarray(frame).quantize(palette=palette, dither=Image.Dither.NONE)
            yield picture.resize((scale * width, scale * height), Image.Resampling.NEAREST)


def _write_mp4(file: BinaryIO, clips: Iterator[np.ndarray], fps: float, scale: int) -> None:
    """Has ffmpeg write to the file's name. Raises OSError with its last words if it fails."""
    first = next(clips)
    height, width = first.shape[1:3]
    source = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}"]
    # ffmpeg enlarges the frames itself, so that they are held here at their own size only.
    filters = f"scale=iw*{scale}:ih*{scale}:flags=neighbor,pad=ceil(iw/2)*2:ceil(ih/2)*2"
    options = ["-vf", filters, "-pix_fmt", "yuv420p", "-crf", "16", "-movflags", "+faststart"]
    rate = str(Fraction(fps).limit_denominator())
    command = [_ffmpeg(), "-y", "-v", "error", *source, "-r", rate, "-i", "-", "-an"]
    command += ["-vcodec", "libx264", *options, "-f", "mp4", os.path.abspath(file.name)]
    with tempfile.TemporaryFile() as errors:
        # In a process group of its own, so that a Ctrl-C does not end it in the middle of a frame.
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stderr=errors, process_group=0
        ) as ffmpeg:
            whole = _sent(ffmpeg.stdin, first) and all(_sent(ffmpeg.stdin, clip) for clip in clips)
            with contextlib.suppress(BrokenPipeError):
                ffmpeg.stdin.close()
        if not whole or ffmpeg.returncode:
            errors.seek(0)
            said = errors.read().decode(errors="replace").strip().splitlines()
            raise OSError(f"ffmpeg wrote no video: {said[-1] if said else 'no reason given'}")


def _ffmpeg() -> str:
    try:
        return imageio_ffmpeg.get_ffmpeg_exe()
    except RuntimeError as error:
        raise OSError(str(error)) from error


def _sent(pipe: BinaryIO, frames: np.ndarray) -> bool:
    """Whether there was still someone to read them."""
    try:
        pipe.write(frames.data)
        pipe.flush()
    except BrokenPipeError:
        return False
    return True
