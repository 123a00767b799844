"""The original Dreamer against ours: seconds of an update, measured in turn in one run.

Every contender is a child process (`original_updates` or `our_updates`). Only one of them works at
a time, the others wait for a line on their stdin, and each round asks all of them.
"""

import contextlib
import dataclasses
import json
import os
import pathlib
import signal
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence

from clion_tf import config as configuration
from clion_tf.benchmark import machine
from clion_tf.benchmark.our_updates import ACTIONS
from clion_tf.config import Config, to_flagfile

ORIGINAL, DREAMER, CLION, DOUBLED = "original", "Dreamer mode", "CLION", "Doubled-Dreamer"
RATIOS = ((CLION, DREAMER), (CLION, DOUBLED))

# Options that the original has under the same name, and that make an update what it is.
SHARED = (
    "batch_size", "batch_length", "horizon", "deter_size", "stoch_size", "num_units", "cnn_depth",
    "dense_act", "cnn_act", "pcont", "pcont_scale", "free_nats", "kl_scale", "discount", "disclam",
    "action_init_std", "model_lr", "value_lr", "actor_lr", "grad_clip",
)  # fmt: skip

_GRACE = 5.0  # Seconds that a child without a stdout gets to end by itself.
_PACKAGE_PARENT = pathlib.Path(__file__).resolve().parents[2]


class VersusError(Exception):
    """What cannot be compared, or a child that failed; the message is one line."""


@dataclasses.dataclass
class Figures:
    """What was measured of one contender.

    first_update: seconds from the start of its process.
    seconds: of one update, one for each round.
    memory: peak resident bytes of its process.
    """

    first_update: float
    tensorflow: str
    device: str
    seconds: list[float] = dataclasses.field(default_factory=list)
    memory: int = 0

    def ratio(self, other: "Figures") -> float:
        """Median of the rounds' ratios of these seconds to another's."""
        pairs = zip(self.seconds, other.seconds, strict=True)
        return statistics.median(ours / theirs for ours, theirs in pairs)


class Child:
    """A contender's process; the constructor returns once its first update is made.

    Raises:
      VersusError: from any method, if it cannot be run, dies, or talks nonsense.
    """

    def __init__(self, name: str, command: Sequence[str], environment: Mapping[str, str]):
        self._name = f"{name} ({command[0]})"
        self._stderr = tempfile.TemporaryFile()
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._stderr,
                env=environment,
            )
        except (OSError, ValueError) as error:
            self._stderr.close()
            raise VersusError(f"{name}: cannot run {command[0]}: {error}") from error
        try:
            first, tensorflow, device = self._read("ready", "tensorflow", "device")
        except BaseException:
            self.close()
            raise
        self.figures = Figures(first, tensorflow, device)

    def update(self, count: int) -> float:
        """Makes `count` updates; returns seconds of one."""
        with contextlib.suppress(BrokenPipeError):  # It died: reading says how.
            self._process.stdin.write(b"%d\n" % count)
            self._process.stdin.flush()
        seconds, self.figures.memory = self._read("seconds", "memory")
        return seconds

    def close(self) -> None:
        """Ends the process, which has nothing to save."""
        self._process.kill()
        self._process.wait()
        with contextlib.suppress(BrokenPipeError):  # What it did not read any more.
            self._process.stdin.close()
        self._process.stdout.close()
        self._stderr.close()

    def _read(self, *names: str) -> list:
        line = self._process.stdout.readline()
        if not line.endswith(b"\n"):
            raise self._death()
        try:
            message = json.loads(line)
            return [message[name] for name in names]
        except (ValueError, TypeError, KeyError) as error:
            text = line.decode(errors="replace").strip()
            raise VersusError(f"{self._name} said {text!r}, not {', '.join(names)}") from error

    def _death(self) -> VersusError:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_GRACE)
        code = self._process.poll()
        if code is None:
            how = "closed its stdout"
        elif code < 0:
            how = f"was ended by {signal.Signals(-code).name}"
            how += ", as for want of memory" if -code == signal.SIGKILL else ""
        else:
            how = f"ended with exit code {code}"
        self._stderr.seek(0)
        lines = self._stderr.read().decode(errors="replace").split("\n")
        last = next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")
        return VersusError(f"{self._name} {how}: {last}")


def compare(
    config: Config,
    checkout: pathlib.Path,
    python: str,
    rounds: int,
    updates: int,
    tell: Callable[[str], None],
) -> dict[str, Figures]:
    """Measures the original and ours at the sizes of `config`.

    Args:
      config: CLION's options; the other modes follow from them.
      checkout: folder of the original.
      python: the interpreter that runs it.
      rounds: of all contenders, after one that is not measured.
      updates: in a round, of each contender.
      tell: takes a line at every step, for who waits.

    Raises:
      VersusError.
    """
    _require_comparable(config, checkout)
    with contextlib.ExitStack() as stack:
        children = {}
        # The original first, which is the likeliest to fail.
        for name, command, environment in _commands(config, checkout, python):
            child = Child(name, command, environment)
            children[name] = stack.enter_context(contextlib.closing(child))
            tell(f"{name}: first update after {child.figures.first_update:.1f} s")
        for name, child in children.items():
            tell(f"{name}: {child.update(1):.3f} s, not counted")
        for number in range(rounds):
            # To and fro, so that a machine that gets slower does so for all.
            for name in list(children)[:: 1 if number % 2 == 0 else -1]:
                seconds = children[name].update(updates)
                children[name].figures.seconds.append(seconds)
                tell(f"{name}: {seconds:.3f} s in round {number + 1} of {rounds}")
    return {name: child.figures for name, child in children.items()}


def modes(config: Config) -> dict[str, Config]:
    """Ours: with the parts of CLION off, as given, and off with twice the batch."""
    dreamer = dataclasses.replace(config, **configuration.DREAMER)
    doubled = dataclasses.replace(dreamer, batch_size=2 * config.batch_size)
    return {DREAMER: dreamer, CLION: config, DOUBLED: doubled}


def _require_comparable(config: Config, checkout: pathlib.Path) -> None:
    if not (checkout / "dreamer.py").is_file():
        raise VersusError(
            f"{checkout}: no dreamer.py there, so no checkout of github.com/danijar/dreamer"
        )
    if config.hidden_size != config.deter_size:
        raise VersusError(
            f"--hidden_size={config.hidden_size}: the original has as many as --deter_size, "
            f"{config.deter_size}"
        )
    if config.batch_length < 6:
        raise VersusError(
            f"--batch_length={config.batch_length}: the original needs at least 6, of which its "
            "pictures show the first 5"
        )


def _commands(
    config: Config, checkout: pathlib.Path, python: str
) -> Iterator[tuple[str, list[str], dict[str, str]]]:
    """(name, command, environment) of every contender."""
    own = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME")}
    own |= {"TF_CPP_MIN_LOG_LEVEL": "3"}
    options = json.dumps({"actions": ACTIONS, "config": {**_shared(config), "precision": 32}})
    driver = str(pathlib.Path(__file__).with_name("original_updates.py"))
    hidden = {"CUDA_VISIBLE_DEVICES": "-1"} if config.device == "cpu" else {}
    # -B: nothing is written into the checkout.
    yield ORIGINAL, [python, "-B", driver, str(checkout.resolve()), options], {**own, **hidden}

    paths = [str(_PACKAGE_PARENT), os.environ.get("PYTHONPATH", "")]
    own["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    module = [sys.executable, "-m", "clion_tf.benchmark.our_updates"]
    for name, mode in modes(config).items():
        yield name, module + to_flagfile(mode).splitlines(), own


def _shared(config: Config) -> dict:
    """The sizes and constants that both have, as the original takes them."""
    return {name: getattr(config, name) for name in SHARED} | {"pcont": config.predicts_discount}


def summary(config: Config, updates: int, figures: dict[str, Figures]) -> dict:
    """All that was measured, for JSON: seconds, ratios (of medians' pairs) and bytes."""
    contenders = {
        name: {
            **dataclasses.asdict(one),
            "update": machine.spread(one.seconds),
            "ratio": one.ratio(figures[ORIGINAL]),
        }
        for name, one in figures.items()
    }
    return {
        "machine": machine.describe(),
        "sizes": _shared(config),
        "updates_a_round": updates,
        "contenders": contenders,
        "ratios": {f"{a} / {b}": figures[a].ratio(figures[b]) for a, b in RATIOS},
    }


def table(result: dict) -> list[str]:
    """The lines of a table of what `summary` returned."""
    sizes, count = result["sizes"], result["updates_a_round"]
    rounds = len(result["contenders"][ORIGINAL]["seconds"])
    lines = [
        result["machine"],
        f"batch {sizes['batch_size']} x {sizes['batch_length']}, horizon {sizes['horizon']}; "
        f"{rounds} rounds of {count} update{'s' * (count > 1)}, in turn",
        f"{'':15}  {'seconds an update':>26}  {'of the':>8}  {'start to':>12}  {'peak':>10}",
        f"{'':15}  {'median':>8} {'min':>8} {'max':>8}  {'original':>8}  {'first update':>12}  "
        f"{'memory':>10}  computed by",
    ]
    for name, one in result["contenders"].items():
        update = one["update"]
        lines.append(
            f"{name:15}  {update['median']:8.3f} {update['min']:8.3f} {update['max']:8.3f}  "
            f"{one['ratio']:8.3f}  {one['first_update']:10.1f} s  {one['memory'] / 2**30:6.2f} GiB"
            f"  TensorFlow {one['tensorflow']}, {one['device']}"
        )
    lines += [f"{name}: {ratio:.3f}" for name, ratio in result["ratios"].items()]
    return lines
