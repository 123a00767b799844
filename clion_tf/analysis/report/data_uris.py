"""Videos and pictures for a page: whole, and as data URIs, so that the page needs nothing else."""

import base64
import io
import pathlib
import re

import imageio_ffmpeg
from PIL import Image

KINDS = {".mp4": "video/mp4", ".gif": "image/gif"}


def uri(content: bytes, kind: str) -> str:
    """A data URI of a media type."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def is_gif(content: bytes) -> bool:
    """Whether all frames can be decoded."""
    if not content.startswith(b"GIF8"):
        return False
    try:
        with Image.open(io.BytesIO(content)) as picture:
            for i in range(picture.n_frames):
                picture.seek(i)
                picture.load()
    except (OSError, ValueError, SyntaxError, EOFError):
        return False
    return True


def is_mp4(content: bytes) -> bool:
    """Whether the boxes of the file are whole, with an index among them."""
    names, offset = [], 0
    while offset + 8 <= len(content):
        size = int.from_bytes(content[offset : offset + 4])
        names.append(content[offset + 4 : offset + 8])
        if size == 1:
            size = int.from_bytes(content[offset + 8 : offset + 16])
        offset += size or len(content)  # 0: to the end.
        if 0 < size < 8:
            return False
    return names[:1] == [b"ftyp"] and b"moov" in names and offset == len(content)


def first_frame(path: pathlib.Path) -> bytes | None:
    """A video's first frame as a PNG, None if it cannot be decoded."""
    frames = imageio_ffmpeg.read_frames(str(path))
    try:
        width, height = next(frames)["size"]
        pixels = next(frames)
    except (OSError, RuntimeError, StopIteration):
        return None
    finally:
        frames.close()
    content = io.BytesIO()
    Image.frombytes("RGB", (width, height), pixels).save(content, "PNG", optimize=True)
    return content.getvalue()


def newest_video(folder: pathlib.Path) -> tuple[pathlib.Path, bytes] | None:
    """(path, content) of the newest evaluation's video that is whole; None if there is none."""
    paths = [path for path in folder.glob("*.*") if path.suffix.lower() in KINDS]
    for path in sorted(paths, key=lambda path: (video_step(path) or 0, path.name), reverse=True):
        try:
            content = path.read_bytes()
        except OSError:
            continue
        if is_mp4(content) if path.suffix.lower() == ".mp4" else is_gif(content):
            return path, content
    return None


def video_step(path: pathlib.Path) -> int | None:
    """Environment steps in the name of an evaluation's video."""
    match = re.fullmatch(r"test-(\d+)", path.stem)
    return int(match[1]) if match else None
