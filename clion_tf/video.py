"""Videos and pictures as files or bytes, by packages that bring all they need (no system ffmpeg).

Frames are uint8 [T, H, W, C] with C = 1 or 3.
"""

import contextlib
import io
import itertools
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

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
    return _encode_gif([_checked(frames, fps)], fps, scale)


def _encode_gif(clips: Iterable[np.ndarray], fps: float, scale: int) -> bytes:
    pictures = _quantized(clips, scale)
    encoded = io.BytesIO()
    pace = max(20, 10 * round(100 / fps))
    next(pictures).save(
        encoded, "GIF", save_all=True, append_images=pictures, duration=pace, loop=0
    )
    return encoded.getvalue()


def _quantized(clips: Iterable[np.ndarray], scale: int) -> Iterator[Image.Image]:
    """Frames in 256 colours, chosen from the first clip."""
    palette = None
    for frames in clips:
        _, height, width, _ = frames.shape
        rgb = np.ascontiguousarray(np.broadcast_to(frames, (*frames.shape[:-1], 3)))
        if palette is None:
            few = rgb[:: -(-len(rgb) // _PALETTE_FRAMES)]
            palette = Image.fromarray(few.reshape(-1, width, 3)).quantize(256)
        for frame in rgb:
            picture = Image.fromarray(frame).quantize(palette=palette, dither=Image.Dither.NONE)
            yield picture.resize((width * scale, height * scale), Image.Resampling.NEAREST)


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

    Each is encoded as it comes, so that only one need be in memory; a GIF takes its colours from
    the first. What making a clip raises goes on to the caller, and nothing is written.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise ValueError(f"a video is .mp4 or .gif, not {path.name!r}")
    path.parent.mkdir(parents=True, exist_ok=True)
    encode = _encode_gif if suffix == ".gif" else _encode_mp4
    encoded = encode(_of_one_size(clips, fps), fps, scale)
    with atomic_write(path) as file:
        file.write(encoded)
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


def _encode_mp4(clips: Iterator[np.ndarray], fps: float, scale: int) -> bytes:
    first = next(clips)
    _, height, width, channels = first.shape
    source = ["-f", "rawvideo", "-pix_fmt", "rgb24" if channels == 3 else "gray"]
    source += ["-s", f"{width}x{height}", "-r", str(fps), "-i", "-"]
    # ffmpeg enlarges the frames itself, so that they are held here at their own size only.
    filters = f"scale=iw*{scale}:ih*{scale}:flags=neighbor,pad=ceil(iw/2)*2:ceil(ih/2)*2"
    target = ["-vf", filters, "-c:v", "libx264", "-crf", "16", "-pix_fmt", "yuv420p"]
    with tempfile.TemporaryDirectory() as folder:  # An MP4's index needs a file, not a pipe.
        path = Path(folder) / "video.mp4"
        target += ["-movflags", "+faststart", "-f", "mp4", str(path)]
        command = [imageio_ffmpeg.get_ffmpeg_exe(), "-y", "-v", "error", *source, *target]
        _feed(command, itertools.chain([first], clips))
        return path.read_bytes()


def _feed(command: list[str], clips: Iterable[np.ndarray]) -> None:
    """Runs ffmpeg on the clips' bytes. Raises OSError with its last words if it fails."""
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=errors
        )
        try:
            for clip in clips:
                try:
                    process.stdin.write(np.ascontiguousarray(clip).data)
                except BrokenPipeError:
                    break  # It has ended early, and says why.
        except BaseException:
            process.kill()  # A clip could not be made: nobody waits for the video any more.
            raise
        finally:
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()
            code = process.wait()
        if code != 0:
            errors.seek(0)
            reason = errors.read().decode(errors="replace").strip().splitlines()
            raise OSError(f"ffmpeg wrote no video: {reason[-1] if reason else 'no reason given'}")
