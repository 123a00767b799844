"""Learning curves in JSON: one object a curve, or a list of them.

    {"task": "dmc_walker_walk", "method": "dreamer", "seed": "0", "xs": [...], "ys": [...]}

xs are environment steps, ys returns, as the original Dreamer published them. A saved run also has
its options, version and what tells it from others; xs and ys are its evaluations, train_xs and
train_ys its training episodes. What it logged lies beside: `NAME.metrics.jsonl.gz` has the lines of
metrics.jsonl, `NAME.diagnostics.jsonl.gz` the diagnostics of each evaluation, one a line.
"""

import gzip
import hashlib
import json
import math
import pathlib
import re
from collections.abc import Iterable
from typing import Any

from clion_tf.analysis.curves.curve import METRICS, ORIGINAL, OURS, PUBLISHED, Curve, plain_task
from clion_tf.analysis.curves.method_names import METHODS, describe
from clion_tf.analysis.curves.metrics_files import Points, ordered
from clion_tf.command import UsageError
from clion_tf.config import EARLIER, FIELDS, Config, ConfigError
from clion_tf.files import atomic_write, user_path
from clion_tf.logdir.run_folder import RunFolder

LONGEST = 60  # Characters of a part of a file's name: file systems take 255 in all.
LINES = 1000  # Of metrics; of more all those with an evaluation and evenly spread others.
PREFIXES = {"test": "", "train": "train_"}  # Of the keys that hold a metric's points.


def load(path: str | pathlib.Path) -> list[Curve]:
    """The curves of a file, without points that are not finite; UsageError if it is no such file.

    A curve without train_xs does not say which metric it holds: it counts as both.
    """
    try:
        content = json.loads(pathlib.Path(path).read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"{path}: not a curve file ({error})") from error
    entries, found = content if isinstance(content, list) else [content], []
    if not entries:
        raise UsageError(f"{path}: holds no curve")
    for number, entry in enumerate(entries):
        where = f"{path}, entry {number}"
        try:
            found.append(_curve(entry, where))
        except (TypeError, ValueError, OverflowError) as error:
            raise UsageError(f"{where}: not a curve ({error})") from error
    return found


def _curve(entry: Any, where: str) -> Curve:
    if not isinstance(entry, dict):
        raise ValueError("no object with task, method, seed, xs and ys")
    for name in ("task", "method", "seed"):
        if not isinstance(entry.get(name), str | int) or entry[name] == "":
            raise ValueError(f"no {name}")
    facts = {name: str(entry.get(name, "")) for name in ("method", "seed", "setup")}
    facts |= _described(entry.get("options"), facts["method"])
    facts |= {"kind": PUBLISHED, "rotation": float(entry.get("rotation_degrees", 0.0))}
    facts["test_rotation"] = float(entry.get("test_rotation_degrees", facts["rotation"]))
    if entry.get("kind") == ORIGINAL or isinstance(entry.get("options"), dict):
        facts |= {"options": entry.get("options"), "version": entry.get("version")}
        facts["kind"] = ORIGINAL if entry.get("kind") == ORIGINAL else OURS
    facts["points"] = {metric: _points(entry, metric) for metric in METRICS}
    xs, ys = facts["points"]["test"]
    return Curve(plain_task(str(entry["task"])), xs=xs, ys=ys, source=where, **facts)


def _described(options: Any, method: str) -> dict[str, str]:
    """Today's names of a run, whose file may be older than an option; not where it has a label."""
    if method.partition(" (")[0] not in METHODS or not isinstance(options, dict):
        return {}
    known = {name: value for name, value in options.items() if name in FIELDS}
    try:
        named = describe(Config(**{**EARLIER, **known}))
    except ConfigError:  # Of options that are refused by now.
        return {}
    return dict(zip(("method", "setup"), named, strict=True))


def _points(entry: dict, metric: str) -> Points:
    prefix = PREFIXES[metric] if "train_xs" in entry else ""
    xs, ys = entry.get(f"{prefix}xs"), entry.get(f"{prefix}ys")
    if not isinstance(xs, list) or not isinstance(ys, list) or len(xs) != len(ys):
        raise ValueError(f"{prefix}xs and {prefix}ys are not lists of equal length")
    pairs = [(float(x), float(y)) for x, y in zip(xs, ys, strict=True) if None not in (x, y)]
    return ordered([pair for pair in pairs if all(map(math.isfinite, pair))])


def save(folder: str | pathlib.Path, runs: Iterable[Curve]) -> list[pathlib.Path]:
    """Writes one file for each run that has returns, and what a run of ours logged beside it.

    A file is named by task, rotation, method, setup and seed, so saving a run again replaces it;
    UsageError if two runs would get one name. The last part of the folder is made if missing.
    """
    named: dict[str, Curve] = {}
    for run in runs:
        if run.kind != PUBLISHED and any(xs.size for xs, _ in run.points.values()):
            other = named.setdefault(_name(run), run)
            if other is not run:
                told = "are one seed of one method; tell them apart by labels"
                raise UsageError(f"{other.source} and {run.source} {told}")
    folder = user_path(folder)
    folder.mkdir(exist_ok=True)
    for name, run in named.items():
        with atomic_write(folder / name) as file:
            file.write(_encode(run))
        if run.kind == OURS:  # A run read from a curve file has no logs: then nothing is saved.
            _save_logs(RunFolder(run.source), folder / name)
    return [folder / name for name in named]


def _name(curve: Curve) -> str:
    rotation = f"rotation{curve.rotation:g}" if curve.rotation else ""
    if curve.test_rotation != curve.rotation:
        rotation = f"rotation{curve.rotation:g}to{curve.test_rotation:g}"
    parts = (curve.task, rotation, curve.method, curve.setup, f"seed{curve.seed}")
    return "-".join(filter(None, map(_word, parts))) + ".json"


def _word(part: str) -> str:
    """A part of a file's name; of a long one the beginning, and a hash to tell it from others."""
    word = re.sub(r"[^\w.=]+", "_", part).strip("_").lower()
    if len(word) <= LONGEST:
        return word
    return f"{word[: LONGEST - 9]}_{hashlib.sha256(part.encode()).hexdigest()[:8]}"


def _encode(run: Curve) -> bytes:
    """One key a line, so that a new evaluation changes two lines."""
    entry = {key: getattr(run, key) for key in ("task", "method", "seed", "setup", "kind")}
    entry |= {"rotation_degrees": run.rotation, "test_rotation_degrees": run.test_rotation}
    entry |= {"version": run.version, "options": run.options}
    for metric, prefix in PREFIXES.items():
        xs, ys = run.points[metric]
        entry |= {f"{prefix}xs": xs.tolist(), f"{prefix}ys": ys.tolist()}
    lines = (f"{json.dumps(k)}: {json.dumps(v, allow_nan=False)}" for k, v in entry.items())
    return ("{\n" + ",\n".join(lines) + "\n}\n").encode()


def _save_logs(folder: RunFolder, path: pathlib.Path) -> None:
    """Beside a curve file; equal logs give equal files."""
    lines = folder.metrics_file.read_bytes().splitlines() if folder.metrics_file.is_file() else []
    step = math.ceil(len(lines) / LINES)
    metrics = [line for i, line in enumerate(lines) if i % step == 0 or b'"test/return"' in line]
    # Each as one line; what is damaged is as good there.
    diagnostics = [b" ".join(f.read_bytes().split(b"\n")) for f in folder.diagnostics_files()]
    for kind, found in (("metrics", metrics), ("diagnostics", diagnostics)):
        if found:
            with atomic_write(path.with_name(f"{path.stem}.{kind}.jsonl.gz")) as file:
                file.write(gzip.compress(b"\n".join([*found, b""]), mtime=0))
