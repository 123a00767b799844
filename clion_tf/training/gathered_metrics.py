"""What a run gathers between two lines of its log: means over updates, speed, where time went."""

from collections.abc import Mapping

from clion_tf.config import Config
from clion_tf.logdir.checkpoints import Counters
from clion_tf.replay.stopwatch import PARTS, Stopwatch

Groups = dict[str, dict[str, float]]


class GatheredMetrics:
    """Sums over updates, which are in the counters, so that a resumed run has them too."""

    def __init__(self, config: Config, counters: Counters, watch: Stopwatch):
        self._config, self._counters, self._watch = config, counters, watch
        self._since = 0, 0

    def start(self) -> None:
        """From now on the seconds count."""
        self._since = self._counters.steps, self._counters.updates
        self._watch.take()

    def add(self, metrics: Mapping[str, float]) -> None:
        """An update's metrics, by `group/name`."""
        counters = self._counters
        counters.sums_count += 1
        for name, value in metrics.items():
            counters.sums[name] = counters.sums.get(name, 0.0) + value

    @property
    def pending(self) -> bool:
        """Whether there was an update, even one that was skipped."""
        return bool(self._counters.sums_count or self._counters.skipped)

    def groups(self) -> Groups:
        """By group and name: means over the updates, and the speed since this was last asked."""
        counters = self._counters
        groups: Groups = {"": {"updates": counters.updates}}
        for name, total in counters.sums.items():
            group, leaf = name.split("/", 1)
            groups.setdefault(group, {})[leaf] = total / counters.sums_count
        groups["speed"] = self._speed()
        groups.setdefault("model", {})["skipped_updates"] = counters.skipped
        amount = self._config.exploration(counters.steps)
        groups.setdefault("behaviour", {})["expl_amount"] = amount
        return groups

    def clear(self) -> None:
        """Begins anew: what was gathered is logged."""
        counters = self._counters
        counters.sums, counters.sums_count, counters.skipped = {}, 0, 0
        counters.logged_at = counters.steps

    def _speed(self) -> dict[str, float]:
        """Environment steps and updates per second, and seconds: of all and of each part."""
        counters = self._counters
        seconds, parts = self._watch.take()
        steps, updates = counters.steps - self._since[0], counters.updates - self._since[1]
        self._since = counters.steps, counters.updates
        found = {"fps": steps / seconds, "updates_per_second": updates / seconds}
        found |= {"loop_seconds": seconds}
        found |= {f"{part}_seconds": parts.get(part, 0.0) for part in PARTS}
        if logged := counters.steps - counters.logged_at:
            found["updates_per_env_step"] = (counters.sums_count + counters.skipped) / logged
        return found


def loss_text(groups: Mapping[str, Mapping[str, float]]) -> str:
    """What a line on the console shows of the updates: an agent has one of these losses."""
    for group, name in (("model", "model_loss"), ("behaviour", "critic_loss")):
        if name in groups.get(group, {}):
            value = groups[group][name]
            return f", {name.replace('_', ' ')} {value:{'.1f' if abs(value) >= 100 else '.3g'}}"
    return ""
