"""Frames of one episode side by side, as an agent sees them."""

from collections.abc import Sequence

import numpy as np
from PIL import Image

from clion_tf.envs.env_checker import Frame
from clion_tf.pictures import picture_rows

COLUMNS, ROWS = 6, 3
CELL, GAP, CAPTION = 192, 8, 36  # pixels
BACKGROUND = (48, 48, 48)


def draw(frames: Sequence[Frame]) -> Image.Image:
    """At most 18 frames, evenly spread from the first to the last, over their step and reward."""
    count = min(len(frames), COLUMNS * ROWS)
    chosen = [frames[i] for i in np.linspace(0, len(frames) - 1, count).round().astype(int)]
    width, height = CELL + GAP, CELL + GAP + CAPTION
    columns, rows = min(count, COLUMNS), -(-count // COLUMNS)
    sheet = Image.new("RGB", (columns * width + GAP, rows * height + GAP), BACKGROUND)
    for number, frame in enumerate(chosen):
        row, column = divmod(number, COLUMNS)
        left, top = GAP + column * width, GAP + row * height
        sheet.paste(picture_rows.table(frame.image[None, None], CELL), (left, top))
        text = f"step {frame.step}\nreward {frame.reward:.3g}"
        picture_rows.write(sheet, text, left, top + CELL, CELL)
    return sheet
