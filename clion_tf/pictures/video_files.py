"""Videos and pictures as files or bytes, by packages that bring all they need (no system ffmpeg).

Frames are uint8 [T, H, W, C] with C = 1 or 3; ValueError for others.
"""

import contextlib
import io
import itertools
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

import imageio.v3 as imageio
import imageio_ffmpeg
import numpy as np
from PIL import Image

from clion_tf.console import stderr_to
from clion_tf.files import atomic_write

SUFFIXES = (".mp4", ".gif")

_PALETTE_FRAMES = 32  # Frames of a GIF, evenly spread, from which its colours are chosen.
_SMALLEST_SIDE = 256  # Pixels to which the smaller side is enlarged at least.


def encode_gif(frames: np.ndarray, fps: float) -> bytes:
    """An endless GIF, of which `_write_gif` says what its colours and its pace are."""
    encoded = io.BytesIO()
    _write_gif(encoded, [_checked(frames)], fps, 1)
    return encoded.getvalue()


def save_video(path: Path | str, frames: np.ndarray, fps: float) -> Path:
    """As `save_clips` of one clip, enlarged so that each side has at least 256 pixels."""
    scale = -(-_SMALLEST_SIDE // min(np.shape(frames)[1:3]))
    return save_clips(path, [frames], fps, scale)


def save_clips(path: Path | str, clips: Iterable[np.ndarray], fps: float, scale: int = 1) -> Path:
    """Writes clips of one size, one after the other, as .mp4 or .gif; returns the path.

    Each pixel becomes a square of `scale` by `scale` pixels; an odd side of an MP4 gets one line
    more, as H.264 needs even sides. Clips are encoded one by one, so that memory holds one of them
    (and for a GIF, one byte for each pixel so far). The file appears whole or not at all. Errors
    in making a clip reach the caller; OSError if the file cannot be written.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    write = _write_gif if path.suffix.lower() == ".gif" else _write_mp4
    with atomic_write(path) as file:
        write(file, map(_checked, clips), fps, scale)
    return path


def _checked(frames: np.ndarray) -> np.ndarray:
    shape, kind = np.shape(frames), np.asarray(frames).dtype
    if len(shape) != 4 or shape[-1] not in (1, 3) or 0 in shape or kind != np.uint8:
        raise ValueError(f"frames must be uint8 [T, H, W, 1 or 3], not {kind} {list(shape)}")
    return frames


def _write_gif(file: BinaryIO, clips: Iterable[np.ndarray], fps: float, scale: int) -> None:
    """All frames share 256 colours, those of the first clip.

    That is ours: 7 times faster than colours for each, half the bytes, no flicker. GIFs count in
    hundredths of a second and viewers slow down what is faster than 50 frames per second, so the
    pace is the nearest that all can keep. Equal frames in a row are stored as one shown longer.
    """
    pace, palette = min(655_350, max(20, 10 * round(100 / fps))), None
    encoded = io.BytesIO()  # On a full disk this writer, writing to the file, would raise twice.
    with imageio.imopen(encoded, "w", plugin="pillow", extension=".gif") as gif:
        for frames in clips:
            rgb = np.ascontiguousarray(np.broadcast_to(frames, (*frames.shape[:-1], 3)))
            if palette is None:
                few = rgb[:: -(-len(rgb) // _PALETTE_FRAMES)]
                palette = Image.fromarray(few.reshape(-1, rgb.shape[2], 3)).quantize(256)
                colours = bytes(palette.getpalette())
            for frame in map(Image.fromarray, rgb):
                indices = np.asarray(frame.quantize(palette=palette, dither=Image.Dither.NONE))
                enlarged = indices.repeat(scale, axis=0).repeat(scale, axis=1)
                gif.write(enlarged, palette=colours, duration=pace, loop=0)
    file.write(encoded.getvalue())


def _write_mp4(file: BinaryIO, clips: Iterable[np.ndarray], fps: float, scale: int) -> None:
    """Has ffmpeg write to the file's name. Raises OSError with its last words if it fails."""
    name = os.path.abspath(file.name)
    # ffmpeg enlarges the frames itself, so that they are held here at their own size only.
    filters = f"scale=iw*{scale}:ih*{scale}:flags=neighbor,pad=ceil(iw/2)*2:ceil(ih/2)*2"
    options = ["-vf", filters, "-crf", "16", "-movflags", "+faststart", "-f", "mp4"]
    settings = {"fps": fps, "codec": "libx264", "macro_block_size": 1, "ffmpeg_log_level": "error"}
    count, written, problem = 0, 0, "no reason given"
    with tempfile.TemporaryFile() as errors:
        with (
            imageio.imopen(name, "w", plugin="FFMPEG", extension=".mp4") as video,
            # By itself a writer closes, and ends ffmpeg, only where nothing was raised.
            contextlib.closing(
                video.legacy_get_writer(**settings, output_params=options)
            ) as writer,
        ):
            for frame in itertools.chain.from_iterable(clips):
                try:
                    with contextlib.nullcontext() if count else stderr_to(errors):
                        writer.append_data(frame)  # The first one starts ffmpeg.
                except (OSError, RuntimeError) as error:
                    # It has ended early, is missing, or does not start.
                    problem = str(error).splitlines()[0]
                    break
                count += 1
        with contextlib.suppress(RuntimeError, OSError):  # imageio hides how ffmpeg ended.
            written = imageio_ffmpeg.count_frames_and_secs(name)[0]
        if not count or written != count:
            errors.seek(0)
            said = errors.read().decode(errors="replace").strip().splitlines() or [problem]
            raise OSError(f"ffmpeg wrote no video: {said[-1]}")
