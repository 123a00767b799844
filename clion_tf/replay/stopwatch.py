"""Where the time of a loop goes."""

import contextlib
import time
from collections import defaultdict
from collections.abc import Iterator

# Parts of the training loop whose seconds are logged: making updates, waiting for their data, the
# policy and the environment in training episodes, checkpoints, evaluation.
PARTS = ("update", "wait", "policy", "environment", "save", "evaluate")


class Stopwatch:
    """Seconds spent in named parts; a part within another is taken out of the outer one."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = defaultdict(float)
        self._inner = 0.0  # Seconds of the parts within the one that is open.
        self._begun = time.perf_counter()

    @contextlib.contextmanager
    def __call__(self, part: str) -> Iterator[None]:
        """`with watch("update"):` counts what is inside."""
        start, before, self._inner = time.perf_counter(), self._inner, 0.0
        try:
            yield
        finally:
            seconds = time.perf_counter() - start
            self._seconds[part] += seconds - self._inner
            self._inner = before + seconds

    def take(self) -> tuple[float, dict[str, float]]:
        """(seconds, {part: seconds}) since it was last asked, outside all parts."""
        now, parts = time.perf_counter(), dict(self._seconds)
        seconds, self._begun = now - self._begun, now
        self._seconds.clear()
        return seconds, parts
