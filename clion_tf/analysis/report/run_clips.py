"""Videos and animated GIFs of a run: whole, as data URIs, so that the page needs nothing else."""

import contextlib
import itertools
from collections.abc import Iterator
from typing import NamedTuple

import imageio.v3 as imageio

from clion_tf.analysis.report.small_figures import uri
from clion_tf.logdir.run_folder import RunFolder

KINDS = {".mp4": "video/mp4", ".gif": "image/gif"}
# What a run's videos show, and the names of their rows, from the top.
SHOWN = {
    "test": ("Evaluation", ()),
    "openloop": ("Open-loop prediction", ("truth", "prediction", "error")),
    "memory": ("Decoded from noisy memory", ("input", "decoded", "error")),
}


class Clip(NamedTuple):
    """A video or an animated GIF."""

    title: str  # What it shows.
    step: int  # Environment steps of the run then.
    uri: str  # With all its content.
    rows: tuple[str, ...] = ()
    poster: str = ""  # A video's first frame: phones show nothing else before it plays.


def read(folder: RunFolder) -> list[Clip]:
    """The newest of each of SHOWN that there is."""
    found = (itertools.islice(_newest_first(folder, what), 1) for what in SHOWN)
    return list(itertools.chain.from_iterable(found))


def _newest_first(folder: RunFolder, what: str) -> Iterator[Clip]:
    """Those that can be decoded."""
    title, rows = SHOWN[what]
    for steps, path in reversed(folder.video_files(what)):
        if not (kind := KINDS.get(path.suffix.lower())):
            continue
        poster = ""
        with contextlib.suppress(OSError, RuntimeError, StopIteration, IndexError):
            frame = imageio.imread(path, index=0)
            if kind == "video/mp4":
                poster = uri(imageio.imwrite("<bytes>", frame, extension=".png"), "image/png")
            yield Clip(title, steps, uri(path.read_bytes(), kind), rows, poster)
