"""What a run logged, kept beside its curve file, so that a result can be looked into later.

`NAME.metrics.jsonl.gz` holds the lines of metrics.jsonl, `NAME.diagnostics.jsonl.gz` the
diagnostics of each evaluation, one a line. Of more than LINES lines of metrics those with an
evaluation are kept and evenly spread others.
"""

import gzip
import pathlib
from collections.abc import Sequence

from clion_tf.files import atomic_write
from clion_tf.logdir.run_folder import RunFolder

LINES = 1000


def save(logdir: pathlib.Path, path: pathlib.Path) -> list[pathlib.Path]:
    """Writes what there is of a run; equal logs give equal files.

    Args:
      logdir: of the run.
      path: its curve file, whose name the others get.

    Returns:
      the files written.

    Raises:
      OSError: if a log cannot be read or a file not be written.
    """
    folder = RunFolder(logdir)
    metrics = folder.metrics_file
    found = {
        "metrics": thinned(metrics.read_bytes().splitlines()) if metrics.is_file() else [],
        "diagnostics": [
            # As one line; what is damaged is as good there.
            b" ".join(each.read_bytes().split(b"\n"))
            for each in folder.diagnostics_files()
        ],
    }
    written = []
    for kind, lines in found.items():
        if lines:
            target = path.with_name(f"{path.stem}.{kind}.jsonl.gz")
            with atomic_write(target) as file:
                file.write(gzip.compress(b"\n".join([*lines, b""]), mtime=0))
            written.append(target)
    return written


def thinned(lines: Sequence[bytes], most: int = LINES) -> list[bytes]:
    """Up to `most` lines, and more only where that many hold an evaluation."""
    if len(lines) <= most:
        return list(lines)
    kept = {number for number, line in enumerate(lines) if b'"test/return"' in line}
    others = [number for number in range(len(lines)) if number not in kept]
    room = max(0, most - len(kept))
    kept |= {others[i * len(others) // room] for i in range(room)} if room else set()
    return [line for number, line in enumerate(lines) if number in kept]
