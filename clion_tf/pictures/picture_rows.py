"""Pictures for people: rows of truth, model and error, enlarged, with words drawn in."""

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

# Of a contact sheet; the last three in pixels.
COLUMNS, ROWS, CELL, GAP, CAPTION = 6, 3, 192, 8, 36

_font = functools.lru_cache(maxsize=8)(ImageFont.load_default)


def to_pixels(image: np.ndarray) -> np.ndarray:
    """Learner's images, float in [-0.5, 0.5] and clipped to that, as uint8."""
    return np.clip(np.round((image + 0.5) * 255), 0, 255).astype(np.uint8)


def comparison(truth: np.ndarray, model: np.ndarray) -> np.ndarray:
    """Rows truth, model, error (grey: none): float [..., H, W, C] twice -> uint8 [..., 3, H, W, C].

    Dreamer's error, (model - truth) / 2, so that all of it fits into [-0.5, 0.5].
    """
    return to_pixels(np.stack([truth, model, (model - truth) / 2], axis=-4))


def table(cells: np.ndarray, size: int) -> Image.Image:
    """Pictures uint8 [rows, columns, H, W, 3] as one, each `size` pixels wide and high."""
    rows, columns, height, width, channels = cells.shape
    joined = cells.transpose(0, 2, 1, 3, 4).reshape(rows * height, columns * width, channels)
    picture = Image.fromarray(np.ascontiguousarray(joined))
    return picture.resize((columns * size, rows * size), Image.Resampling.NEAREST)


def write(picture: Image.Image, text: str, left: int, top: int, size: int) -> None:
    """Draws text, readable on light and on dark, into a cell of `size` pixels at (left, top)."""
    height = max(10, size // 16)  # Smaller letters cannot be read.
    place, draw = (left + size // 40 + 1, top + size // 64 + 1), ImageDraw.Draw(picture)
    style = {"fill": "white", "stroke_fill": "black", "stroke_width": 1 if height < 20 else 2}
    draw.multiline_text(place, text, font=_font(height), spacing=height // 4, **style)


def contact_sheet(frames: Sequence[Any]) -> Image.Image:
    """At most 18 `env_checker.Frame`s, evenly spread from first to last, with step and reward."""
    count = min(len(frames), COLUMNS * ROWS)
    width, height = CELL + GAP, CELL + GAP + CAPTION
    size = (min(count, COLUMNS) * width + GAP, -(-count // COLUMNS) * height + GAP)
    sheet = Image.new("RGB", size, (48, 48, 48))
    for place, at in enumerate(np.linspace(0, len(frames) - 1, count).round().astype(int)):
        left, top = GAP + place % COLUMNS * width, GAP + place // COLUMNS * height
        sheet.paste(table(frames[at].image[None, None], CELL), (left, top))
        text = f"step {frames[at].step}\nreward {frames[at].reward:.3g}"
        write(sheet, text, left, top + CELL, CELL)
    return sheet
