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
        self._open: list[str] = []
        self._begun = self._since = time.perf_counter()

    @contextlib.contextmanager
    def __call__(self, part: str) -> Iterator[None]:
        """`with watch("update"):` counts what is inside."""
        self._charge()
        self._open.append(part)
        try:
            yield
        finally:
            self._charge()
            self._open.pop()

    def take(self) -> tuple[float, dict[str, float]]:
        """(seconds, {part: seconds}) since it was last asked."""
        self._charge()
        seconds, parts = self._since - self._begun, dict(self._seconds)
        self._begun = self._since
        self._seconds.clear()
        return seconds, parts

    def _charge(self) -> None:
        now = time.perf_counter()
        if self._open:
            self._seconds[self._open[-1]] += now - self._since
        self._since = now
